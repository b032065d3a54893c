"""Tests that are written for one layer: run by pytest, on real captures and on planted faults."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from layertui.capture import record
from layertui.cli.main import status_of
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.laws.feed_forward.functions import FUNCTIONS, function_named, plain
from layertui.compare.laws.registry import LAWS
from layertui.compare.repro import material as material_module
from layertui.compare.repro.files import reproduction, write
from layertui.compare.repro.place import NothingToReproduceError, law_row_named
from layertui.compare.repro.templates import FUNCTIONS as TORCH
from layertui.compare.repro.templates import TEMPLATES, WITHOUT
from layertui.compare.weights.models import ModelPaths
from support.laws.attention_models import ids, layer, model_of
from support.laws.mixture_models import build as build_mixture
from support.laws.vision_models import LayerScale

Outcome = dict[str, str]


def outcomes(folder: Path) -> Outcome:
    """What pytest says of every test below a directory, in a process of its own."""
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider",
               "--import-mode=importlib", "-c", "/dev/null", "--rootdir", "."]  # fmt: skip
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = re.findall(r"^(PASSED|FAILED) (\S+)::test_(\w+)", done.stdout, re.MULTILINE)
    return {f"{Path(path).parent} {side}": word for word, path, side in found}


def written(comparison: Comparison, folder: Path, layers: dict[str, str | None]) -> Outcome:
    """The tests of several layers, each in a directory that is called by its key."""
    for name, wanted in layers.items():
        test, data = write(reproduction(comparison, wanted), str(folder / name))
        assert "import layertui" not in Path(test).read_text() and Path(data).is_file()
    return outcomes(folder)


def measured(reference: Path, candidate: Path, weights: Path | None) -> Comparison:
    comparison = open_comparison(str(reference), str(candidate))
    if weights is not None:
        comparison.use_models(ModelPaths(str(weights)))
    assert comparison.measure(use_cache=False)
    return comparison


# real captures


@pytest.mark.parametrize("weights", [True, False])
def test_the_real_defect_of_an_engine(real: Path, tmp_path: Path, weights: bool) -> None:
    pair, model = real / "olmo2-f32", real / "checkpoints" / "olmo2-f32"
    comparison = measured(pair / "torch_dump", pair / "max_dump", model if weights else None)
    layers = {"first": None, "other": "layers.1.self_attn.k_norm", "clean": "layers.1.self_attn"}
    assert written(comparison, tmp_path, layers) == {
        "first reference": "PASSED", "first candidate": "FAILED",
        "other reference": "PASSED", "other candidate": "FAILED",
        "clean reference": "PASSED", "clean candidate": "PASSED",
    }  # fmt: skip
    text = next((tmp_path / "first").glob("test_layers_0_self_attn_q_norm.py")).read_text()
    assert "eps 1e-6 where the reference has" in text
    compile(text, "test.py", "exec")


@pytest.mark.parametrize("name", ["llama-f32", "llama-bf16", "llama_steps-f32"])
def test_both_sides_of_a_healthy_engine_pass(real: Path, tmp_path: Path, name: str) -> None:
    comparison = measured(real / name / "torch_dump", real / name / "max_dump", None)
    assert comparison.laws is not None
    kinds = {row.local.law: row for row in comparison.laws.rows.values() if row.state == "keeps"}
    assert {"norm", "attention"} <= set(kinds)
    layers: dict[str, str | None] = {
        law.replace(" ", "_"): f"#{row.row}" for law, row in kinds.items()
    }
    found = written(comparison, tmp_path, layers)
    assert len(found) == 2 * len(layers) and set(found.values()) == {"PASSED"}
    with pytest.raises(NothingToReproduceError, match="nothing diverges"):
        reproduction(comparison)


# planted faults


def changed(module: Any, change: Callable[[Any, Any], Any]) -> None:
    """Change what a module's code returns, before it is recorded."""
    inner = module.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        return change(inner(*args, **kwargs), args[0] if args else None)

    module.forward = forward


def larger_logits(output: Any, _: Any) -> Any:
    output.logits = output.logits * 1.01
    return output


