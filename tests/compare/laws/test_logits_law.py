"""The law of what is done to logits, against transformers' own models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from layertui.capture import record
from layertui.compare.laws.law import Case, Prediction
from layertui.compare.laws.logits import Last, finished
from layertui.compare.laws.numerics.rounding import on_grid
from support.laws.law_checks import Tried, tried

LABEL = "model-output_logits"
SIZES: dict[str, Any] = {
    "vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4,
    "num_key_value_heads": 2, "num_hidden_layers": 1, "max_position_embeddings": 64,
    "attn_implementation": "eager", "use_cache": False, "pad_token_id": 0,
}  # fmt: skip
FAMILIES: dict[str, tuple[str, dict[str, Any], str]] = {
    "llama": ("Llama", {}, "scale 1 cap none"),
    "gemma2": ("Gemma2", {"head_dim": 8, "final_logit_softcapping": 30.0}, "scale 1 cap 30"),
    "cohere": ("Cohere", {"logit_scale": 0.0625}, "scale 0.0625 cap none"),
    "granite": ("Granite", {"logits_scaling": 8.0}, "scale 0.125 cap none"),
}


def build(family: str, dtype: torch.dtype, **more: Any) -> nn.Module:
    name, own, _ = FAMILIES[family]
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**SIZES, **{**own, **more})
    model = getattr(transformers, f"{name}ForCausalLM")(config)
    model.lm_head.weight.data *= 300 if family == "gemma2" else 20
    return model.to(dtype).eval()


def run(model: nn.Module, folder: Path, **more: Any) -> Path:
    ids = torch.randint(3, 96, (2, 12), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode(), record(model, str(folder), overwrite=True):
        model(input_ids=ids, **more)
    return folder


def check(tmp_path: Path, one: nn.Module, other: nn.Module, checkpoint: bool = True) -> Tried:
    weights = None
    if checkpoint:
        one.save_pretrained(tmp_path / "model")  # type: ignore[operator]
        weights = tmp_path / "model"
    return tried(run(one, tmp_path / "reference"), run(other, tmp_path / "candidate"), weights)


@pytest.mark.parametrize("checkpoint", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_logits_of_transformers_keep_to_the_law(
    tmp_path: Path, family: str, dtype: torch.dtype, checkpoint: bool
) -> None:
    found = check(tmp_path, build(family, dtype), build(family, dtype), checkpoint)
    judged = found.judged[LABEL]
    assert judged.trusted
    assert judged.evaluation.reference.ratio < 2
    words = judged.evaluation.fit.words
    if checkpoint or dtype is torch.float32:
        assert f"scale {words['scale']} cap {words['soft cap']}" == FAMILIES[family][2]
    assert LABEL not in found.out()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("family", "more", "name", "value"), [
    ("gemma2", {"final_logit_softcapping": None}, "softcap", "none"),
    ("gemma2", {"final_logit_softcapping": 50.0}, "softcap", "50"),
    ("gemma2", {"final_logit_softcapping": 37.0}, "softcap", 37.0),
    ("cohere", {"logit_scale": 1.0}, "logits-scale", "1"),
    ("cohere", {"logit_scale": 0.0631}, "logits-scale", 0.0631),
    ("granite", {"logits_scaling": 0.125}, "logits-scale", "8"),
])  # fmt: skip
def test_each_change_of_logits_is_named(
    tmp_path: Path, family: str, more: dict[str, Any], name: str, value: Any, dtype: torch.dtype
) -> None:
    found = check(tmp_path, build(family, dtype), build(family, dtype, **more))
    assert LABEL in found.out()
    (cause, *_) = found.diagnosis(LABEL).causes
    assert cause.name == name
    if isinstance(value, str):
        assert cause.candidate == value
    else:
        assert abs(float(cause.candidate) - value) <= 4 * float(cause.uncertainty)


def test_only_the_last_logits_are_returned(tmp_path: Path) -> None:
    """The head's product of every token, the logits of the last ones alone."""
    models = [build("granite", torch.float32) for _ in range(2)]
    for model in models:
        inner = model.forward

        def forward(inner: Any = inner, **inputs: Any) -> Any:
            out = inner(**inputs)
            out.logits = out.logits[:, -2:]
            return out

        model.forward = forward  # type: ignore[method-assign]
    found = check(tmp_path, *models)
    assert found.judged[LABEL].trusted
    assert LABEL not in found.out()


@settings(max_examples=30, deadline=None)
@given(cap=st.floats(5, 200), size=st.floats(0.3, 40), seed=st.integers(0, 5), half=st.booleans())
@example(cap=128.2, size=60.0, seed=0, half=True)  # next to a power of two: rounded to it
@example(cap=5.000000000000001, size=4.0, seed=0, half=False)  # all ties are rounded up
@example(cap=37.3, size=700.0, seed=0, half=True)  # all logits at the cap
@example(cap=50.0, size=2.0, seed=0, half=True)  # bent by less than the rounding
def test_a_soft_cap_is_found_within_its_uncertainty(
    cap: float, size: float, seed: int, half: bool
) -> None:
    from layertui.compare.laws.law import Case, Prediction
    from layertui.compare.laws.logits import Last, fitted_cap
    from layertui.compare.laws.numerics.rounding import on_grid

    unit = 2.0**-8 if half else 2.0**-24
    x = on_grid(np.random.default_rng(seed).standard_normal((24, 64)) * size, unit)
    y = on_grid(cap * on_grid(np.tanh(on_grid(x / cap, unit)), unit), unit)
    case = Case("candidate", y, np.arange(24), {"product": x}, {"product": unit, "output": unit})
    found, error = fitted_cap(Last(), Prediction(x, np.zeros((1, 1))), case)
    assert abs(found - cap) <= 4 * error or error > found / 4  # the latter is not said
    if size > cap / 3:
        assert error < (0.05 if half else 1e-4) * cap


@settings(deadline=None, max_examples=20)
@given(st.floats(3.0, 60.0), st.integers(0, 9))
def test_steps_that_are_rounded_one_by_one_are_the_law(cap: float, seed: int) -> None:
    """Quotients by one number round alike, which is no factor of the logits."""

    def coarse(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return on_grid(values, 2.0**-8)  # torch rounds float64 to float32 first: twice

    product = coarse(30 * np.random.default_rng(seed).standard_normal((8, 200)))
    y = coarse(cap * coarse(np.tanh(coarse(product / cap))))
    units = {"output": 2.0**-8, "product": 2.0**-8}
    case = Case("candidate", y, np.arange(8), {"product": product}, units)
    found = finished(Last(cap=cap), Prediction(product, 1e-3 * np.abs(product)), case)
    assert np.array_equal(found.value, y)
