"""The law of normalisation against torch's own modules."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from layertui.compare.laws.law import Case
from layertui.compare.laws.norm.fitting import NormTrial
from support.laws.law_checks import Tried, capture, tried

WIDTH, ROWS = 48, 24


class Stack(nn.Module):
    """Several norms of inputs of unlike size, as a model's layers have them."""

    def __init__(self, kind: str, eps: float, dtype: torch.dtype, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        made = [self._norm(kind, eps) for _ in range(6)]
        for norm in made:
            norm.weight.data = 1 + 0.3 * torch.randn(WIDTH)
            if getattr(norm, "bias", None) is not None:
                norm.bias.data = 0.2 * torch.randn(WIDTH)
        self.layers = nn.ModuleList(nn.ModuleDict({"input_layernorm": n}) for n in made)
        self.to(dtype)

    def _norm(self, kind: str, eps: float) -> nn.Module:
        if kind == "layer":
            return nn.LayerNorm(WIDTH, eps)
        return LlamaRMSNorm(WIDTH, eps)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [each["input_layernorm"](x * 1.5**i) for i, each in enumerate(self.layers)]  # type: ignore


def rows(dtype: torch.dtype, size: float = 0.02) -> torch.Tensor:
    torch.manual_seed(1)
    x = torch.randn(1, ROWS, WIDTH) * size * torch.linspace(0.3, 3, ROWS)[None, :, None]
    x[0, 0, 5] = 400 * size  # a massive activation
    return x.to(dtype)


def check(
    tmp_path: Path, reference: nn.Module, candidate: nn.Module, dtype: torch.dtype,
    size: float = 0.02,
) -> Tried:  # fmt: skip
    x = rows(dtype, size)
    return tried(
        capture(reference, tmp_path / "reference", x), capture(candidate, tmp_path / "candidate", x)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["rms", "layer"])
def test_norms_of_torch_keep_to_the_law(tmp_path: Path, kind: str, dtype: torch.dtype) -> None:
    one, other = Stack(kind, 1e-5, dtype), Stack(kind, 1e-5, dtype)
    found = check(tmp_path, one, other, dtype)
    assert len(found.judged) == 6
    assert all(judged.trusted for judged in found.judged.values())
    assert found.out() == []
    words = found.judged["layers.0.input_layernorm-output"].evaluation.fit.words
    assert words["kind"] == ("layer norm" if kind == "layer" else "RMS norm")


@pytest.mark.parametrize("kind", ["rms", "layer"])
def test_another_epsilon_in_one_layer_is_named(tmp_path: Path, kind: str) -> None:
    one, other = Stack(kind, 1e-5, torch.float32), Stack(kind, 1e-5, torch.float32)
    norm = other.layers[2]["input_layernorm"]  # type: ignore[index]
    setattr(norm, "variance_epsilon" if kind == "rms" else "eps", 1e-4)
    found = check(tmp_path, one, other, torch.float32)
    assert found.out() == ["layers.2.input_layernorm-output"]
    cause = found.diagnosis("layers.2.input_layernorm-output").causes[0]
    assert cause.name == "eps"
    assert float(cause.candidate.split(" ")[0]) == pytest.approx(1e-4, rel=1e-3)
    assert float(cause.reference.split(" ")[0]) == pytest.approx(1e-5, rel=1e-2)


def test_another_epsilon_in_every_layer_is_not_usual(tmp_path: Path) -> None:
    one, other = Stack("rms", 1e-5, torch.float32), Stack("rms", 1e-6, torch.float32)
    found = check(tmp_path, one, other, torch.float32)
    assert len(found.out()) == 6
    assert {found.causes(label)[0] for label in found.out()} == {"eps"}


def test_an_epsilon_that_cannot_be_told_is_no_finding(tmp_path: Path) -> None:
    one, other = Stack("rms", 1e-5, torch.bfloat16), Stack("rms", 1e-6, torch.bfloat16)
    assert check(tmp_path, one, other, torch.bfloat16, size=1.0).out() == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "name", ["norm-missing", "norm-kind", "weight-offset", "weight-ignored", "scale", "bias"]
)
def test_each_change_of_one_norm_is_named(tmp_path: Path, name: str, dtype: torch.dtype) -> None:
    one, other = Stack("rms", 1e-5, dtype), Stack("rms", 1e-5, dtype)
    norm = other.layers[3]["input_layernorm"]  # type: ignore[index]
    _plant(norm, name)
    found = check(tmp_path, one, other, dtype, size=0.5)
    assert found.out() == ["layers.3.input_layernorm-output"]
    assert found.causes("layers.3.input_layernorm-output")[0] == name