def other_product(module: Any) -> None:
    def forward(x: torch.Tensor) -> torch.Tensor:
        product = module.act_fn(module.gate_proj(x)) * module.up_proj(x)
        return module.down_proj(1.1 * product)

    module.forward = forward


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """A model with one fault for every law, each in another place."""
    folder = tmp_path_factory.mktemp("faulty")
    reference, candidate = model_of("llama"), model_of("llama")
    layer(candidate, 0).input_layernorm.variance_epsilon = 1e-2
    layer(candidate, 1).self_attn.k_proj.weight.data[5] *= 1.05
    layer(candidate, 1).mlp.act_fn = torch.nn.GELU()
    layer(candidate, 2).self_attn.scaling *= 1.1
    other_product(layer(candidate, 3).mlp)
    changed(layer(candidate, 2), lambda y, x: y + 0.05 * x)
    changed(candidate.model.embed_tokens, lambda y, _: y * 1.5)
    changed(candidate.model.rotary_emb, lambda y, _: (y[0], 1.01 * y[1]))
    changed(candidate, larger_logits)
    reference.save_pretrained(folder / "weights")
    for side, model in (("reference", reference), ("candidate", candidate)):
        with torch.inference_mode(), record(model, str(folder / side)):
            model(ids(2))
    return measured(folder / "reference", folder / "candidate", folder / "weights")


BROKEN: dict[str, str | None] = {
    "norm": "layers.0.input_layernorm", "linear": "layers.1.self_attn.k_proj",
    "activation": "layers.1.mlp.act_fn", "attention": "layers.2.self_attn",
    "gated": "layers.3.mlp", "residual": "layers.2-output",
    "embedding": "embed_tokens", "logits": "model-output_logits",
    "rotary_tables": "rotary_emb-output_1", "probabilities": "layers.2.self_attn-output_1",
}  # fmt: skip
# Laws of other models, tested further down.
ELSEWHERE = {
    "routing", "shared-experts", "convolution", "pooling", "layer-scale", "attention-values",
}  # fmt: skip
CLEAN: dict[str, str | None] = {
    "norm": "layers.1.input_layernorm", "linear": "layers.2.self_attn.k_proj",
    "activation": "layers.2.mlp.act_fn", "attention": "layers.1.self_attn",
    "gated": "layers.2.mlp", "residual": "layers.1-output", "head": "lm_head",
}  # fmt: skip


def test_every_template_shows_its_fault(faulty: Comparison, tmp_path: Path) -> None:
    assert faulty.laws is not None
    laws = {row.local.law for row in faulty.laws.broken}
    assert laws == set(TEMPLATES) - {"gated-mlp", "embedding-sum", *ELSEWHERE}
    found = written(faulty, tmp_path, BROKEN)
    assert found == {
        f"{law} {side}": word for law in BROKEN
        for side, word in (("reference", "PASSED"), ("candidate", "FAILED"))
    }  # fmt: skip


def test_no_template_shows_a_fault_elsewhere(faulty: Comparison, tmp_path: Path) -> None:
    found = written(faulty, tmp_path, CLEAN)
    assert len(found) == 2 * len(CLEAN) and set(found.values()) == {"PASSED"}


