"""Models of two layers, whose laws have no peers: the reference's own error is the measure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.laws.suspects import suspected
from support.laws.attention_models import attention_of, compared, layer, model_of
from support.laws.law_checks import capture


def small(**more: Any) -> Any:
    """Two layers, whose attention is not sharp: another scale changes little."""
    model = model_of("llama", dtype=torch.float32, num_hidden_layers=2, **more)
    for name, parameter in model.named_parameters():
        if "q_proj" in name or "k_proj" in name:
            parameter.data /= 3
    return model.to(torch.bfloat16)


def judged(folder: Path, one: Any, other: Any) -> Comparison:
    ids = {"input_ids": torch.randint(1, 96, (1, 24), generator=torch.manual_seed(1))}
    sides = [
        str(capture(model, folder / name, **ids))
        for model, name in ((one, "reference"), (other, "candidate"))
    ]
    found = open_comparison(*sides)
    assert found.measure(use_cache=False)
    return found


def test_a_mistake_within_the_wide_limit_is_found_and_named(tmp_path: Path) -> None:
    one, other = small(), small()
    layer(other, 1).self_attn.scaling *= 1.2
    (place,) = [j for j in attention_of(compared(tmp_path / "law", one, other)) if suspected(j)]
    assert place.state == "keeps"  # by the limit without peers
    first = judged(tmp_path, one, other).first_divergence()
    assert first is not None and first.causes is not None
    assert [cause.name for cause in first.causes] == ["attention-scale"]
    assert abs(float(first.causes[0].candidate) - 0.3) < 0.003


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_rounding_of_another_kernel_is_no_mistake(tmp_path: Path, attention: str) -> None:
    found = judged(tmp_path, small(), small(attention=attention))
    assert found.first_divergence() is None


def test_an_error_that_no_mistake_explains_stays_below_the_wide_limit(tmp_path: Path) -> None:
    one, other = small(), small()

    def noisy(_: Any, __: Any, output: Any) -> Any:
        values = output[0]
        noise = torch.randn(values.shape, generator=torch.manual_seed(2))
        return ((values.float() * (1 + 0.006 * noise)).to(values.dtype), *output[1:])

    inner = layer(other, 1).self_attn
    inner.o_proj.register_forward_pre_hook(lambda _, given: noisy(_, None, given))
    places = attention_of(compared(tmp_path / "law", one, other))
    assert any(suspected(place) for place in places)
    assert judged(tmp_path, one, other).first_divergence() is None
