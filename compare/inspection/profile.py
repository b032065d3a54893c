"""How both sides and their difference are distributed: view 1 (Stats) and view 3 (Histogram).

Differences are y - x, reference x and candidate y. Percentiles are exact up to `EXACT` elements and
come from a sketch beyond (see `sketch`). The ladder counts, for one tolerance t after another, the
elements with |d| > t + t |x|, those included that are not finite alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ...capture.dtypes import DTYPES
from ...capture.values import Array
from ..measuring.moments import SideSums
from ..measuring.pair_reader import Block
from ..measuring.sums import dot
from ..measuring.ulp import distances
from ..recipes.errors import Shape
from .elements import Elements, elements, magnitude, side_values, sizes
from .sketch import Sketch
from .subject import Subject

EXACT = 1 << 22  # elements whose percentiles are sorted out exactly
PERCENTILES = (1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0)
LADDER = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
_MOST_UNIQUE = 10_000
LOWEST, HIGHEST = -160, 127  # binary exponents of the error-against-magnitude table

# The smallest normal number; float64 where the type is not named.
_SMALLEST_NORMAL = {
    "float16": 2.0**-14, "bfloat16": 2.0**-126, "float32": 2.0**-126, "complex64": 2.0**-126,
    "float64": 2.0**-1022, "complex128": 2.0**-1022, "float8_e4m3fn": 2.0**-6,
    "float8_e5m2": 2.0**-14, "float8_e4m3fnuz": 2.0**-7, "float8_e5m2fnuz": 2.0**-15,
    "float6_e2m3fn": 1.0, "float6_e3m2fn": 2.0**-2, "float4_e2m1fn": 1.0,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Distribution:
    """Statistics of one side, or of the difference, over its finite elements; complex numbers by
    their absolute values. A number is None where nothing finite is there.

    `unique` counts different values up to a cap (`unique_capped`). `denormals` is None where the
    type has none.
    """

    count: int
    finite: int
    min: float | None
    max: float | None
    mean: float | None
    std: float | None
    l1: float | None
    l2: float | None
    percentiles: tuple[float | None, ...]
    exact: bool
    zeros: int
    nan: int
    inf: int
    denormals: int | None
    unique: int
    unique_capped: bool
    sketch: Sketch = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class UlpShares:
    """Distances in units of the last place of `dtype`, over elements finite on both sides."""

    dtype: str
    max: float
    mean: float
    exact: float
    one: float  # share at a distance of at most 1
    four: float


@dataclass(frozen=True, slots=True)
class Profile:
    """All of it. `candidate`, `difference` and what compares are None for one side alone.

    `ladder` has (tolerance, mismatched elements); `magnitudes[i, j]` counts elements whose
    reference has the binary exponent LOWEST + i and whose difference LOWEST + j; index 0 takes
    zeros and what is smaller.
    """

    shape: Shape
    reference: Distribution | None
    candidate: Distribution | None
    difference: Distribution | None = None
    compared: int = 0
    equal: int = 0
    odd: int = 0  # not finite on both sides and not alike
    sign_disagreements: int | None = None
    ulp: UlpShares | None = None
    ladder: tuple[tuple[float, int], ...] = ()
    cosine: float | None = None
    max_abs: float | None = None
    magnitudes: Array | None = field(default=None, repr=False, compare=False)

    @property
    def sides(self) -> tuple[tuple[str, Distribution], ...]:
        """The distributions that there are, with their names."""
        named = (
            ("reference", self.reference), ("candidate", self.candidate),
            ("difference", self.difference),
        )  # fmt: skip
        known = tuple((name, found) for name, found in named if found is not None)
        return known if len(known) > 1 else tuple(("values", found) for _, found in known)


class _Values:
    """Gathers one distribution."""

    def __init__(self, dtype: str | None, count: int) -> None:
        self._tiny = _SMALLEST_NORMAL.get(dtype or "")
        self._narrow = dtype is not None and DTYPES[dtype].epsilon >= 2**-7
        self._sums = SideSums()
        self._l1 = 0.0
        self._count = 0
        self._denormals = 0
        self._sketch = Sketch()
        self._kept: list[Array] | None = [] if count <= EXACT else None
        self._unique: set[float] | None = None if self._narrow else set()

    def add(self, values: Array) -> None:
        """Take in numbers, 1-D, finite or not."""
        self._count += values.size
        fine = np.isfinite(values)
        if not fine.all():
            nan = int(np.count_nonzero(np.isnan(values)))
            self._sums.nan += nan
            self._sums.inf += int(values.size - np.count_nonzero(fine)) - nan
            values = values[fine]
        if values.size == 0:
            return
        values = magnitude(values)
        self._add_sums(values)
        self._sketch.add(values)
        if self._kept is not None:
            self._kept.append(values.copy())  # a block's memory is used again
        if self._unique is not None:
            self._unique.update(np.unique(values).tolist())
            if len(self._unique) > _MOST_UNIQUE:
                self._unique = None

    def _add_sums(self, values: Array) -> None:
        wide = values.astype(np.float64)
        low, high = float(wide.min()), float(wide.max())
        mean = low if low == high else float(wide.mean())
        zeros = int(values.size - np.count_nonzero(values))
        self._sums.zeros += zeros
        size = np.abs(wide)
        self._l1 += float(size.sum())
        if self._tiny is not None:
            self._denormals += int(np.count_nonzero(size < self._tiny)) - zeros
        wide -= mean
        self._sums.add(wide.size, low, high, mean, dot(wide, wide))

    def result(self, final: bool) -> Distribution:
        s = self._sums
        std, l2 = s.spread()
        percentiles, exact = self._percentiles(final)
        unique = self._count_unique()
        return Distribution(
            self._count, s.n, s.low if s.n else None, s.high if s.n else None,
            _known(s.mean) if s.n else None, std, _known(self._l1) if s.n else None, l2,
            percentiles, exact, s.zeros, s.nan, s.inf,
            self._denormals if self._tiny is not None else None, min(unique, _MOST_UNIQUE),
            unique > _MOST_UNIQUE, self._sketch.copy(),
        )  # fmt: skip

    def _count_unique(self) -> int:
        if self._narrow:
            return self._sketch.used
        return len(self._unique) if self._unique is not None else _MOST_UNIQUE + 1

    def _percentiles(self, final: bool) -> tuple[tuple[float | None, ...], bool]:
        if final and self._kept:
            together = np.concatenate(self._kept).astype(np.float64, copy=False)
            return tuple(float(v) for v in np.percentile(together, PERCENTILES)), True
        return self._sketch.percentiles(PERCENTILES, not self._narrow), False


def _known(value: float | None) -> float | None:
    """None for what left the range of float64."""
    return value if value is not None and math.isfinite(value) else None


class ProfileAnalysis:
    """Gathers a `Profile`; see `running.Analysis`."""

    def __init__(self, subject: Subject, shape: Shape) -> None:
        self._shape = shape
        self._left = math.prod(shape)
        count = self._left
        self._ref = _Values(subject.reference.effective_dtype, count) if subject.reference else None
        self._cand = (
            _Values(subject.candidate.effective_dtype, count) if subject.candidate else None
        )
        self._pair = _PairSums(subject, count) if subject.paired else None

    def add(self, block: Block) -> None:
        self._left -= math.prod(high - low for low, high in block.ranges)
        for side, values in (("reference", self._ref), ("candidate", self._cand)):
            found = side_values(block, side)
            if values is not None and found is not None:
                values.add(found)
        if self._pair is not None:
            self._pair.add(elements(block))

    def result(self) -> Profile:
        final = self._left <= 0
        ref = self._ref.result(final) if self._ref is not None else None
        cand = self._cand.result(final) if self._cand is not None else None
        if self._pair is None:
            return Profile(self._shape, ref, cand)
        return self._pair.result(self._shape, ref, cand, final)


class _PairSums:
    """What compares both sides."""

    def __init__(self, subject: Subject, count: int) -> None:
        dtype = subject.dtype
        kinds = {DTYPES[side.effective_dtype].kind for side in subject.sides}
        self._ulp_dtype = dtype if kinds == {"float"} else None
        self._signs = "complex" not in kinds and "bool" not in kinds
        self._difference = _Values(None, count)
        self._equal = self._odd = self._disagree = self._compared = 0
        self._mismatched = [0] * len(LADDER)
        self._xx = self._yy = self._xy = 0.0
        self._max_abs = -1.0
        self._ulp_sum = self._ulp_max = 0.0
        self._ulp_counts = [0, 0, 0]
        size = HIGHEST - LOWEST + 1
        self._magnitudes = np.zeros(size * size, np.int64)

    def add(self, e: Elements) -> None:
        self._odd += int(np.count_nonzero(e.odd))
        x, y, d = e.x, e.y, e.d
        if not e.finite.all():
            x, y, d = x[e.finite], y[e.finite], d[e.finite]
            self._equal += int(e.finite.size - x.size - np.count_nonzero(e.odd))
        if x.size == 0:
            return
        self._compared += x.size
        self._difference.add(d)
        size, reference = np.abs(d), sizes(x)
        self._equal += int(size.size - np.count_nonzero(size))
        self._max_abs = max(self._max_abs, float(size.max()))
        self._add_likeness(x, y)
        self._add_magnitudes(reference, size)
        self._climb(reference, size)
        if self._ulp_dtype is not None:
            self._add_ulps(distances(x, y, self._ulp_dtype))

    def _climb(self, reference: Array, size: Array) -> None:
        """Count what is outside of every tolerance. What is outside of one is outside of all
        smaller ones, rounding included, so that few elements are looked at more than once.
        """
        for at, limit in reversed(tuple(enumerate(LADDER))):
            outside = size > limit + limit * reference
            count = int(np.count_nonzero(outside))
            self._mismatched[at] += count
            if count == 0:
                return
            if count < size.size // 2:
                reference, size = reference[outside], size[outside]

    def _add_likeness(self, x: Array, y: Array) -> None:
        if self._signs:
            self._disagree += int(np.count_nonzero((x < 0) & (y > 0)))
            self._disagree += int(np.count_nonzero((x > 0) & (y < 0)))
        parts = _reals(x, y)
        self._xx += sum(dot(left, left) for left, _ in parts)
        self._yy += sum(dot(right, right) for _, right in parts)
        self._xy += sum(dot(left, right) for left, right in parts)

    def _add_magnitudes(self, reference: Array, size: Array) -> None:
        wide = HIGHEST - LOWEST + 1
        rows, columns = (_exponent(values) for values in (reference, size))
        self._magnitudes += np.bincount(rows * wide + columns, minlength=wide * wide)

    def _add_ulps(self, steps: Array) -> None:
        self._ulp_sum += float(steps.sum(dtype=np.float64))
        self._ulp_max = max(self._ulp_max, float(steps.max()))
        for at, limit in enumerate((0, 1, 4)):
            self._ulp_counts[at] += int(np.count_nonzero(steps <= limit))

    def result(
        self, shape: Shape, ref: Distribution | None, cand: Distribution | None, final: bool
    ) -> Profile:
        wide = HIGHEST - LOWEST + 1
        scale = math.sqrt(self._xx) * math.sqrt(self._yy)
        ladder = tuple((t, n + self._odd) for t, n in zip(LADDER, self._mismatched, strict=True))
        return Profile(
            shape, ref, cand, self._difference.result(final), self._compared, self._equal,
            self._odd, self._disagree if self._signs else None, self._ulps(),
            ladder, _known(self._xy / scale) if 0 < scale < math.inf else None,
            self._max_abs if self._compared else None,
            self._magnitudes.reshape(wide, wide).copy(),
        )  # fmt: skip

    def _ulps(self) -> UlpShares | None:
        n = self._compared
        if self._ulp_dtype is None or n == 0:
            return None
        shares = (count / n for count in self._ulp_counts)
        return UlpShares(self._ulp_dtype, self._ulp_max, self._ulp_sum / n, *shares)


def _exponent(values: Array) -> Array:
    """Row or column of the table of magnitudes: 0 for zeros and what is below its range."""
    found = np.ascontiguousarray(values, np.float64).view(np.int64) >> 52
    found -= 1023 + LOWEST  # the bias; no number is below zero here
    return np.clip(found, 0, HIGHEST - LOWEST, out=found)


def _reals(x: Array, y: Array) -> list[tuple[Array, Array]]:
    """Both sides in float64; complex numbers as their real and imaginary parts."""
    if x.dtype.kind != "c" and y.dtype.kind != "c":
        return [(x.astype(np.float64), y.astype(np.float64))]
    left, right = x.astype(np.complex128), y.astype(np.complex128)
    return [(left.real.copy(), right.real.copy()), (left.imag.copy(), right.imag.copy())]
