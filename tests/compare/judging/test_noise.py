"""Where errors are made: clean pairs, planted faults, captures of real defects, routers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.judging.policy import NoisePolicy, PolicyError, policy_named
from layertui.compare.measuring.mantissa import mantissa_bits
from layertui.compare.reports.forms.json_form import json_report
from layertui.compare.reports.forms.text_form import text_report
from layertui.compare.reports.row_text import row_text
from layertui.tui.present.answer import answer_of
from layertui.tui.terminal import Terminal
from layertui.tui.theme import Look
from support.synthetic import saved

planted = pytest.importorskip("support.planted")
FAULTS = {fault.name: fault for fault in planted.fault_list.FAULTS}


def judged(reference: Path, candidate: Path, **more: object) -> Comparison:
    policy = NoisePolicy(**more)  # type: ignore[arg-type]
    comparison = open_comparison(str(reference), str(candidate), policy=policy)
    assert comparison.measure(use_cache=False, threads=1)
    return comparison


@pytest.mark.parametrize("family", planted.fault_models.FAMILIES)
def test_another_order_of_summation_is_noise(tmp_path: Path, family: str) -> None:
    models = planted.fault_models
    reference = models.build_reference(family, 4, torch.bfloat16)
    ids = models.token_ids()
    left = models.capture_torch(reference, tmp_path / "reference", ids)
    other = models.other_build(reference, torch.bfloat16)
    right = models.capture_torch(other, tmp_path / "candidate", ids)
    for form in (right, models.write_max_like(right, tmp_path / "max")):
        comparison = judged(left, form)
        assert comparison.exit_status() == 0, comparison.first_divergence()
        origins = {comparison.origin(row.index) for row in comparison.rows}
        assert origins <= {"none", None}


@pytest.mark.parametrize("dtype", ["f32", "bf16"])
@pytest.mark.parametrize(
    "name",
    ["rope-theta", "attention-not-added", "norm-weight-channel", "fp8-output", "clamped",
     "nan-row", "stale-mlp", "interleaved-rope", "dropped-bias", "token-shift", "weight-scale",
     "router-order"],
)  # fmt: skip
def test_faults_are_found_and_look_like_themselves(tmp_path: Path, name: str, dtype: str) -> None:
    for case, comparison in planted.faults.fault_cases(tmp_path, (FAULTS[name],), (dtype,)):
        assert case.named, planted.faults.line(case)
        assert case.right_symptom is not False, planted.faults.line(case)
        first = comparison.first_divergence()
        assert first is not None and first.confidence is not None and 0.5 <= first.confidence <= 1
        assert comparison.origin(first.index) == "made"
        assert comparison.exit_status() == 1


@pytest.mark.parametrize("part", [None, *planted.fault_models.PARTS])
def test_products_in_tf32_are_nobodys_fault_and_said(tmp_path: Path, part: str | None) -> None:
    models = planted.fault_models
    reference = models.build_reference("gpt2", 4, torch.float32)
    other = models.other_build(reference, torch.float32, models.CoarseLinear)
    sides = [
        models.capture_torch(model, tmp_path / name, models.token_ids())
        for model, name in ((reference, "reference"), (other, "candidate"))
    ]
    if part is not None:
        sides = [models.thinned_out(side, tmp_path / f"{side.name}-{part}", part) for side in sides]
    comparison = judged(*sides)
    assert comparison.first_divergence() is None
    assert comparison.exit_status() == 0
    said = any("products in TF32 or float16 do" in note for note in comparison.notes("candidate"))
    assert said == (part in (None, "outputs"))  # elsewhere there are no projections to tell it from


def test_tf32_in_one_layer_only_is_a_fault(tmp_path: Path) -> None:
    for case, comparison in planted.faults.fault_cases(tmp_path, (FAULTS["tf32-in-one-layer"],)):
        assert case.named, planted.faults.line(case)
        assert comparison.notes("candidate") == comparison.notes("reference") == []


@pytest.mark.parametrize("name", ["norm-eps", "transposed-o-proj", "relu-from-layer-3"])
def test_faults_are_found_where_only_outputs_are_recorded(tmp_path: Path, name: str) -> None:
    models, fault = planted.fault_models, FAULTS[name]
    reference = models.build_reference(fault.family, fault.layers, torch.bfloat16)
    candidate = models.other_build(reference, torch.bfloat16)
    fault.plant(candidate)
    sides = [
        models.thinned_out(
            models.capture_torch(model, tmp_path / "whole", models.token_ids()), tmp_path / side,
            "outputs",
        )
        for side, model in (("reference", reference), ("candidate", candidate))
    ]  # fmt: skip
    first = judged(*sides).first_divergence()
    assert first is not None and first.module == fault.module
    assert first.causes or "its inputs are not recorded" in first.reason


def test_a_module_whose_output_is_not_recorded_hands_its_error_on(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x, h, wide, added, unseen = random.standard_normal((5, 2, 32)).astype(np.float32)
    for side, factor in (("reference", 1.0), ("candidate", 1.5)):
        down = added * np.float32(factor)
        records = {
            "layers.0.input_0": x, "layers.0.post_attention_layernorm.output": h,
            "layers.0.mlp.input_0": h,
            "layers.0.mlp.down_proj.input_0": wide,
            "layers.0.mlp.down_proj.output": down, "layers.0.output": x + unseen + down,
        }  # fmt: skip
        saved(tmp_path / side, records)
    comparison = judged(tmp_path / "reference", tmp_path / "candidate")
    made = [row.label for row in comparison.rows if comparison.origin(row.index) == "made"]
    assert made == ["layers.0.mlp.down_proj-output"]


@pytest.mark.parametrize("name", ["norm-eps", "head-order", "norm-weight-channel"])
def test_without_names_it_is_said_that_records_before_the_first_have_no_partner(
    tmp_path: Path, name: str
) -> None:
    models, fault = planted.fault_models, FAULTS[name]
    reference = models.build_reference(fault.family, fault.layers, torch.float32)
    candidate = models.other_build(reference, torch.float32)
    fault.plant(candidate)
    whole = [
        models.capture_torch(model, tmp_path / side, models.token_ids())
        for side, model in (("reference", reference), ("candidate", candidate))
    ]
    outputs = [
        tensor.numpy() for module, slot, tensor in models.all_tensors(whole[1])
        if slot.startswith("output") and tensor.is_floating_point() and "rotary" not in module
    ]  # fmt: skip
    nameless = {f"t_{at * 7919 % 1000003:06d}": array for at, array in enumerate(outputs)}
    np.savez(tmp_path / "nameless.npz", **nameless)  # pyright: ignore[reportArgumentType]
    left = models.thinned_out(whole[0], tmp_path / "outputs", "outputs")
    comparison = judged(left, tmp_path / "nameless.npz")
    first = comparison.first_divergence()
    assert first is not None
    unsaid = "no partner and may have introduced the error" not in first.reason
    assert (first.module == fault.module) == unsaid, first
    assert unsaid == (comparison.verdicts[first.index].origin == "made")
    words = answer_of(comparison, comparison.counts, Look(Terminal()), working=False).words
    assert unsaid == ("introduced" in words[-2])
    assert unsaid == ("no partner" not in words[-2])


def test_without_anything_before_it_a_record_is_judged_by_its_dtype(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((9, 32)).astype(np.float32)
    noise = np.random.default_rng(1).standard_normal((9, 32)).astype(np.float32)
    left = saved(tmp_path / "left", {"lm_head.output": values})
    for size, level in ((5e-5, "ok"), (5e-4, "drift"), (5e-3, "diverged")):
        right = saved(tmp_path / level, {"lm_head.output": values + np.float32(size) * noise})
        comparison = judged(Path(left.path), Path(right.path))
        assert comparison.verdicts[0].level == level
    assert "nothing recorded precedes it" in comparison.verdicts[0].reason
    assert comparison.verdicts[0].confidence == 0.5


def _rounded_weights(model: torch.nn.Module, first: int) -> None:
    for layer in model.model.layers[first:]:  # type: ignore[union-attr, index]
        for name, module in layer.named_modules():
            if name.endswith("_proj"):
                step = module.weight.data.float().abs().amax(-1, keepdim=True) / 127
                module.weight.data = ((module.weight.data / step).round() * step).bfloat16()


def test_a_step_for_good_that_no_layer_shows_by_itself_is_drift(tmp_path: Path) -> None:
    models = planted.fault_models
    reference = models.build_reference("llama", 12, torch.bfloat16)
    candidate = models.other_build(reference, torch.bfloat16)
    _rounded_weights(candidate, 6)
    sides = [
        models.capture_torch(model, tmp_path / name, models.token_ids())
        for model, name in ((reference, "reference"), (candidate, "candidate"))
    ]
    comparison = judged(*sides)
    drifting = [r for r in comparison.rows if comparison.verdicts[r.index].level == "drift"]
    assert drifting and drifting[0].canonical == "layers.6.self_attn.v_proj"
    reason = comparison.verdicts[drifting[0].index].reason
    assert "in the 6 layers before at most 0.77x" in reason
    assert comparison.exit_status() == 0


def test_a_fault_in_every_later_layer_is_named_where_it_begins(tmp_path: Path) -> None:
    fault = FAULTS["relu-from-layer-3"]
    cases = [case for case, _ in planted.faults.fault_cases(tmp_path, (fault,), ("f32",))]
    assert [case.module for case in cases] == ["layers.3.mlp.act_fn", "layers.3.mlp"]


REAL = {
    "olmo2-f32": "layers.0.self_attn.q_norm",
    "qwen3-f32": "layers.0.self_attn.q_norm",
    "llama_v3_badweights-f32": "embed_tokens",
}


@pytest.mark.parametrize("name", sorted(REAL))
def test_real_defects_are_made_where_they_are(real: Path, name: str) -> None:
    comparison = judged(real / name / "torch_dump", real / name / "max_dump")
    first = comparison.first_divergence()
    assert first is not None and (first.module, first.verdict) == (REAL[name], "diverged")
    assert comparison.origin(first.index) == "made"
    assert comparison.exit_status() == 1


@pytest.mark.parametrize(
    "name", ["llama-f32", "llama-bf16", "llama_v3-f32", "llama_steps-f32", "llama_batch_steps-f32"]
)
def test_real_healthy_pairs_have_nothing_made(real: Path, name: str) -> None:
    comparison = judged(real / name / "torch_dump", real / name / "max_dump")
    assert comparison.exit_status() == 0 and comparison.first_divergence() is None


def chain(tmp_path: Path, spoil: int, bad: float) -> Comparison:
    """Six modules, each given what the one before returned; one of them returns `bad` somewhere."""
    random = np.random.default_rng(0)
    sides: tuple[dict[str, np.ndarray], ...] = ({}, {})
    x = random.standard_normal((12, 16)).astype(np.float32)
    y = x.copy()
    for layer in range(6):
        for side, values in zip(sides, (x, y), strict=True):
            side[f"model.layers.{layer}.mlp-input_0"] = values.copy()
        weight = random.standard_normal((16, 16)).astype(np.float32) / 4
        x, y = x @ weight, y @ weight * np.float32(1 + 1e-7)
        if layer == spoil:
            y[3, 5] = bad
        for side, values in zip(sides, (x, y), strict=True):
            side[f"model.layers.{layer}.mlp-output"] = values.copy()
    saved(tmp_path / "reference", sides[0])
    saved(tmp_path / "candidate", sides[1])
    return judged(tmp_path / "reference", tmp_path / "candidate")


def test_nan_born_and_nan_passed_on_are_told_apart(tmp_path: Path) -> None:
    comparison = chain(tmp_path, 2, float("nan"))
    nan = [(r.label, v.origin) for r, v in zip(comparison.rows, comparison.verdicts, strict=True)
           if v.level == "nan"]  # fmt: skip
    assert nan[0] == ("layers.2.mlp-output", "made")
    assert len(nan) == 7 and {origin for _, origin in nan[1:]} == {"inherited"}
    assert "the inputs have none" in comparison.verdicts[comparison.failing[0]].reason
    symptoms = comparison.find_symptoms(comparison.failing[0])
    assert symptoms[0].name == "nan"


def test_one_wrong_element_is_made_once_and_inherited_after(tmp_path: Path) -> None:
    comparison = chain(tmp_path, 3, 40.0)
    first = comparison.first_divergence()
    assert first is not None and first.module == "layers.3.mlp" and first.slot == "output"
    made = [r.label for r in comparison.rows if comparison.origin(r.index) == "made"]
    assert made == ["layers.3.mlp-output"]
    assert "inherited" in comparison.verdicts[first.index + 2].reason
    assert first.symptoms and first.symptoms[0].name == "region"


def test_the_report_says_who_and_what(tmp_path: Path) -> None:
    comparison = chain(tmp_path, 3, 40.0)
    data = json.loads(json.dumps(json_report(comparison, "layertui"), allow_nan=False))
    first = data["first_divergence"]
    assert first["module"] == "layers.3.mlp" and 0.5 <= first["confidence"] <= 1
    assert set(first["symptoms"][0]) == {"name", "score", "evidence"}
    origins = [row["origin"] for row in data["rows"]]
    assert origins.count("made") == 1 and set(origins) == {"none", "made", "inherited"}
    text = text_report(comparison, "layertui")
    assert "looks like region" in text and "% sure)" in text
    assert "introduced here" in row_text(comparison, first["index"])


def test_a_masks_infinity_and_its_finfo_min_are_the_same(tmp_path: Path) -> None:
    mask = np.triu(np.full((8, 8), -np.inf, np.float32), 1)
    low = np.where(np.isinf(mask), np.finfo(np.float32).min, mask).astype(np.float32)
    wrong = low.copy()
    wrong[3, 4] = 0
    for name, other, level in (("same", low, "ok"), ("wrong", wrong, "diverged")):
        saved(tmp_path / name / "a", {"model.attn-input_mask": mask})
        saved(tmp_path / name / "b", {"model.attn-input_mask": other})
        comparison = judged(tmp_path / name / "a", tmp_path / name / "b")
        assert comparison.verdicts[0].level == level, comparison.verdicts


def test_until_all_is_measured_rows_are_judged_one_by_one(tmp_path: Path) -> None:
    whole = chain(tmp_path, 3, 40.0)
    comparison = Comparison(whole.reference, whole.candidate, policy=whole.policy)
    first = whole.failing[0]
    result = whole.measurements[first]
    assert result is not None
    comparison.take(first, result)
    assert comparison.verdicts[first].level == "diverged" and not comparison.complete
    assert comparison.verdicts[0].level == "pending"


def test_the_policy_has_no_tolerances() -> None:
    assert policy_named("noise").name == "noise"
    with pytest.raises(PolicyError, match="noise"):
        policy_named("noise", rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("dtype", "bits"),
    [(torch.bfloat16, 7), (torch.float16, 10), (torch.float8_e4m3fn, 3), (torch.float8_e5m2, 2),
     (torch.float32, 23)],
)  # fmt: skip
def test_a_grid_is_seen_in_the_values(dtype: torch.dtype, bits: int) -> None:
    values = torch.randn(2000, generator=torch.Generator().manual_seed(0)).to(dtype).float()
    assert mantissa_bits(values.numpy()) == bits


def test_two_that_are_wrong_alike_do_not_excuse_one_another(tmp_path: Path) -> None:
    """All else is identical: nothing else tells what is usual for their kind."""
    rng = np.random.default_rng(0)
    names = [f"model.layers.{i}.self_attn.{p}_proj-output" for i in range(3) for p in "qkv"]
    left = {name: rng.standard_normal((8, 16)).astype(np.float32) for name in names}
    right = {name: values * (1.5 if ".1." in name else 1) for name, values in left.items()}
    sides = saved(tmp_path / "left", left), saved(tmp_path / "right", right)
    comparison = judged(*(Path(side.path) for side in sides))
    assert [comparison.verdicts[i].origin for i in comparison.failing] == ["made"] * 3
    assert {comparison.rows[i].canonical.split(".")[1] for i in comparison.failing} == {"1"}


@pytest.mark.parametrize(("size", "level"), [(3e-5, "drift"), (1e-3, "diverged")])
def test_an_error_made_in_every_layer_alike_is_no_noise(
    tmp_path: Path, size: float, level: str
) -> None:
    rng = np.random.default_rng(0)
    left: dict[str, np.ndarray] = {}
    right: dict[str, np.ndarray] = {}
    for layer in range(8):
        name = f"model.layers.{layer}.mlp.down_proj"
        x = rng.standard_normal((8, 32)).astype(np.float32)
        y = rng.standard_normal((8, 32)).astype(np.float32)
        noise = rng.standard_normal((8, 32)).astype(np.float32)
        left[f"{name}-input_0"] = right[f"{name}-input_0"] = x
        left[f"{name}-output"], right[f"{name}-output"] = y, y + np.float32(size) * noise
    sides = saved(tmp_path / "left", left), saved(tmp_path / "right", right)
    comparison = judged(*(Path(side.path) for side in sides))
    levels = [v.level for v in comparison.verdicts if v.level not in ("identical", "missing")]
    assert levels == [level] * 8
    assert (comparison.first_divergence() is not None) == (level == "diverged")


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["both", "outputs"]))
def test_nothing_passes_that_its_sources_do_not_explain(seed: int, recorded: str) -> None:
    """Errors of any size anywhere: what is not blamed is small, or came from somewhere."""
    rng = np.random.default_rng(seed)
    parts = ("input_layernorm", "self_attn.q_proj", "self_attn.o_proj", "mlp.down_proj", "mlp")
    slots = ("input_0", "output") if recorded == "both" else ("output",)
    left: dict[str, np.ndarray] = {}
    right: dict[str, np.ndarray] = {}
    for layer in range(int(rng.integers(1, 5))):
        for part in parts:
            for slot in slots:
                name = f"model.layers.{layer}.{part}-{slot}"
                x = rng.standard_normal((6, 16)).astype(np.float32)
                size = rng.choice([0.0, 1e-7, 1e-5, 1e-3, 0.3, 10.0])
                noise = rng.standard_normal(x.shape).astype(np.float32)
                left[name], right[name] = x, x + np.float32(size) * noise
    with TemporaryDirectory() as folder:
        sides = saved(Path(folder) / "left", left), saved(Path(folder) / "right", right)
        comparison = judged(*(Path(side.path) for side in sides))
    analysis = comparison.analysis()
    for row, verdict in zip(comparison.rows, comparison.verdicts, strict=True):
        facts = analysis.facts[row.index]
        if verdict.fails:
            assert verdict.origin in ("made", "inherited")
        elif facts.alone is not None:
            assert facts.plain <= 1e-3
        else:
            explained = 32 * max(facts.inherited, facts.floor)
            assert max(facts.error, facts.plain) <= max(explained, facts.ok)
        if verdict.origin == "inherited":
            assert facts.inherited > 0
    assert (comparison.first_divergence() is None) == (comparison.exit_status() == 0)


def test_what_other_token_ids_make_is_inherited(tmp_path: Path) -> None:
    models = planted.fault_models
    reference = models.build_reference("llama", 2, torch.float32)
    ids = models.token_ids()
    other = ids.clone()
    other[0, -2:] += 1
    sides = [
        models.capture_torch(reference, tmp_path / name, given)
        for name, given in (("reference", ids), ("candidate", other))
    ]
    comparison = judged(*sides)
    first = comparison.first_divergence()
    assert first is not None and first.slot == "input_0"
    made = [row.label for row in comparison.rows if comparison.origin(row.index) == "made"]
    assert made and all("input" in label for label in made), made


def test_a_router_that_cannot_be_read_any_more_excuses_nothing(tmp_path: Path) -> None:
    models = planted.fault_models
    reference = models.build_reference("mixtral", 4, torch.bfloat16)
    ids = models.token_ids()
    left = models.capture_torch(reference, tmp_path / "left", ids)
    other = models.other_build(reference, torch.bfloat16)
    right = models.write_max_like(
        models.capture_torch(other, tmp_path / "right", ids), tmp_path / "max"
    )
    comparison = judged(left, right)
    assert comparison.routings
    for path in right.rglob("*.gate-output*.pt"):
        path.unlink()
    comparison.evidence = replace(comparison.evidence, from_records=False)
    comparison.settle()
    assert not comparison.routings
