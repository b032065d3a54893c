"""A histogram of floating-point numbers by the first bits of their patterns.

The patterns of float32, mirrored for negative numbers, are ordered like the numbers; their upper
16 bits make 65,536 bins that are at most 1/128 of their value wide, whatever the range. Percentiles
and histograms over any range come out of it, without knowing the range beforehand.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from ...capture.values import Array

_BINS = 1 << 16
_HALF = 1 << 15
_LEAST = 2.0**-132  # two of the smallest steps between bins


class Sketch:
    """Counts of finite real numbers; float64 and whole numbers are rounded to float32 first."""

    def __init__(self) -> None:
        self.counts = np.zeros(_BINS, np.int64)

    def add(self, values: Array) -> None:
        """Take in finite numbers, 1-D."""
        if values.size == 0:
            return
        with np.errstate(over="ignore", under="ignore"):
            narrow = np.ascontiguousarray(values, np.float32)
        bits = narrow.view(np.uint32)
        found = np.bincount(bits >> np.uint32(16), minlength=_BINS)
        if (found[0] or found[_HALF]) and values.any():
            _take_out_of_zero(found, values[(bits & np.uint32(0x7FFF0000)) == 0])
        self.counts[_HALF:] += found[:_HALF]
        self.counts[:_HALF] += found[: _HALF - 1 : -1]  # mirrored

    def copy(self) -> Sketch:
        other = Sketch()
        other.counts = self.counts.copy()
        return other

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    def percentiles(
        self, shares: tuple[float, ...], spread: bool = True
    ) -> tuple[float | None, ...]:
        """For every percent the number that it falls on, counted from the smallest, within 1/128 of
        itself (2**-133 where that is more; numbers beyond float32's range are its greatest).

        `spread` takes the numbers of a bin to lie evenly in it; without it they are its first
        number, which is right for bfloat16 and narrower types.
        """
        total = self.total
        if total == 0:
            return tuple(None for _ in shares)
        ends = np.cumsum(self.counts)
        low, high = _edges()
        found: list[float | None] = []
        for share in shares:
            rank = share / 100 * (total - 1)
            at = int(np.searchsorted(ends, rank, side="right"))
            if spread:
                inside = (rank - (ends[at] - self.counts[at]) + 0.5) / self.counts[at]
                inside = min(1.0, inside)
                found.append(float(low[at] + (high[at] - low[at]) * inside))
            else:
                found.append(float(_centres()[at]))
        return tuple(found)

    def between(self, low: float, high: float, bins: int) -> Array:
        """Counts in `bins` equal parts of [low, high]; a number counts at its bin's middle."""
        centres = _centres()
        used = np.flatnonzero(self.counts)
        values = centres[used]
        keep = (values >= _below(low)) & (values <= _above(high))
        used, values = used[keep], values[keep]
        width = (high - low) or 1.0
        at = np.clip((values - low) / width * bins, 0, bins - 1).astype(np.int64)
        return np.bincount(at, weights=self.counts[used], minlength=bins).astype(np.int64)

    def by_exponent(self, low: int, high: int) -> tuple[Array, Array]:
        """Counts of positive and of negative numbers by binary exponent, 2**e <= |v| < 2**(e+1),
        e from `low` to `high`; smaller ones count at `low`, larger ones at `high`. Zeros are left
        out.
        """
        used = np.flatnonzero(self.counts)
        values = _centres()[used]
        used, values = used[values != 0], values[values != 0]
        _, exponents = np.frexp(np.abs(values))
        at = np.clip(exponents - 1, low, high) - low
        size = high - low + 1
        sides = (values > 0, values < 0)
        positive, negative = (
            np.bincount(at[side], weights=self.counts[used][side], minlength=size).astype(np.int64)
            for side in sides
        )
        return positive, negative

    @property
    def used(self) -> int:
        """Bins that hold numbers, those of zeros taken as one: how many different numbers of
        bfloat16 or a narrower type there are.
        """
        zeros = self.counts[_HALF - 1 : _HALF + 1]
        return int(np.count_nonzero(self.counts)) - int(zeros.all())

    @property
    def zeros(self) -> int:
        """Numbers that are zero; what is too small for a float32 is not."""
        return int(self.counts[_HALF] + self.counts[_HALF - 1])


def _take_out_of_zero(found: Array, values: Array) -> None:
    """Numbers with no more bits than a sign in a bin's pattern go to the smallest bin beside zero,
    so that they stay known as not zero, and with their signs.
    """
    for first, count in ((0, np.count_nonzero(values > 0)), (_HALF, np.count_nonzero(values < 0))):
        found[first] -= count
        found[first + 1] += count


def _below(value: float) -> float:
    return value - max(abs(value) / 64, _LEAST)


def _above(value: float) -> float:
    return value + max(abs(value) / 64, _LEAST)


@cache
def _edges() -> tuple[Array, Array]:
    """First and last + 1 value of every bin, as float64; zero for the two bins of zeros."""
    keys = np.arange(_BINS, dtype=np.int64) - _HALF
    low, high = _value(keys), _value(keys + 1)
    swapped = keys < 0  # mirrored bins rise towards zero
    start = np.where(swapped, -_value(-keys), low)
    end = np.where(swapped, -_value(-keys - 1), high)
    start[_HALF - 1 : _HALF + 1] = end[_HALF - 1 : _HALF + 1] = 0.0  # nothing else is kept there
    return start, end


def _value(keys: Array) -> Array:
    """The number whose pattern begins with these 16 bits (0 and above), as float64."""
    bits = (np.clip(keys, 0, 0x7F80).astype(np.uint32) << np.uint32(16)).view(np.float32)
    return np.where(np.isfinite(bits), bits, np.finfo(np.float32).max).astype(np.float64)


@cache
def _centres() -> Array:
    """The value that stands for each bin: its first one (exact for bf16 and for whole numbers up
    to 256), zero for the two bins around zero.
    """
    keys = np.arange(_BINS, dtype=np.int64) - _HALF
    return np.where(keys < 0, -_value(-keys - 1), _value(keys))
