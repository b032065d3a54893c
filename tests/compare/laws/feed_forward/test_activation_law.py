"""The law of activation functions against torch's and transformers' own modules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers.activations import ACT2FN

from layertui.compare.laws.feed_forward.functions import FUNCTIONS, erf, function_named
from support.laws.law_checks import Tried, capture, tried

WIDTH, ROWS = 48, 24
# What transformers calls a function, and what the law does.
NAMES = {
    "silu": "silu", "gelu": "gelu", "gelu_new": "gelu (tanh form)",
    "gelu_pytorch_tanh": "gelu (tanh form)", "quick_gelu": "quick gelu", "relu": "relu",
    "relu2": "relu squared", "leaky_relu": "leaky relu", "mish": "mish", "sigmoid": "sigmoid",
    "tanh": "tanh", "linear": "no function",
}  # fmt: skip


class Mlp(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.act_fn = ACT2FN[name]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act_fn(x)


class Stack(nn.Module):
    """The functions of several layers, of inputs of unlike size."""

    def __init__(self, name: str, layers: int = 6) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.ModuleDict({"mlp": Mlp(name)}) for _ in range(layers))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [layer["mlp"](x * 1.3**i) for i, layer in enumerate(self.layers)]  # type: ignore[index]


def rows(dtype: torch.dtype) -> torch.Tensor:
    torch.manual_seed(1)
    x = torch.randn(1, ROWS, WIDTH) * torch.linspace(0.3, 2, ROWS)[None, :, None]
    x[0, 0, 5] = 60.0  # a massive activation
    return x.to(dtype)


def check(tmp_path: Path, reference: nn.Module, candidate: nn.Module, dtype: torch.dtype) -> Tried:
    x = rows(dtype)
    return tried(
        capture(reference, tmp_path / "reference", x), capture(candidate, tmp_path / "candidate", x)
    )


def test_erf_is_that_of_torch() -> None:
    x = np.concatenate([np.linspace(-7, 7, 200_001), [0.0, 1e-300, 40.0, -np.inf, np.inf]])
    assert np.abs(erf(x) - torch.erf(torch.from_numpy(x)).numpy()).max() < 1e-15
    assert np.isnan(erf(np.array([np.nan]))).all()


@given(st.lists(st.floats(-40, 40), min_size=1, max_size=20), st.sampled_from(sorted(NAMES)))
def test_functions_are_those_of_transformers(values: list[float], name: str) -> None:
    x = np.array(values)
    theirs = ACT2FN[name](torch.from_numpy(x)).numpy()
    ours = function_named(NAMES[name]).of(x, lambda v: v)
    # The constant of the tanh form is the one thing that torch has in float32.
    assert np.abs(ours - theirs).max() <= 1e-12 * max(1.0, np.abs(theirs).max())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", sorted(NAMES))
def test_functions_keep_to_the_law(tmp_path: Path, name: str, dtype: torch.dtype) -> None:
    found = check(tmp_path, Stack(name), Stack(name), dtype)
    assert len(found.judged) == 6
    assert all(judged.trusted for judged in found.judged.values())
    assert found.out() == []
    for judged in found.judged.values():
        assert NAMES[name] in judged.evaluation.fit.words["function"].split(" or ")
        assert judged.evaluation.reference.ratio < 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("one", "other"), [
    ("silu", "gelu"), ("silu", "relu"), ("gelu", "relu"), ("relu", "relu2"), ("silu", "quick_gelu"),
    ("gelu_new", "silu"), ("silu", "linear"), ("gelu", "tanh"), ("relu", "leaky_relu"),
])  # fmt: skip
def test_another_function_in_one_layer_is_named(
    tmp_path: Path, one: str, other: str, dtype: torch.dtype
) -> None:
    candidate = Stack(one)
    candidate.layers[2]["mlp"].act_fn = ACT2FN[other]  # type: ignore[index]
    found = check(tmp_path, Stack(one), candidate, dtype)
    assert found.out() == ["layers.2.mlp.act_fn-output"]
    (cause, *_) = found.diagnosis("layers.2.mlp.act_fn-output").causes
    assert cause.name == "activation"
    assert NAMES[other] in cause.candidate.split(" or ")
    assert NAMES[one] in cause.reference.split(" or ")
    assert cause.after < 2


def test_the_forms_of_gelu_are_told_apart_in_float32(tmp_path: Path) -> None:
    candidate = Stack("gelu")
    candidate.layers[2]["mlp"].act_fn = ACT2FN["gelu_pytorch_tanh"]  # type: ignore[index]
    found = check(tmp_path, Stack("gelu"), candidate, torch.float32)
    assert found.out() == ["layers.2.mlp.act_fn-output"]
    (cause, *_) = found.diagnosis("layers.2.mlp.act_fn-output").causes
    assert (cause.reference, cause.candidate) == ("gelu", "gelu (tanh form)")


def test_the_forms_of_gelu_are_not_told_apart_where_rounding_hides_them(tmp_path: Path) -> None:
    candidate = Stack("silu")
    candidate.layers[2]["mlp"].act_fn = ACT2FN["gelu_pytorch_tanh"]  # type: ignore[index]
    found = check(tmp_path, Stack("silu"), candidate, torch.bfloat16)
    (cause, *_) = found.diagnosis("layers.2.mlp.act_fn-output").causes
    assert set(cause.candidate.split(" or ")) == {"gelu", "gelu (tanh form)"}
    assert cause.uncertainty == "these cannot be distinguished here"


def test_one_form_of_gelu_for_the_other_is_no_wrong_answer_in_bfloat16(tmp_path: Path) -> None:
    found = check(tmp_path, Stack("gelu"), Stack("gelu_pytorch_tanh"), torch.bfloat16)
    for label in found.out():
        for cause in found.diagnosis(label).causes:
            assert cause.name == "activation"
            assert "gelu (tanh form)" in cause.candidate.split(" or ")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_factor_of_one_per_cent_is_a_scale(tmp_path: Path, dtype: torch.dtype) -> None:
    candidate = Stack("silu")
    function = candidate.layers[2]["mlp"].act_fn  # type: ignore[index]
    inner = function.forward
    function.forward = lambda x: inner(x) * 1.01
    found = check(tmp_path, Stack("silu"), candidate, dtype)
    assert found.out() == ["layers.2.mlp.act_fn-output"]
    (cause, *_) = found.diagnosis("layers.2.mlp.act_fn-output").causes
    assert cause.name == "scale"
    assert float(cause.candidate) == pytest.approx(1.01, abs=2e-3)


@settings(max_examples=30, deadline=None)
@given(
    index=st.integers(0, len(FUNCTIONS) - 1), seed=st.integers(0, 5), half=st.booleans(),
    size=st.floats(0.3, 4),
)  # fmt: skip
def test_the_function_is_among_those_that_are_named(
    index: int, seed: int, half: bool, size: float
) -> None:
    from functools import partial

    from layertui.compare.laws.feed_forward.activation import Tries, drawn
    from layertui.compare.laws.law import Case
    from layertui.compare.laws.numerics.rounding import on_grid

    unit = 2.0**-8 if half else 2.0**-24
    function = FUNCTIONS[index]
    x = on_grid(np.random.default_rng(seed).standard_normal((ROWS, WIDTH)) * size, unit)
    y = on_grid(function.of(x, lambda v: v), unit)
    case = Case("reference", y, np.arange(ROWS), {"x": x}, {"x": unit, "output": unit})
    tries = Tries(case, partial(drawn, case))
    assert function.words in tries.words(next(tries.in_order(None))).split(" or ")