def test_large_layers_are_sampled(
    faulty: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(material_module, "MOST_ELEMENTS", 64)
    monkeypatch.setattr(material_module, "MOST_CHANNELS", 16)
    monkeypatch.setattr(material_module, "MOST_TABLE", 48 * 16)
    monkeypatch.setattr(
        material_module.Subject, "of_weight", lambda self, shape: self.sampled(min(16, shape[0]))
    )
    some = {law: BROKEN[law] for law in ("linear", "activation", "gated", "residual")}
    found = written(faulty, tmp_path, some)
    assert found == {
        f"{law} {side}": word for law in some
        for side, word in (("reference", "PASSED"), ("candidate", "FAILED"))
    }  # fmt: skip
    data = np.load(tmp_path / "linear" / "data.npz")
    assert data["weight"].shape == (len(data["channels"]), 64) and len(data["channels"]) <= 16
    assert 5 in data["channels"]


def test_parameters_that_are_too_large_are_refused(
    faulty: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(material_module, "MOST_BYTES", 100)
    with pytest.raises(NothingToReproduceError, match="too much for a test"):
        reproduction(faulty, "layers.1.self_attn.k_proj")


def test_a_module_is_its_own_code_before_what_it_is_given(faulty: Comparison) -> None:
    assert faulty.laws is not None
    for name, label in (
        ("layers.2.mlp.down_proj", "layers.2.mlp.down_proj-output"),
        ("layers.2.mlp", "layers.2.mlp.down_proj-input_0"),
        ("model.layers.2.self_attn.o_proj", "layers.2.self_attn.o_proj-output"),
        ("layers.2.self_attn.o_proj-input_0", "layers.2.self_attn.o_proj-input_0"),
    ):
        assert law_row_named(faulty, faulty.laws, name).label == label


@pytest.mark.parametrize("kind", ["gemma2", "gpt2"])
def test_an_mlp_whose_inside_is_not_recorded(tmp_path: Path, kind: str) -> None:
    reference, candidate = model_of(kind), model_of(kind)
    mlp = layer(candidate, 1).mlp
    mlp.act_fn = mlp.act = torch.nn.ReLU()
    if kind == "gpt2":
        changed(candidate.transformer.drop, lambda y, _: 1.05 * y)
    reference.save_pretrained(tmp_path / "weights")
    for side, model in (("reference", reference), ("candidate", candidate)):
        with torch.inference_mode(), record(model, str(tmp_path / side), exclude="*.mlp.*"):
            model(ids())
    comparison = measured(tmp_path / "reference", tmp_path / "candidate", tmp_path / "weights")
    layers = {"broken": "layers.1.mlp", "clean": "layers.2.mlp"}
    if kind == "gemma2":
        layers |= {"attention": "layers.2.self_attn", "logits": "model-output_logits"}
    if kind == "gpt2":
        assert comparison.laws is not None
        (entry,) = (r for r in comparison.laws.broken if r.local.law == "embedding-sum")
        layers["entry"] = f"#{entry.row}"
    (tmp_path / "tests").mkdir()
    found = written(comparison, tmp_path / "tests", {**layers})
    assert found.pop("broken candidate") == "FAILED"
    assert kind != "gpt2" or found.pop("entry candidate") == "FAILED"
    assert "clean candidate" in found and "broken reference" in found
    assert set(found.values()) == {"PASSED"}


def test_every_law_has_a_template_or_says_why_not() -> None:
    assert {law.name for law in LAWS} == set(TEMPLATES) | set(WITHOUT)


class Vision(torch.nn.Module):
    """A patch embedding, a scale, a mean and a maximum."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches = torch.nn.Conv2d(3, 32, 4, stride=4)
        self.scale = LayerScale(32)
        self.mean = torch.nn.AvgPool2d(3, 2, 1)
        self.most = torch.nn.MaxPool2d(3, 1, 1)

    def forward(self, x: torch.Tensor) -> Any:
        y = self.patches(x)
        return self.mean(self.most(self.scale(y.movedim(1, -1)).movedim(-1, 1)))


def both_tested(comparison: Comparison, folder: Path, layers: dict[str, str | None]) -> None:
    assert written(comparison, folder, layers) == {
        f"{law} {side}": word for law in layers
        for side, word in (("reference", "PASSED"), ("candidate", "FAILED"))
    }  # fmt: skip


def test_templates_of_vision(tmp_path: Path) -> None:
    reference, candidate = Vision(), Vision()
    assert candidate.patches.bias is not None
    candidate.patches.bias.data[:] = 0
    candidate.scale.lambda1.data[:] = 1
    changed(candidate.mean, lambda y, _: 1.1 * y)
    changed(candidate.most, lambda y, x: x)
    (tmp_path / "weights").mkdir()
    save_file(dict(reference.state_dict()), tmp_path / "weights" / "model.safetensors")
    x = torch.randn(2, 3, 48, 48)
    for side, model in (("reference", reference), ("candidate", candidate)):
        with torch.inference_mode(), record(model, str(tmp_path / side)):
            model(x)
    comparison = measured(tmp_path / "reference", tmp_path / "candidate", tmp_path / "weights")
    (tmp_path / "tests").mkdir()
    names = {"patches": "patches", "scale": "scale", "mean": "mean", "most": "most"}
    both_tested(comparison, tmp_path / "tests", {**names})


def test_templates_of_mixtures(tmp_path: Path) -> None:
    reference, candidate = (build_mixture("qwen2_moe", torch.float32) for _ in range(2))
    mixture: Any = candidate.layers[1].mlp  # type: ignore[index]
    changed(mixture.gate, lambda y, _: (y[0], 1.1 * y[1], y[2]))
    changed(mixture, lambda y, _: 1.05 * y)
    changed(candidate.layers[2].mlp.experts, lambda y, _: 1.05 * y)  # type: ignore[index]
    reference.save_pretrained(tmp_path / "weights")  # type: ignore[operator]
    for side, model in (("reference", reference), ("candidate", candidate)):
        with torch.inference_mode(), record(model, str(tmp_path / side)):
            model(input_ids=ids(2))
    comparison = measured(tmp_path / "reference", tmp_path / "candidate", tmp_path / "weights")
    assert comparison.laws is not None
    found = {r.local.law: r for r in comparison.laws.broken}
    (tmp_path / "tests").mkdir()
    names = {law: f"#{found[law].row}" for law in ("routing", "shared-experts")}
    both_tested(comparison, tmp_path / "tests", {**names})
    with pytest.raises(NothingToReproduceError, match="weights of all experts"):
        reproduction(comparison, f"#{found['experts'].row}")


def test_the_template_of_probabilities_times_values(tmp_path: Path) -> None:
    reference, candidate = model_of("llama"), model_of("llama")
    changed_input(layer(candidate, 1).self_attn.o_proj)
    for side, model in (("reference", reference), ("candidate", candidate)):
        with torch.inference_mode(), record(model, str(tmp_path / side), exclude="*[qk]_proj*"):
            model(ids(2))
    comparison = measured(tmp_path / "reference", tmp_path / "candidate", None)
    (tmp_path / "tests").mkdir()
    both_tested(comparison, tmp_path / "tests", {"values": "layers.1.self_attn.o_proj-input_0"})


def changed_input(module: torch.nn.Module) -> None:
    """Change what a module is given, before that is recorded."""
    module.register_forward_pre_hook(lambda m, args: (1.1 * args[0], *args[1:]))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-30, 30), min_size=1, max_size=20))
def test_functions_are_those_of_the_laws(values: list[float]) -> None:
    assert set(TORCH) == {function.words for function in FUNCTIONS}
    for name, code in TORCH.items():
        x = torch.tensor(values, dtype=torch.float64)
        wanted = plain(function_named(name), np.array(values))
        found = eval(code, {"torch": torch, "x": x})
        assert found.numpy() == pytest.approx(wanted, rel=1e-9, abs=1e-12), name


# the command


def test_the_command(real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = [str(real / "olmo2-f32" / side) for side in ("torch_dump", "max_dump")]
    folder = tmp_path / "it's"

    def call(*args: str) -> tuple[int, str, str]:
        status = status_of(["repro", *pair, *args])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    status, out, err = call("-o", str(folder))
    assert (status, err) == (0, "") and "test_candidate fails" in out
    assert {path.name for path in folder.iterdir()} == {
        "data.npz", "test_layers_0_self_attn_q_norm.py",
    }  # fmt: skip
    status, _, err = call("-o", str(folder))
    assert status == 2 and "not empty" in err
    (folder / "test_mine.py").write_text("")
    status, out, err = call("layers.0.input_layernorm", "-o", str(folder), "--overwrite")
    if status == 2:  # a model without one
        status, out, err = call("layers.0.self_attn", "-o", str(folder), "--overwrite")
    assert (status, err) == (0, "") and "both tests pass" in out
    assert len(list(folder.glob("test_*.py"))) == 2 and (folder / "test_mine.py").exists()
    for name, why in (
        ("layers.9.mlp", "no record"), ("TopKSampler-output", "no law says"),
        ("q_proj", "matches 4 rows"),
    ):  # fmt: skip
        status, out, err = call(name, "-o", str(tmp_path / "none"))
        assert (status, out) == (2, "") and err.startswith("layertui: ") and why in err
        assert err.count("\n") == 1 and not (tmp_path / "none").exists()
    (tmp_path / "file").write_text("")
    assert call("-o", str(tmp_path / "file"))[0] == 2


def test_names_of_captures_stay_comments(real: Path, tmp_path: Path) -> None:
    pair = real / "olmo2-f32"
    comparison = measured(pair / "torch_dump", pair / "max_dump", None)
    comparison.reference.path = 'a\n"""\nraise SystemExit(3)\n#{x} \u2028'
    text = reproduction(comparison).text
    lines = [line for line in text.splitlines() if "SystemExit" in line]
    assert lines and all(line.startswith("#") for line in lines)
    compile(text, "test.py", "exec")
