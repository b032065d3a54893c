"""The mantissas of numbers: how many bits they need, and how many different ones there are."""

from __future__ import annotations

import numpy as np

from ...capture.values import Array
from .kernel import compiled_module

_BITS = (1, 2, 3, 4, 7, 10, 12)  # mantissa bits of fp4, e5m2, e4m3, ..., bfloat16, float16
_ON_GRID = 0.995  # of the numbers: so many must do with the bits that are told
_MOST = 1 << 14  # numbers that the compiled count of different ones takes
_ALL_BITS = 52


def mantissa_bits(values: Array) -> int:
    """Mantissa bits that (nearly) all of `values` can do with: 7 for numbers rounded to bfloat16,
    23 where float32 is needed, 52 where that is too little.
    """
    module = compiled_module()
    if module is not None:
        return module.mantissa_bits(np.ascontiguousarray(values, np.float64))
    used, narrow, ends_at = _grid_of(values)
    if used == 0:
        return 23
    if narrow < _ON_GRID * used:
        return _ALL_BITS
    rank, below = int((1 - _ON_GRID) * used), 0
    for place, count in enumerate(ends_at):  # the finest first
        below += count
        if below > rank:
            needed = 23 - place
            return next((bits for bits in _BITS if needed <= bits), 23)
    return 23


def _grid_of(values: Array) -> tuple[int, int, list[int]]:
    """How many are finite and not zero; how many of them float32 holds; and how many have their
    last bit at each place of its mantissa.
    """
    used = values[(values != 0) & np.isfinite(values)]
    with np.errstate(over="ignore"):
        narrow = used.astype(np.float32)
    raw = narrow.view(np.uint32) | np.uint32(1 << 23)
    last = raw & (~raw + np.uint32(1))  # each value's last bit that is set
    ends_at = np.bincount(np.log2(last[last < 1 << 24]).astype(np.int64), minlength=24)
    return used.size, int(np.count_nonzero(narrow == used)), ends_at.tolist()


def distinct(values: Array, bits: int = _ALL_BITS) -> int:
    """How many different magnitudes there are, rounded to so many bits of mantissa (to nearest;
    not at all where those are float32's).
    """
    bits = _ALL_BITS if bits >= _BITS[-1] else bits
    module = compiled_module()
    if module is not None and values.size <= _MOST:
        return module.distinct(np.ascontiguousarray(values, np.float64), bits)
    ordered = np.sort(_with_bits(np.abs(values), bits))
    return int(np.count_nonzero(ordered[1:] != ordered[:-1])) + 1 if values.size else 0


def rounded_to(values: Array, bits: int, instructions: str | None = None) -> Array | None:
    """Float32 or float64 rounded to so many stored bits of mantissa, to nearest, ties to even; None
    where there is no compiled module, or nothing to round.
    """
    module, size = compiled_module(), values.dtype.itemsize
    if module is None or values.dtype not in (np.float32, np.float64):
        return None
    if not 0 <= bits < (23 if size == 4 else _ALL_BITS):
        return None
    values = np.ascontiguousarray(values)
    found = np.empty_like(values)
    module.rounded(values, size, bits, found, instructions)
    return found


def _with_bits(values: Array, bits: int) -> Array:
    if bits == _ALL_BITS:
        return values
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.rint(np.ldexp(mantissa, bits + 1)), exponent - bits - 1)
