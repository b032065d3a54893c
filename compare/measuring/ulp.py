"""Distances in units of the last place: how many numbers of a type lie between two of them.

Both values are rounded to the type first. Bit patterns of IEEE types are ordered like the numbers
they stand for once negative ones are mirrored (Dawson, "Comparing Floating Point Numbers"), so the
distance is a difference of whole numbers, and small ones around zero need no special rule: 0 and
-0 are the same number.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from ...capture.values import Array, small_float_table
from ..recipes.cast import cast


def greatest_distance(x: Array, y: Array, dtype: str) -> float:
    """The greatest distance between finite `x` and `y`, 1-D arrays of numbers, in steps of `dtype`.

    Inf, where rounding makes it, is one step beyond the greatest finite number.
    """
    return float(distances(x, y, dtype).max()) if x.size else 0.0


def distances(x: Array, y: Array, dtype: str) -> Array:
    """The distance of every pair of elements, in steps of `dtype`, as uint64 (see above)."""
    a, b = _places(x, dtype), _places(y, dtype)
    high, low = np.maximum(a, b), np.minimum(a, b)
    # The difference of two int64 may need 65 bits with a sign, never more than 64 without.
    return high.view(np.uint64) - low.view(np.uint64)


def _places(values: Array, dtype: str) -> Array:
    """Each value's place among all numbers of the type, 0 at zero, as int64."""
    with np.errstate(over="ignore"):
        if dtype == "float64":
            return _ordered(values.astype(np.float64), np.int64)
        if dtype == "float32":
            return _ordered(values.astype(np.float32), np.int32)
        if dtype == "float16":
            return _ordered(values.astype(np.float16), np.int16)
    rounded = np.ascontiguousarray(cast(values, dtype), np.float32)
    if dtype == "bfloat16":
        return _ordered(rounded, np.int32) >> 16
    return np.searchsorted(_numbers(dtype), rounded).astype(np.int64)


def _ordered(values: Array, whole: type[np.signedinteger]) -> Array:
    bits = values.view(whole)
    sign = bits >> whole(8 * bits.itemsize - 1)  # all ones for negative numbers
    found = bits & whole(np.iinfo(whole).max)
    found ^= sign
    found -= sign
    return found.astype(np.int64, copy=False)


@cache
def _numbers(dtype: str) -> Array:
    """All different numbers of a narrow type, rising; Inf included."""
    table = small_float_table(dtype)
    return np.unique(table[~np.isnan(table)])