def _plant(norm: nn.Module, name: str) -> None:
    weight: Any = norm.weight.data
    inner = norm.forward
    if name == "norm-missing":
        norm.forward = lambda x: x
    elif name == "norm-kind":
        norm.forward = lambda x: nn.functional.layer_norm(x, (WIDTH,), norm.weight, None, 1e-5)  # type: ignore[arg-type]
    elif name == "weight-offset":
        weight += 1
    elif name == "weight-ignored":
        weight.fill_(1)
    elif name == "scale":
        norm.forward = lambda x: inner(x) * 1.07
    else:
        norm.forward = lambda x: inner(x) + 0.25


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    true=st.floats(-7, 0).map(lambda power: 10.0**power),
    seed=st.integers(0, 3),
    half=st.booleans(),
)
def test_an_epsilon_is_found_within_its_uncertainty(
    tmp_path: Path, true: float, seed: int, half: bool
) -> None:
    from layertui.compare.laws.law import Case
    from layertui.compare.laws.norm.form import Norm, estimate_eps

    dtype = torch.bfloat16 if half else torch.float32
    torch.manual_seed(seed)
    norm = LlamaRMSNorm(WIDTH, true)
    norm.weight.data = 1 + 0.3 * torch.randn(WIDTH)
    norm.to(dtype)
    x = torch.randn(ROWS, WIDTH, dtype=dtype)
    y = norm(x).detach()
    unit = 2.0**-8 if half else 2.0**-24
    case = Case(
        "candidate", y.double().numpy(), torch.arange(ROWS).numpy(), {"x": x.double().numpy()},
        {"x": unit, "output": unit},
    )  # fmt: skip
    eps, error = estimate_eps(Norm("rms", 0.0, norm.weight.detach().double().numpy()), case)
    assert abs(eps - true) <= 6 * error
    assert error < (0.05 if half else 1e-5)


def test_one_layer_on_a_coarser_grid_is_a_cast(tmp_path: Path) -> None:
    one, other = Stack("rms", 1e-5, torch.float32), Stack("rms", 1e-5, torch.float32)
    norm = other.layers[4]["input_layernorm"]  # type: ignore[index]
    inner = norm.forward
    norm.forward = lambda x: inner(x).bfloat16().float()  # type: ignore[method-assign]
    found = check(tmp_path, one, other, torch.float32)
    assert found.out() == ["layers.4.input_layernorm-output"]
    assert found.causes("layers.4.input_layernorm-output") == ["cast"]


def test_a_whole_run_on_a_coarser_grid_is_judged_by_that(tmp_path: Path) -> None:
    one, other = Stack("rms", 1e-5, torch.float32), Stack("rms", 1e-5, torch.float32)
    for layer in other.layers:
        norm = layer["input_layernorm"]  # type: ignore[index]
        inner = norm.forward
        norm.forward = lambda x, inner=inner: inner(x).bfloat16().float()
    assert check(tmp_path, one, other, torch.float32).out() == []


def test_what_an_earlier_layer_returned_is_stale(tmp_path: Path) -> None:
    one, other = Stack("rms", 1e-5, torch.float32), Stack("rms", 1e-5, torch.float32)
    kept: list[torch.Tensor] = []
    second, fourth = (other.layers[i]["input_layernorm"] for i in (1, 3))  # type: ignore[index]
    second.register_forward_hook(lambda *call: kept.append(call[2]))
    fourth.register_forward_hook(lambda *_: kept[-1].clone())
    found = check(tmp_path, one, other, torch.float32)
    assert found.out() == ["layers.3.input_layernorm-output"]
    cause = found.diagnosis("layers.3.input_layernorm-output").causes[0]
    assert cause.name == "stale" and "layers.1.input_layernorm-output" in cause.text


@pytest.mark.parametrize("eps", [0.0, 1e-5, 3e-3])
def test_a_search_by_products_leaves_what_the_differences_leave(eps: float) -> None:
    """For a coarse grid: with products of float64 that is a difference of numbers alike."""
    torch.manual_seed(2)
    x = rows(torch.bfloat16)[0]
    y = LlamaRMSNorm(WIDTH, 1e-3).to(torch.bfloat16)(x)
    given, result = (t.detach().double().numpy() for t in (x, y))
    units = {"x": 2.0**-8, "output": 2.0**-8}
    case = Case("reference", result, np.arange(ROWS), {"x": given}, units)
    trial = NormTrial.of(case, "rms")
    assert trial.products is not None
    plain = replace(trial, products=None)
    assert trial.left(eps) == pytest.approx(plain.left(eps), rel=1e-9)
    thinned = trial.thinned()
    assert thinned.left(eps) == pytest.approx(plain.thinned().left(eps), rel=1e-9)
    fine = replace(case, units={"x": 2.0**-24, "output": 2.0**-24})
    assert NormTrial.of(fine, "rms").products is None
    assert NormTrial.of(case, "layer").products is None
