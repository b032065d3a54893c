"""Rounding to narrower floating-point types, to nearest even, on plain numpy arrays.

As torch does it: everything goes through float32 first, so that a float64 is rounded twice.
"""

from __future__ import annotations

import numpy as np

from ...capture.dtypes import DTYPES
from ...capture.values import Array, small_float_table
from .errors import RecipeError


def cast(array: Array, dtype: str) -> Array:
    """The values of `array` (numbers) after rounding to `dtype`, as numbers again.

    bf16, fp16 and fp8 results come back as float32. Values beyond the range become Inf where the
    type has it, NaN in the `fnuz` types, else the type's greatest value. Raises `RecipeError` where
    numbers do not go into the type: fractions into whole numbers, complex into real.
    """
    kind = DTYPES[dtype]
    if array.dtype.kind == "c" and kind.kind != "complex":
        raise RecipeError(f"cast({dtype}): complex values are not cast to real numbers")
    if kind.kind in ("int", "bool") and array.dtype.kind == "f":
        raise RecipeError(f"cast({dtype}): floating-point values are not cast to whole numbers")
    with np.errstate(all="ignore"):  # overflow, and NaN of the signalling kind
        if kind.kind != "float" or dtype in ("float32", "float64"):
            return array.astype(np.dtype(kind.storage))
        single = np.atleast_1d(array).astype(np.float32)
        if dtype == "bfloat16":
            rounded = _to_bfloat16(single)
        elif dtype == "float16":
            rounded = single.astype(np.float16).astype(np.float32)
        elif dtype == "float8_e8m0fnu":
            rounded = _to_power_of_two(single)
        else:
            rounded = _to_table(single, dtype)
    return rounded.reshape(array.shape)


def _to_bfloat16(array: Array) -> Array:
    bits = np.ascontiguousarray(array).view(np.uint32)
    rounded = bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))
    rounded &= np.uint32(0xFFFF0000)
    return np.where(np.isnan(array), np.float32(np.nan), rounded.view(np.float32))


def _to_power_of_two(array: Array) -> Array:
    """float8_e8m0fnu, a type of scales: the sign is dropped and ties go to the greater."""
    bits = np.ascontiguousarray(array).view(np.uint32) & np.uint32(0x7FFFFFFF)
    code, mantissa = bits >> np.uint32(23), bits & np.uint32(0x7FFFFF)
    half = np.where(code == 0, np.uint32(0x400001), np.uint32(0x400000))
    code = np.minimum(code + (mantissa >= half), 255)
    return small_float_table("float8_e8m0fnu")[code]


def _to_table(array: Array, dtype: str) -> Array:
    """Round to an 8-bit (or narrower) type with a sign, by the table of its values."""
    table = small_float_table(dtype)
    finite = np.isfinite(table)
    values, first = np.unique(table[finite].astype(np.float64), return_index=True)
    codes = np.arange(256)[finite][first]
    x = array.astype(np.float64)
    high = np.clip(np.searchsorted(values, x), 1, len(values) - 1)
    below, above = values[high - 1], values[high]
    to_low, to_high = x - below, above - x
    even_low = (codes[high - 1] & 1) == 0
    result = np.where((to_low < to_high) | ((to_low == to_high) & even_low), below, above)
    beyond = _beyond(table, dtype, float(values[-1]))
    limit = values[-1] + (values[-1] - values[-2]) / 2
    odd = bool(codes[-1] & 1)
    size = np.abs(x)
    result = np.where((size > limit) | ((size == limit) & odd), beyond, result)
    result = np.copysign(result, x)
    if not np.signbit(table[table == 0]).any():
        result = result + 0.0  # this type has no minus zero
    return np.where(np.isnan(x), np.nan, result).astype(np.float32)


def _beyond(table: Array, dtype: str, greatest: float) -> float:
    """What numbers become that are too great. float8_e4m3fn saturates although it has NaN, as on
    GPUs and in torch 2.13 (older versions gave NaN on CPUs).
    """
    if np.isinf(table).any():
        return float(np.inf)
    saturates = dtype == "float8_e4m3fn" or not np.isnan(table).any()
    return greatest if saturates else float(np.nan)
