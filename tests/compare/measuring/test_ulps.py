"""Distances in units of the last place, against every neighbour of the narrow types."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layertui.capture.dtypes import DTYPES
from layertui.capture.values import upcast
from layertui.compare.measuring.ulp import greatest_distance

NARROW = [name for name, kind in DTYPES.items() if kind.kind == "float" and kind.itemsize <= 2]


@pytest.mark.parametrize("dtype", NARROW)
def test_neighbours_are_one_apart_and_ends_all_steps(dtype: str) -> None:
    kind = DTYPES[dtype]
    codes = np.arange(1 << (8 * kind.itemsize), dtype=f"u{kind.itemsize}")
    with np.errstate(invalid="ignore"):
        numbers = upcast(codes.view(np.dtype(kind.storage)), dtype).astype(np.float64)
    numbers = np.unique(numbers[np.isfinite(numbers)])
    assert greatest_distance(numbers[:-1], numbers[1:], dtype) == 1
    assert greatest_distance(numbers[:1], numbers[-1:], dtype) == numbers.size - 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_zeros_are_one_number(dtype: str) -> None:
    kind = np.dtype(dtype).type
    zeros, tiny = np.array([0.0, -0.0], kind), np.nextafter(kind(0), kind(1))
    assert greatest_distance(zeros, -zeros, dtype) == 0
    assert greatest_distance(np.array([-tiny]), np.array([tiny]), dtype) == 2
    top = np.array([np.finfo(kind).max])
    assert greatest_distance(-top, top, dtype) == 2.0 * float(top.view(f"u{kind().itemsize}")[0])


@given(st.floats(-(2.0**100), 2.0**100, width=32), st.integers(0, 1000))
def test_steps_are_counted(start: float, steps: int) -> None:
    x = np.array([start], np.float32)
    y = x.copy()
    for _ in range(steps):
        y = np.nextafter(y, np.float32(np.inf))
    assert greatest_distance(x, y, "float32") == steps
    assert greatest_distance(y, x, "float32") == steps


def test_small_values_beside_zero_count_what_lies_between() -> None:
    """Not their ratio to the smallest spacing, which would be astronomical."""
    zero, small = np.zeros(1, np.float32), np.full(1, 1e-3, np.float32)
    assert greatest_distance(zero, small, "bfloat16") == 0x3A83
