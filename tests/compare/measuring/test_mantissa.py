"""Bits that numbers need, different numbers and ranks: compiled, and in numpy's arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.compare.measuring.kernel import NO_KERNEL
from layertui.compare.measuring.mantissa import distinct, mantissa_bits
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
