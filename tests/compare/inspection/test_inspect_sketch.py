"""Histograms by bit patterns: what they promise of percentiles, and that counts add up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.compare.inspection.sketch import Sketch

SHARES = (0.0, 1.0, 25.0, 50.0, 75.0, 99.0, 100.0)
_SMALL = 2.0**-126  # below it the steps of float32 do not shrink any more
LIMIT = float(np.finfo(np.float32).max)
pytestmark = pytest.mark.filterwarnings("error")
NUMBERS = st.lists(
    st.floats(-LIMIT, LIMIT) | st.floats(-1e-40, 1e-40) | st.sampled_from([0.0, -0.0, 1e-60]),
    min_size=1,
    max_size=60,
)


def sketched(values: np.ndarray, parts: int = 1) -> Sketch:
    sketch = Sketch()
    for part in np.array_split(values, parts):
        sketch.add(part)
    return sketch


@given(NUMBERS, st.integers(1, 5), st.booleans())
@settings(max_examples=300, deadline=None)
def test_percentiles_are_within_a_bin(numbers: list[float], parts: int, spread: bool) -> None:
    values = np.array(numbers)
    ranked = np.sort(values)
    found = sketched(values, parts).percentiles(SHARES, spread)
    for share, got in zip(SHARES, found, strict=True):
        wanted = ranked[int(share / 100 * (len(ranked) - 1))]
        assert got is not None
        assert abs(got - wanted) <= abs(wanted) / 64 + _SMALL / 64


def test_percentiles_of_zeros_and_of_nothing() -> None:
    assert sketched(np.zeros(10)).percentiles(SHARES) == (0.0,) * len(SHARES)
    assert sketched(np.array([-0.0, 0.0])).percentiles(SHARES) == (0.0,) * len(SHARES)
    assert Sketch().percentiles(SHARES) == (None,) * len(SHARES)


@given(st.lists(st.integers(-(2**15), 2**15), min_size=1, max_size=50))
@settings(deadline=None)
def test_bfloat16_percentiles_are_exact(codes: list[int]) -> None:
    bits = np.array(codes, np.int64).astype(np.uint16).astype(np.uint32) << 16
    values = bits.view(np.float32)
    values = values[np.isfinite(values)].astype(np.float64)
    ranked = np.sort(values)
    if ranked.size:
        found = sketched(values).percentiles(SHARES, spread=False)
        wanted = [ranked[int(s / 100 * (ranked.size - 1))] for s in SHARES]
        assert list(found) == wanted


@given(NUMBERS, st.integers(1, 40))
@settings(max_examples=200, deadline=None)
def test_counts_between_the_ends_add_up(numbers: list[float], bins: int) -> None:
    values = np.array(numbers)
    sketch = sketched(values)
    counts = sketch.between(float(values.min()), float(values.max()), bins)
    assert counts.shape == (bins,) and int(counts.sum()) == sketch.total == values.size


@given(NUMBERS)
@settings(max_examples=200, deadline=None)
def test_exponents_add_up_by_sign(numbers: list[float]) -> None:
    values = np.array(numbers)
    sketch = sketched(values)
    positive, negative = sketch.by_exponent(-160, 127)
    assert int(positive.sum()) == int((values > 0).sum())
    assert int(negative.sum()) == int((values < 0).sum())
    assert sketch.zeros == int((values == 0).sum())
    narrow = values.astype(np.float32)
    large = narrow[np.abs(narrow) >= _SMALL]
    exponents = np.frexp(large)[1] - 1
    for exponent in set(exponents.tolist()):
        both = int(positive[exponent + 160] + negative[exponent + 160])
        assert both == int((exponents == exponent).sum())


def test_a_copy_does_not_change() -> None:
    sketch = sketched(np.array([1.0, 2.0]))
    copy = sketch.copy()
    sketch.add(np.array([3.0]))
    assert (copy.total, sketch.total) == (2, 3)


@pytest.mark.parametrize("value", [1e300, -1e300])
def test_numbers_beyond_float32_are_counted_at_its_end(value: float) -> None:
    sketch = sketched(np.array([value, 1.0]))
    assert sketch.total == 2
    positive, negative = sketch.by_exponent(-160, 127)
    assert int(positive[-1] if value > 0 else negative[-1]) == 1
