"""The laws of mixtures of experts against transformers' own models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from layertui.capture import record
from support.laws.law_checks import Tried, tried
from support.laws.mixture_models import FAMILIES, LAYERS, build

SCORES, EXPERTS = "layers.1.mlp.experts-input_2", "layers.1.mlp.experts-output"
WHOLE = "layers.1.mlp-output"


def run(model: nn.Module, folder: Path) -> Path:
    ids = torch.randint(3, 96, (2, 12), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode(), record(model, str(folder), overwrite=True):
        model(input_ids=ids)
    return folder


def check(tmp_path: Path, one: nn.Module, other: nn.Module) -> Tried:
    one.save_pretrained(tmp_path / "model")  # type: ignore[operator]
    left, right = run(one, tmp_path / "reference"), run(other, tmp_path / "candidate")
    return tried(left, right, tmp_path / "model")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_mixtures_of_transformers_keep_to_the_law(
    tmp_path: Path, family: str, dtype: torch.dtype
) -> None:
    found = check(tmp_path, build(family, dtype), build(family, dtype))
    names = [j.evaluation.site.law for j in found.judged.values()]
    assert names.count("routing") == names.count("experts") == LAYERS
    shared = LAYERS if family in ("qwen2_moe", "deepseek") else 0
    assert names.count("shared-experts") == shared
    for judged in found.judged.values():
        if judged.evaluation.site.law in ("routing", "experts", "shared-experts"):
            assert judged.trusted
            assert judged.evaluation.reference.ratio < 3
    assert found.out() == []


def words(found: Tried) -> dict[str, str]:
    return dict(found.judged[SCORES].evaluation.fit.words)


@pytest.mark.parametrize(("family", "scores", "normalised", "factor"), [
    ("mixtral", "softmax", "yes", "1"), ("qwen2_moe", "softmax", "no", "1"),
    ("qwen3_moe", "softmax", "yes", "1"), ("deepseek", "sigmoid", "yes", "2.5"),
    ("gpt_oss", "softmax", "yes", "1"),
])  # fmt: skip
def test_the_rule_is_that_of_the_model(
    tmp_path: Path, family: str, scores: str, normalised: str, factor: str
) -> None:
    model = build(family, torch.bfloat16)
    said = words(check(tmp_path, model, model))
    assert (said["scores"], said["normalised"], said["factor"]) == (scores, normalised, factor)


def patch(module: Any, change: Callable[[Any, tuple[Any, ...]], Any]) -> None:
    """Have a module return something else for the same recorded inputs."""
    inner = module.forward
    module.forward = lambda *inputs: change(inner, inputs)


def _router(change: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Any:
    """A router whose scores are what `change` makes of its logits and its choice."""

    def returned(inner: Any, inputs: tuple[Any, ...]) -> Any:
        logits, scores, chosen = inner(*inputs)
        return logits, change(logits.float(), chosen).to(scores.dtype), chosen

    return returned


def _softmax(logits: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    return logits.softmax(-1).gather(1, chosen)


def _normalised(scores: torch.Tensor) -> torch.Tensor:
    return scores / scores.sum(-1, keepdim=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("family", "change", "candidate"), [
    ("mixtral", _softmax, "not normalised"),
    ("qwen2_moe", lambda x, c: _normalised(_softmax(x, c)), "normalised"),
    ("mixtral", lambda x, c: _normalised(x.sigmoid().gather(1, c)), "sigmoid"),
    ("deepseek", lambda x, c: _normalised(x.sigmoid().gather(1, c)), "1"),
    ("mixtral", lambda x, c: 1.3 * _normalised(_softmax(x, c)), "1.3"),
])  # fmt: skip
def test_other_scores_are_named(
    tmp_path: Path, family: str, change: Any, candidate: str, dtype: torch.dtype
) -> None:
    one, other = build(family, dtype), build(family, dtype)
    patch(other.layers[1].mlp.gate, _router(change))  # type: ignore[index,union-attr]
    found = check(tmp_path, one, other)
    assert SCORES in found.out()
    assert EXPERTS not in found.out()
    (cause, *_) = found.diagnosis(SCORES).causes
    assert cause.name == "routing"
    if candidate == "1.3":
        assert float(cause.candidate) == pytest.approx(1.3, rel=3e-3)
    else:
        assert cause.candidate == candidate


def test_fewer_experts_a_token_are_named(tmp_path: Path) -> None:
    one, other = build("qwen3_moe", torch.float32), build("qwen3_moe", torch.float32)
    other.layers[1].mlp.gate.top_k = 2  # type: ignore[index,union-attr]
    found = check(tmp_path, one, other)
    assert SCORES in found.out()
    (cause, *_) = found.diagnosis(SCORES).causes
    assert (cause.name, cause.reference, cause.candidate) == ("routing", "3", "2")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("largest", [True, False])
def test_the_worst_experts_and_equal_scores_are_named(
    tmp_path: Path, largest: bool, dtype: torch.dtype
) -> None:
    one, other = build("mixtral", dtype), build("mixtral", dtype)

    def chosen_otherwise(inner: Any, inputs: tuple[Any, ...]) -> Any:
        logits, scores, _ = inner(*inputs)
        chosen = logits.topk(2, -1, largest=largest).indices
        if largest:
            return logits, torch.full_like(scores, 0.5), chosen
        return logits, _normalised(_softmax(logits.float(), chosen)).to(scores.dtype), chosen

    patch(other.layers[1].mlp.gate, chosen_otherwise)  # type: ignore[index,union-attr]
    found = check(tmp_path, one, other)
    assert SCORES in found.out()
    (cause, *_) = found.diagnosis(SCORES).causes
    assert (cause.name, cause.candidate) == ("routing", "equal" if largest else "the worst")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["activation", "swapped", "routing", "rolled", "scale"])
def test_each_change_of_the_experts_is_named(tmp_path: Path, name: str, dtype: torch.dtype) -> None:
    one, other = build("mixtral", dtype), build("mixtral", dtype)
    experts: Any = other.layers[1].mlp.experts  # type: ignore[index,union-attr]
    if name == "activation":
        experts.act_fn = nn.GELU()
    elif name == "swapped":
        experts.gate_up_proj.data = torch.cat(experts.gate_up_proj.chunk(2, 1)[::-1], 1)
    elif name == "routing":
        patch(experts, lambda inner, inputs: inner(*inputs[:2], torch.ones_like(inputs[2])))
    elif name == "rolled":
        for part in (experts.gate_up_proj, experts.down_proj):
            part.data = part.data.roll(1, 0)
    else:
        patch(experts, lambda inner, inputs: inner(*inputs) * 1.05)
    found = check(tmp_path, one, other)
    assert EXPERTS in found.out()
    assert SCORES not in found.out()
    assert found.causes(EXPERTS)[0] == {"rolled": "routing"}.get(name, name)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("name", "text"), [
    ("residual", "shared experts is not added"),
    ("routing", "the gate of the shared expert is not applied"),
])  # fmt: skip
def test_each_change_of_the_shared_expert_is_named(
    tmp_path: Path, name: str, text: str, dtype: torch.dtype
) -> None:
    one, other = build("qwen2_moe", dtype), build("qwen2_moe", dtype)
    block: Any = other.layers[1].mlp  # type: ignore[index,union-attr]

    def forward(hidden: torch.Tensor) -> torch.Tensor:
        flat = hidden.reshape(-1, hidden.shape[-1])
        shared = block.shared_expert(flat)
        _, scores, chosen = block.gate(flat)
        routed = block.experts(flat, chosen, scores)
        block.shared_expert_gate(flat)
        return (routed if name == "residual" else routed + shared).reshape(hidden.shape)

    block.forward = forward
    found = check(tmp_path, one, other)
    assert WHOLE in found.out()
    (cause, *_) = found.diagnosis(WHOLE).causes
    assert (cause.name, cause.text) == (name, text)


@settings(max_examples=30, deadline=None)
@given(
    factor=st.floats(0.2, 20), normalised=st.booleans(), sigmoid=st.booleans(),
    seed=st.integers(0, 5), half=st.booleans(),
)  # fmt: skip
def test_a_factor_is_found_within_its_uncertainty(
    factor: float, normalised: bool, sigmoid: bool, seed: int, half: bool
) -> None:
    from layertui.compare.laws.law import Case
    from layertui.compare.laws.mixture.routing import Rule, chosen_of, fitted_factor
    from layertui.compare.laws.numerics.rounding import on_grid

    unit = 2.0**-8 if half else 2.0**-24
    rule = Rule("sigmoid" if sigmoid else "softmax", normalised, 3, factor)
    logits = on_grid(np.random.default_rng(seed).standard_normal((24, 16)) * 2, unit)
    chosen = chosen_of(rule, logits, unit, None)
    y = on_grid(rule.weighed(logits, chosen), unit)
    case = Case(
        "candidate", y, np.arange(24), {"logits": logits}, {"logits": unit, "output": unit},
        more={"chosen": chosen.astype(float), "count": 3},
    )  # fmt: skip
    found, error = fitted_factor(rule, case)
    assert abs(found - factor) <= 6 * error
    assert error <= (0.01 if half else 1e-6) * factor
