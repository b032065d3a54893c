"""Bits that numbers need, different numbers and ranks: compiled, and in numpy's arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.compare.laws.numerics.rounding import on_grid
from layertui.compare.measuring.kernel import NO_KERNEL, instruction_sets
from layertui.compare.measuring.mantissa import distinct, mantissa_bits, rounded_to
from layertui.compare.measuring.order_statistics import kth, median

NUMBERS = st.lists(
    st.floats(-100, 100, allow_subnormal=False) | st.floats(width=32, allow_nan=True)
    | st.floats(width=16) | st.sampled_from([0.0, -0.0, 0.5, 3.0, 1e-45, 1e300]),
    max_size=60,
)  # fmt: skip
BITS = [1, 2, 3, 4, 7, 10, 11, 12, 23, 52]


@pytest.mark.parametrize("bits", [1, 2, 3, 7, 10])
def test_numbers_of_a_grid_need_its_bits(bits: int) -> None:
    values = np.random.default_rng(0).standard_normal(4000)
    mantissa, exponent = np.frexp(values)
    rounded = np.ldexp(np.rint(np.ldexp(mantissa, bits + 1)), exponent - bits - 1)
    assert mantissa_bits(rounded) == bits
    assert mantissa_bits(values.astype(np.float32)) == 23
    assert mantissa_bits(values) == 52
    assert distinct(values, bits) == len(np.unique(np.abs(rounded)))
    assert distinct(values) == 4000


@pytest.mark.parametrize("spread", [1, 30, 120, 900])
@pytest.mark.parametrize("kept", [7, 10, 52])
def test_different_numbers_of_few_bits(spread: int, kept: int) -> None:
    rng = np.random.default_rng(spread)
    whole = rng.integers(128, 256, 5000) * np.exp2(rng.integers(-spread, spread + 1, 5000))
    values = np.concatenate([whole, -whole[::3], [0.0, -0.0, np.inf]])
    assert distinct(values, kept) == len(np.unique(np.abs(values)))
    assert distinct(values[:5000], kept) == len(np.unique(whole))
    assert distinct(np.zeros(20), kept) == 1


@settings(max_examples=200, deadline=None)
@given(NUMBERS, st.sampled_from(BITS))
def test_compiled_and_numpy_say_the_same(numbers: list[float], bits: int) -> None:
    values = np.array(numbers, np.float64)
    fine = values[np.isfinite(values)]
    at = fine.size // 3
    with np.errstate(all="ignore"):
        compiled = mantissa_bits(values), distinct(fine, bits)
        assert fine.size == 0 or median(fine) == np.median(fine)
        kth_compiled = kth(np.abs(fine), at) if fine.size else 0.0
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(NO_KERNEL, "1")
            assert compiled == (mantissa_bits(values), distinct(fine, bits))
            assert kth_compiled == (kth(np.abs(fine), at) if fine.size else 0.0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5000) | st.integers(16000, 40000),
       st.floats(0, 1), st.booleans())  # fmt: skip
def test_the_kth_of_many(seed: int, count: int, share: float, tied: bool) -> None:
    values = np.abs(np.random.default_rng(seed).standard_normal(count))
    values = np.rint(3 * values) if tied else values
    k = min(count - 1, int(share * count))
    assert kth(values, k) == np.sort(values)[k]


@pytest.mark.parametrize("other", [0.0, 2.0, 1e30, np.inf])
@pytest.mark.parametrize("count", [512, 4096, 20_000])
def test_the_kth_of_numbers_whose_sample_is_unlike_them(count: int, other: float) -> None:
    values = np.abs(np.random.default_rng(count).standard_normal(count))
    values[:: max(16, count // 1024)] = other  # the compiled search looks at these first
    ordered = np.sort(values)
    for k in (0, 1, count // 10, count // 2, count - 2, count - 1):
        assert kth(values, k) == ordered[k]


@settings(max_examples=200, deadline=None)
@given(NUMBERS, st.sampled_from([1, 2, 7, 10, 22]), st.sampled_from([np.float32, np.float64]))
def test_rounding_is_to_nearest_with_ties_to_even(
    numbers: list[float], bits: int, kind: type[np.floating[Any]]
) -> None:
    with np.errstate(all="ignore"):
        values = np.array(numbers, kind)
        values = values[(np.abs(values) >= np.finfo(kind).tiny) | (values == 0) | np.isnan(values)]
        mantissa, exponent = np.frexp(values)
        expected = np.ldexp(np.rint(np.ldexp(mantissa, bits + 1)), exponent - bits - 1)
    for instructions in instruction_sets():
        found = rounded_to(values, bits, instructions)
        assert found is not None and found.dtype == values.dtype
        np.testing.assert_array_equal(found, expected)
    inside = np.arange(1024, dtype=kind) / 512 + 1
    if bits <= 7:
        assert (rounded_to(inside, bits) == on_grid(inside, 2.0 ** -(bits + 1))).all()


def test_nothing_is_rounded_that_has_no_more_bits() -> None:
    values = np.ones(4, np.float32)
    assert rounded_to(values, 23) is None and rounded_to(values.astype(np.float16), 7) is None
    assert rounded_to(values, -1) is None
    nan = np.frombuffer(b"\xff\xff\xff\x7f\x00\x00\x80\xff", np.float32)
    found = rounded_to(nan, 7)
    if found is not None:
        assert np.isnan(found[0]) and found[1] == -np.inf


def test_on_grid_is_the_same_without_the_compiled_module(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).standard_normal((40, 50)) * 10.0 ** np.arange(-20, 30)
    for unit in (2.0**-3, 2.0**-8, 2.0**-11, 2.0**-24, 0.3 * 2.0**-8):
        monkeypatch.delenv(NO_KERNEL, raising=False)
        found = on_grid(values, unit)
        monkeypatch.setenv(NO_KERNEL, "1")
        np.testing.assert_array_equal(found, on_grid(values, unit))
