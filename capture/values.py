"""What values are: raw elements as numpy arrays, and the numbers that they stand for.

Files hold bits that numpy has no type for, so there are two steps: `load.load` gives the raw
elements (`uint16` for bfloat16, `uint8` for fp8), `upcast` turns raw elements into numbers without
loss. This module and `load` are the only ones of the package that import numpy at the top.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class PartialValues:
    """Some elements of a tensor: `values[k]` stands at flat (C order) position `positions[k]`."""

    values: Array
    positions: NDArray[np.int64]
    shape: tuple[int, ...]


def upcast(raw: Array, dtype: str) -> Array:
    """Raw elements as numbers, lossless: bf16, fp16 and fp8 become float32, the rest stays."""
    if dtype == "bfloat16":
        wide = raw.astype(np.uint32)
        wide <<= np.uint32(16)
        return wide.view(np.float32)
    if dtype == "float16":
        return raw.astype(np.float32)
    if dtype in _SMALL_FLOATS:
        return small_float_table(dtype)[raw]
    return raw


# name -> (exponent bits, mantissa bits, bias, has infinities, NaN rule)
_SMALL_FLOATS: dict[str, tuple[int, int, int, bool, str]] = {
    "float8_e4m3fn": (4, 3, 7, False, "all ones"),
    "float8_e5m2": (5, 2, 15, True, "ieee"),
    "float8_e4m3fnuz": (4, 3, 8, False, "minus zero"),
    "float8_e5m2fnuz": (5, 2, 16, False, "minus zero"),
    "float8_e8m0fnu": (8, 0, 127, False, "all ones"),
    "float4_e2m1fn": (2, 1, 1, False, "none"),
    "float6_e2m3fn": (2, 3, 1, False, "none"),
    "float6_e3m2fn": (3, 2, 3, False, "none"),
}


@cache
def small_float_table(dtype: str) -> NDArray[np.float32]:
    """The 256 values of an 8-bit (or narrower, in the low bits) float type.

    Formats as in OCP "8-bit Floating Point Specification" and "Microscaling Formats" (MX) v1.0;
    the `fnuz` variants as in LLVM's APFloat.
    """
    exponent_bits, mantissa_bits, bias, infinities, nan_rule = _SMALL_FLOATS[dtype]
    code = np.arange(256)
    mantissa = code & ((1 << mantissa_bits) - 1)
    exponent = (code >> mantissa_bits) & ((1 << exponent_bits) - 1)
    signed = dtype != "float8_e8m0fnu"
    sign = np.where((code >> (mantissa_bits + exponent_bits)) & 1 if signed else 0, -1.0, 1.0)
    fraction = mantissa / (1 << mantissa_bits)
    normal = (1 + fraction) * np.exp2((exponent - bias).astype(np.float64))
    if not signed:
        value = normal
    else:
        value = np.where(exponent == 0, fraction * 2.0 ** (1 - bias), normal)
    value = sign * value
    top = (1 << exponent_bits) - 1
    if infinities:
        value = np.where((exponent == top) & (mantissa == 0), sign * np.inf, value)
        value = np.where((exponent == top) & (mantissa != 0), np.nan, value)
    elif nan_rule == "all ones":
        full = (exponent == top) & (mantissa == (1 << mantissa_bits) - 1)
        value = np.where(full, np.nan, value)
    elif nan_rule == "minus zero":
        value = np.where(code == 0x80, np.nan, value)
    return value.astype(np.float32)
