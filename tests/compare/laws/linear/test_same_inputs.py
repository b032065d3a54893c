"""Causes of a projection's output where no checkpoint says what it should give."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.laws.same_inputs import WIDEST
from support.laws.law_checks import capture

WIDTH, LAYERS = 32, 4


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.k_proj = nn.Linear(WIDTH, WIDTH)
        self.v_proj = nn.Linear(WIDTH, WIDTH)
        self.o_proj = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.o_proj(torch.tanh(self.k_proj(x)) * self.v_proj(x))


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def weight(change: Callable[[Tensor], Tensor]) -> Callable[[Any], None]:
    def plant(layer: Any) -> None:
        layer.k_proj.weight.data = change(layer.k_proj.weight.data).contiguous()

    return plant


def output(change: Callable[[Tensor], Tensor]) -> Callable[[Any], None]:
    return lambda layer: layer.k_proj.register_forward_hook(lambda *given: change(given[2]))


def swapped(layer: Any) -> None:
    layer.k_proj, layer.v_proj = layer.v_proj, layer.k_proj


def compared(folder: Path, dtype: torch.dtype, plant: Callable[[Any], None] | None) -> Comparison:
    sides: list[str] = []
    for name in ("one", "other"):
        torch.manual_seed(0)
        model, given = Model(), torch.randn(1, 48, WIDTH)
        if name == "other":
            given = given + 2.0**-20 * torch.randn_like(given)  # what came before rounds otherwise
            if plant is not None:
                plant(model.layers[2])
        sides.append(str(capture(model.to(dtype).eval(), folder / name, given.to(dtype))))
    found = open_comparison(*sides)
    found.measure(use_cache=False, threads=1)
    return found


NAMED: dict[str, tuple[Callable[[Any], None], str]] = {
    "scale": (output(lambda y: 1.2 * y), "scale"),
    "sign": (output(torch.neg), "scale"),
    "bias": (lambda layer: layer.k_proj.bias.data.mul_(0), "bias"),
    "order": (output(lambda y: y.roll(5, -1)), "row-order"),
    "swapped": (swapped, "swapped"),
    "fp8": (output(lambda y: y.to(torch.float8_e5m2).to(y.dtype)), "cast"),
    "clamped": (output(lambda y: y.clamp(-0.7, 0.7)), "clamp"),
    "shifted": (output(lambda y: y.roll(1, 1)), "token-shift"),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("fault", NAMED)
def test_a_change_of_the_output_is_named_without_weights(
    tmp_path: Path, fault: str, dtype: torch.dtype
) -> None:
    plant, wanted = NAMED[fault]
    first = compared(tmp_path, dtype, plant).first_divergence()
    assert first is not None and first.module == "layers.2.self_attn.k_proj"
    assert first.causes and first.causes[0].name == wanted


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_only_weights_can_tell_has_no_cause(tmp_path: Path, dtype: torch.dtype) -> None:
    first = compared(tmp_path, dtype, weight(lambda w: w.T)).first_divergence()
    assert first is not None and first.module == "layers.2.self_attn.k_proj"
    assert first.causes is None


def test_a_clean_pair_has_none(tmp_path: Path) -> None:
    assert compared(tmp_path, torch.float32, None).first_divergence() is None


@pytest.mark.parametrize("more, named", [(0, True), (1, False)])
def test_a_row_is_not_read_whole_whatever_its_width(tmp_path: Path, more: int, named: bool) -> None:
    """Just at the widest row that is tried, and just above it."""
    values = np.random.default_rng(0).standard_normal((2, WIDEST + more)).astype(np.float32)
    for folder, array in (("one", values), ("other", 1.2 * values)):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "model.layers.0.mlp-output.npy", array)
    found = open_comparison(str(tmp_path / "one"), str(tmp_path / "other"))
    found.measure(use_cache=False, threads=1)
    first = found.first_divergence()
    assert first is not None
    assert [cause.name for cause in first.causes or ()] == (["scale"] if named else [])


def spoiled(layer: Any) -> None:
    layer.k_proj.bias.data[3] = float("nan")


def test_nan_is_not_explained_by_a_factor_or_a_bias(tmp_path: Path) -> None:
    """All other elements are equal: there is no error that a mistake could explain."""
    sides: list[str] = []
    for name in ("one", "other"):
        torch.manual_seed(0)
        model, given = Model(), torch.randn(1, 48, WIDTH)
        if name == "other":
            spoiled(model.layers[2])
        sides.append(str(capture(model.eval(), tmp_path / name, given)))
    found = open_comparison(*sides)
    found.measure(use_cache=False, threads=1)
    first = found.first_divergence()
    assert first is not None and (first.candidate, first.verdict) == (
        "layers.2.k_proj-output",
        "nan",
    )
    assert not first.causes
