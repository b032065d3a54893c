"""The layer report: which pairs are one layer, what fails one, and its console form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from layertui.compare.comparison import Comparison
from layertui.compare.judging.policy import policy_named
from layertui.compare.reports import Settings, part_of, whole
from layertui.compare.reports.forms.layer_results import LayerResult, layer_results, layers_pass
from layertui.compare.reports.forms.verdict_json import qwen3_report
from support.real_pairs import measured as measured_pair
from support.synthetic import saved

X = np.random.default_rng(3).standard_normal((1, 4, 16)).astype(np.float32)
QWEN = (
    "model.embed_tokens-output", "model.layers.0.input_layernorm-output",
    "model.layers.0.self_attn.q_proj-output", "model.layers.0.self_attn.q_norm-output",
    "model.layers.0.self_attn.o_proj-input_0", "model.layers.0.self_attn.o_proj-output",
    "model.layers.0.self_attn-output", "model.layers.0.post_attention_layernorm-input_0",
    "model.layers.0.post_attention_layernorm-output", "model.layers.0.mlp.gate_proj-output",
    "model.layers.0.mlp.up_proj-output", "model.layers.0.mlp.down_proj-input_0",
    "model.layers.0.mlp.down_proj-output", "model.layers.0.mlp-output", "model.layers.0-output",
    "model.norm-output", "lm_head-output",
)  # fmt: skip


def compared(folder: Path, names: tuple[str, ...], wrong: str = "") -> Comparison:
    """Every record is X; the candidate's record `wrong` is off by a tenth."""
    left = dict.fromkeys(names, X)
    right = {name: X * (1.1 if name == wrong else 1 + 1e-6) for name in names}
    reference = saved(folder / "ref", left)
    candidate = saved(folder / "cand", {name: x.astype(np.float32) for name, x in right.items()})
    found = Comparison(reference, candidate, policy=policy_named("fixed"))
    found.measure(use_cache=False)
    return found


def by_name(comparison: Comparison) -> dict[str, LayerResult]:
    return {layer.name: layer for layer in layer_results(comparison)}


def test_sublayers_are_in_their_layer(tmp_path: Path) -> None:
    found = by_name(compared(tmp_path, QWEN))
    assert list(found) == [
        "embedding", "layer_0_attention", "layer_0_mlp", "final_norm", "lm_head",
    ]  # fmt: skip
    attention, mlp = found["layer_0_attention"], found["layer_0_mlp"]
    assert {part.name for part in attention.sublayers} == {
        "input_norm", "q_proj", "q_norm", "attention", "o_proj", "residual",
    }  # fmt: skip
    assert {part.name for part in mlp.sublayers} == {
        "post_attention_norm", "gate_proj", "up_proj", "act(gate)*up", "down_proj", "residual",
    }  # fmt: skip
    assert attention.whole is not None
    assert attention.whole.row.canonical == "layers.0.self_attn"


@pytest.mark.parametrize("wrong", QWEN)
def test_a_fault_anywhere_fails_its_layer_and_the_whole(wrong: str, tmp_path: Path) -> None:
    comparison = compared(tmp_path, QWEN, wrong)
    failed = [layer for layer in layer_results(comparison) if not layer.passed]
    assert len(failed) == 1
    assert [p.row.reference.name for p in failed[0].parts if p.row.reference and not p.passed] == [
        wrong
    ]
    report = qwen3_report(comparison)
    assert report["overall_success"] is False and report["layers_failed"] == 1
    assert comparison.exit_status() == 1


def test_norms_behind_the_attention_belong_to_it(tmp_path: Path) -> None:
    names = (
        "model.layers.0.self_attn-output", "model.layers.0.post_attention_layernorm-input_0",
        "model.layers.0.post_attention_layernorm-output", "model.layers.0.mlp-output",
        "model.layers.0.post_feedforward_layernorm-output",
        "model.layers.0-output",
    )  # fmt: skip
    found = by_name(compared(tmp_path, names))
    assert {part.name for part in found["layer_0_attention"].sublayers} == {
        "attention_output", "post_attention_norm",
    }  # fmt: skip
    assert "post_feedforward_norm" in {p.name for p in found["layer_0_mlp"].sublayers}


def test_what_was_not_paired_has_no_numbers(tmp_path: Path) -> None:
    """A norm's numbers are not passed off as those of the attention behind it."""
    names = ("model.layers.3.input_layernorm-output", QWEN[0])
    comparison = compared(tmp_path, names)
    (layer,) = (each for each in layer_results(comparison) if each.index == 3)
    assert layer.whole is None and layer.passed
    entries = qwen3_report(comparison)["layer_results"]
    (entry,) = (each for each in entries if each["layer_name"] == "layer_3_attention")
    assert entry["mse"] is None
    assert entry["sublayers"][0]["mse"] is not None
    assert "was not paired" in console(comparison)


def console(comparison: Comparison) -> str:
    settings = Settings("layertui compare ref cand --format console")
    return whole([part_of(comparison, "console", settings)], "console", settings)


def test_other_modules_have_results_of_their_own(tmp_path: Path) -> None:
    names = ("model.layers.0.mixer.in_proj-output", "model.layers.0.mixer-output", "thing-output")
    found = by_name(compared(tmp_path, names))
    assert set(found) == {"layer_0_mixer", "thing"}
    assert [part.name for part in found["layer_0_mixer"].sublayers] == ["in_proj"]


def test_the_console_form(tmp_path: Path) -> None:
    fine = console(compared(tmp_path / "fine", QWEN))
    assert fine.startswith("LAYER VERIFICATION: PASS\nlayers tested: 5, passed: 5, failed: 0\n")
    assert "[PASS] layer_0_attention" in fine and "FAIL" not in fine
    bad = console(compared(tmp_path / "bad", QWEN, QWEN[3]))
    assert bad.startswith("LAYER VERIFICATION: FAIL\nlayers tested: 5, passed: 4, failed: 1\n")
    assert "first that fails: layer_0_attention (q_norm)" in bad
    assert "[FAIL] layer_0_attention" in bad and "[PASS] layer_0_mlp" in bad
    assert any(line.startswith("    FAIL q_norm") for line in bad.splitlines())
    for line in bad.splitlines():
        assert len(line) <= 80 or str(tmp_path) in line


@pytest.mark.parametrize("name", ["llama_steps-f32", "olmo2-f32", "qwen3-f32"])
def test_every_output_is_in_one_layer_once(name: str, real: Path) -> None:
    real_pair = measured_pair(real, name)
    parts = [part.row.index for layer in layer_results(real_pair) for part in layer.parts]
    assert len(parts) == len(set(parts))
    outputs = {
        row.index for row in real_pair.rows
        if row.kind == "pair" and row.role in ("output", "value")
    }  # fmt: skip
    assert outputs <= set(parts)
    if layers_pass(real_pair, layer_results(real_pair)):
        assert real_pair.outcome().of_the_whole == ()


def test_an_output_under_another_name_is_the_whole(tmp_path: Path) -> None:
    found = by_name(compared(tmp_path, (*QWEN, "model-output_logits"), wrong="model-output_logits"))
    (output,) = [layer for layer in found.values() if layer.kind == "output"]
    assert output.whole is not None and output.whole.row.slot == "output_logits"
    assert output.whole.numbers is not None and not output.passed
