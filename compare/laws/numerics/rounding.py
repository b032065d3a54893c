"""The error that rounding makes, from the grid that values lie on.

`unit` is always the unit roundoff: half the spacing at 1.0 (2^-8 for bfloat16, 2^-24 for float32).
A value rounded to nearest has an error that is uniform in half a spacing either way, and the
spacing is between one and two units of the value, so that the standard deviation is 0.75 u |value|
/ sqrt(3) on average over a binade.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from ....capture.dtypes import DTYPES
from ....capture.values import Array
from ...measuring.mantissa import mantissa_bits, rounded_to

ROUNDED = 0.75 / 3**0.5  # standard deviation of a rounded value's error, in units of it
_NORMAL, _APART = 1_000_003, 7919  # primes, so that no two calls take the same numbers
# A rounded product hides what its factor is: f a rounds to g a, for every a, where f is within half
# a unit roundoff of a power of two g. The standard deviation of an f that is uniform in that:
HIDDEN = 0.5 / 3**0.5  # in units roundoff of the factor
_FEWEST_BITS = 7  # of a grid that is told from values: bfloat16's
_LOOK = 1 << 14  # elements that the grid is told from
_COARSE = 2.0**-12  # from this unit on, float32 is fine enough to draw errors in
_AT_ONCE = 1 << 14  # elements that are worked on in a cache


def unit_of(values: Array, dtype: str) -> float:
    """The unit roundoff of the grid that `values` lie on: the dtype's, or a coarser one where
    (nearly) all of them have fewer bits, as bfloat16 values that were saved as float32 do.
    """
    known = DTYPES.get(dtype)
    unit = known.epsilon / 2 if known is not None and known.epsilon > 0 else 2.0**-24
    if unit >= 2.0 ** -(_FEWEST_BITS + 1):
        return unit
    flat = values.reshape(-1)
    step = max(1, flat.size // _LOOK)
    some = flat[::step]
    if np.count_nonzero(some) < 64:
        return unit
    bits = mantissa_bits(some)
    return max(unit, 2.0 ** -(bits + 1)) if bits >= _FEWEST_BITS else unit


def on_grid(values: Array, unit: float) -> Array:
    """Values rounded to nearest on the grid with this unit roundoff (exponents unbounded)."""
    if unit <= 2.0**-53:
        return values
    fraction, power = math.frexp(unit)
    found = rounded_to(values, -power) if fraction == 0.5 else None
    if found is not None:
        return found
    mantissa, exponent = np.frexp(values)  # in [0.5, 1), where the grid's spacing is the unit
    return np.ldexp(np.rint(mantissa / unit) * unit, exponent)


def rounded_away(values: Array, unit: float) -> Array:
    """As `on_grid`, with halves away from zero (`cvt.rna.tf32` of CUDA)."""
    mantissa, exponent = np.frexp(values)
    away = np.copysign(np.floor(np.abs(mantissa) / unit + 0.5), mantissa)
    return np.ldexp(away * unit, exponent)


def truncated(values: Array, unit: float) -> Array:
    """Values rounded towards zero on the grid with this unit roundoff."""
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.trunc(mantissa / unit) * unit, exponent)


def worked_on(values: Array, *units: float) -> Array:
    """For drawing errors of these units: in float32 where that is far finer than the units."""
    return values.astype(np.float32) if min(units) >= _COARSE else values


class Jitter:
    """Moves values as rounding would: by independent errors of the standard deviation that rounding
    to a unit has. With unit 0 nothing moves.
    """

    def __init__(self, seed: int | None, scale: float = 1.0) -> None:
        self._at = None if seed is None else seed * _APART
        self._scale = scale

    @property
    def still(self) -> bool:
        return self._at is None

    def __call__(self, values: Array, unit: float) -> Array:
        if self._at is None or unit == 0.0:
            return values
        normal = _normal()
        start = self._at % len(normal)
        self._at += values.size + _APART
        moved = normal[start : start + values.size]
        if len(moved) < values.size:
            moved = np.resize(np.concatenate([moved, normal]), values.size)
        # One plus so little would be rounded itself, in the float32 of the random numbers.
        return values + values * ((ROUNDED * unit * self._scale) * moved.reshape(values.shape))


@cache
def _normal() -> Array:
    """Normally distributed numbers that all jitter takes its own from: making them anew costs more
    than most laws do.
    """
    return np.random.default_rng(0).standard_normal(_NORMAL, np.float32)


STILL = Jitter(None)


def spread_of(value: Array, moved: list[Array], unit: float) -> Array:
    """Standard deviations `[rows, channels]` from evaluations with jittered inputs, smoothed to a
    row's times a channel's (two draws say little of one element), and the output's own rounding.
    """
    by_row, by_channel = np.zeros(len(value)), np.zeros(value.shape[1])
    step = max(1, _AT_ONCE // max(1, value.shape[1]))
    for start in range(0, len(value), step):
        part = slice(start, start + step)
        squares = np.square(value[part])
        squares *= (ROUNDED * unit) ** 2
        for other in moved:
            apart = other[part] - value[part]
            np.square(apart, out=apart)
            apart /= len(moved)
            squares += apart
        by_row[part] = squares.sum(1)
        by_channel += squares.sum(0)
    total = float(by_row.sum())
    if total <= 0:
        return np.zeros_like(value)
    by_row /= total
    return np.sqrt(by_row)[:, None] * np.sqrt(by_channel)
