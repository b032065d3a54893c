"""What is looked at first, to save time: the limits below which nothing more is tried."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from layertui.compare.laws.law import Hypothesis, Prediction
from layertui.compare.laws.linear import causes, products, quantisers
from layertui.compare.laws.linear.bench import Bench, Probe
from layertui.compare.laws.linear.other_weights import may_be_turned
from layertui.compare.laws.linear.products import Operand, multiplied_alone
from layertui.compare.laws.linear.quantised import at_a_glance, like_sized

Array = np.ndarray[Any, Any]
RANDOM = np.random.default_rng(0)
NEAR = 1.02


def numbers(*shape: int) -> Array:
    return RANDOM.standard_normal(shape)


def probe(weight: Array, made: Array) -> Probe:
    """Where the candidate's weight is off by `made`."""
    x = numbers(24, weight.shape[1])
    base = x @ weight.T
    everywhere = np.ones(base.shape)
    return Probe(
        np.arange(len(weight)), np.arange(len(x)), x, base + x @ made.T, base, everywhere * 1e-3,
        everywhere > 0, weight, np.zeros(len(weight)),
    )  # fmt: skip


def bench(found: Probe) -> Bench:
    span = np.array([found.weight.min(), found.weight.max()])
    known = SimpleNamespace(
        probe=found, unit=0.0, x=found.x, tensor_span=lambda _: None,
        tensor_span_of_weight=lambda quantiser: span if quantiser.size < 0 else None,
    )  # fmt: skip
    return cast(Bench, known)


@pytest.mark.parametrize(("left", "is_likely"), [(0.9 / NEAR, True), (0.9 * NEAR, False)])
def test_a_kind_that_leaves_nine_tenths_at_a_glance(left: float, is_likely: bool) -> None:
    weight = numbers(5, 256)
    kind = next(q for q in quantisers.weight_quantisers() if q.words == "int4 by row")
    made = kind(weight) - weight
    found = at_a_glance(bench(probe(weight, made / (1.0 + left))))
    assert (kind in [k.weight for k in found]) == is_likely


@pytest.mark.parametrize(
    ("size", "is_like"),
    [(0.25 / NEAR, False), (0.25 * NEAR, True), (2.5 / NEAR, True), (2.5 * NEAR, False)],
)
def test_an_error_that_a_kind_is_too_small_or_too_large_for(size: float, is_like: bool) -> None:
    weight, made = numbers(1, 64), numbers(1, 64)
    assert like_sized(probe(weight, made), weight + size * made) == is_like


class Stored:
    """A weight as far as some of its rows are read."""

    def __init__(self, numbers: Array) -> None:
        self._numbers, self.shape = numbers, numbers.shape

    def between(self, first: int, last: int) -> Array:
        return self._numbers[first:last]

    def raw_blocks(self, _: int) -> Any:
        yield 0, SimpleNamespace(dtype="float32", numbers=lambda raw: raw), self._numbers

    dtype = "bfloat16"


@pytest.mark.parametrize(("slope", "may_be"), [(0.25 / NEAR, False), (0.25 * NEAR, True)])
def test_the_slope_on_what_some_inputs_give_with_a_turned_weight(
    slope: float, may_be: bool
) -> None:
    weight, x = numbers(48, 32), numbers(8, 32)
    turned = x @ weight.reshape(32, 48)  # the memory of the weight read as [in, out]
    found = SimpleNamespace(
        weight=Stored(weight), x=x, recorded=slope * turned, unit=0.0, bias=None
    )
    assert may_be_turned(cast(Bench, found)) == may_be


@pytest.mark.parametrize(("outputs", "share"), [(2047, 1), (2048, 2), (4096, 4)])
def test_channels_that_tell_how_rows_differ(outputs: int, share: int) -> None:
    weight = numbers(outputs, 8).astype(np.float32)
    rows = Operand(numbers(4, 8), 2.0**-9)
    (found,) = multiplied_alone(cast(Any, Stored(weight)), [rows])
    every = np.square(weight[::share], dtype=np.float64).sum(0)
    assert np.allclose(found.by_input, every, rtol=1e-5)
    # That many channels say it to a few percent.
    whole = np.square(weight, dtype=np.float64).sum(0)
    assert np.allclose(found.by_input * share, whole, rtol=0.2)
    assert products.TELLING_CHANNELS == 1024


@pytest.mark.parametrize(
    ("left", "fitted", "searched"),
    [(2.1, 2, False), (2.15, 2, True), (2.1, 3, True)],
)
def test_what_explains_simply_ends_the_search(left: float, fitted: int, searched: bool) -> None:
    """Coarse errors are usual up to 1.5 times the root of 2 units."""
    known = SimpleNamespace(
        noise=2.0, base=Prediction(np.full((1, 1), 100.0), np.ones((1, 1))),
        error_of=lambda prediction: float(prediction.value[0, 0]),
    )  # fmt: skip
    best = causes.Best(cast(Bench, known))
    prediction = Prediction(np.full((1, 1), left), np.ones((1, 1)))
    found = list(best.of([Hypothesis("scale", "", lambda: prediction, fitted=fitted)]))
    assert found[0].predict() is prediction
    assert best.explains_simply != searched
