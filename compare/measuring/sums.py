"""All numbers of a pair in one pass over blocks.

What the numbers are is in `metrics`; x is the reference, y the candidate, d = y - x.

Blocks are float32 (float64 where an input is, or where squares would leave float32's range), the
sums over blocks float64. Sums of squares are kept about the block's own means and merged by the
formula of Chan, Golub and LeVeque (1979), so that a large mean does not eat the variance. cosine
and pearson come from |d| where they are near 1: <x, y> would have no digits left there. 64-bit
whole numbers are split into two float64, so that their differences are exact.
Complex numbers are measured as pairs of reals; what is counted are elements.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np

from ...capture.values import Array
from .fused import OnePass, one_pass
from .moments import Extreme, Moments, SideSums
from .ulp import greatest_distance

RELATIVE_FLOOR = 1e-8
_ROW = 8192  # float32 partial sums run over at most this many elements
_ONES = np.ones(_ROW, np.float32)
_SAFE_SMALL, _SAFE_LARGE = 1e-15, 1e15  # magnitudes whose squares and sums float32 can hold
_MEAN_DOMINATES = 50.0  # mean^2 over variance from which a block is centred before squaring
MOST_TOLERANCE = 1e20  # beyond the greatest difference; its products stay in float32's range
_COMPILED = frozenset({"float32", "float64"})  # types that hold their numbers as they are
_FAR_APART = 0.25  # |d|^2 over |x|^2 from which y gets sums of its own


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What counts as mismatched, and which optional passes to make."""

    rtol: float
    atol: float
    ulp_dtype: str = ""  # the coarser dtype; empty leaves `ulp` out


@dataclass(slots=True)
class Workspace:
    """Scratch arrays of one thread, used again for every block."""

    size: int
    d: Array = field(init=False)
    a: Array = field(init=False)
    b: Array = field(init=False)
    c: Array = field(init=False)
    mask: Array = field(init=False)

    def __post_init__(self) -> None:
        for name in ("d", "a", "b", "c"):
            setattr(self, name, np.empty(self.size, np.float32))
        self.mask = np.empty(self.size, np.bool_)


_LOCAL = threading.local()


def workspace(size: int) -> Workspace:
    """This thread's workspace, at least `size` elements."""
    found: Workspace | None = getattr(_LOCAL, "workspace", None)
    if found is None or found.size < size:
        found = _LOCAL.workspace = Workspace(size)
    return found


@dataclass(slots=True)
class Sums:
    """Everything gathered over the blocks of a pair.

    `reals` is 2 for complex numbers, whose blocks are given as pairs of reals: counts are of
    elements all the same.
    """

    tolerance: Tolerance
    reals: int = 1
    count: int = 0
    compared: int = 0
    equal: bool = True
    moments: Moments = field(default_factory=Moments)
    reference: SideSums = field(default_factory=SideSums)
    candidate: SideSums = field(default_factory=SideSums)
    sum_abs: float = 0.0
    max_abs: Extreme = field(default_factory=Extreme)
    max_rel: Extreme = field(default_factory=Extreme)
    max_ulp: float = 0.0
    mismatched: int = 0
    nonfinite_mismatch: int = 0

    def add(self, x: Array, y: Array, start: int) -> None:
        """Take in a block: 1-D arrays of numbers of equal length, `start` its flat position."""
        names = x.dtype.name, y.dtype.name
        if not (_COMPILED.issuperset(names) and self.add_raw(x, y, names, start)):
            self.add_by_numpy(x, y, start)

    def add_raw(self, x: Array, y: Array, dtypes: tuple[str, str], start: int) -> bool:
        """Take in a block of raw elements in one compiled pass; False, and nothing taken in, where
        they are a job for numpy (see `fused`).
        """
        if x.size == 0 or self.reals != 1 or self.tolerance.ulp_dtype:
            return False
        tolerances = self.tolerance.rtol, self.tolerance.atol
        found = one_pass(x, y, dtypes, tolerances, (self.max_abs.value, self.max_rel.value))
        if found is None:
            return False
        self.merge(found, start)
        return True

    def merge(self, found: OnePass, start: int) -> None:
        """Take in what one pass over the block at `start` gathered."""
        reference, candidate = SideSums(*found.reference), SideSums(*found.candidate)
        self.count += reference.n + reference.nan + reference.inf
        self.compared += found.moments[0]
        self.equal = self.equal and found.equal
        self.moments.add(Moments(*found.moments))
        self.reference.merge(reference)
        self.candidate.merge(candidate)
        self.sum_abs += found.sum_abs
        self.mismatched += found.mismatched
        self.nonfinite_mismatch += found.nonfinite_mismatch
        for known, (value, at, *values) in (
            (self.max_abs, found.max_abs), (self.max_rel, found.max_rel),
        ):  # fmt: skip
            if at >= 0:
                known.offer(value, start + at, *values)

    def add_by_numpy(self, x: Array, y: Array, start: int) -> None:
        """The same in numpy's arithmetic, which takes any numbers and is the reference."""
        if x.dtype.kind == "c" or y.dtype.kind == "c":
            raise TypeError("complex blocks are given as pairs of reals")
        if x.size == 0:
            return
        self.count += x.size // self.reals
        both32 = x.dtype == np.float32 and y.dtype == np.float32
        if not (both32 and _add_float32(self, x, y, start)):
            _add_float64(self, x, y, start)

    def elements(self, mask: Array) -> int:
        """Elements of which any part is True in a mask over reals."""
        if self.reals > 1:
            return int(np.count_nonzero(mask.reshape(-1, self.reals).any(axis=1)))
        return int(np.count_nonzero(mask))


def dot(x: Array, y: Array) -> float:
    """<x, y> of real 1-D arrays, with partial sums of `_ROW` elements in their own type, added in
    float64.

    Rows that short keep BLAS from starting threads of its own inside the workers.
    """
    whole = x.size - x.size % _ROW
    total = 0.0
    if whole:
        rows = np.vecdot(x[:whole].reshape(-1, _ROW), y[:whole].reshape(-1, _ROW))
        total = float(rows.sum(dtype=np.float64))
    if whole < x.size:
        total += float(np.vecdot(x[whole:], y[whole:]))
    return total


def _sum(x: Array) -> float:
    """The sum of a float32 block, as a product with ones: the fastest that numpy has."""
    whole = x.size - x.size % _ROW
    total = 0.0
    if whole:
        rows = np.vecdot(x[:whole].reshape(-1, _ROW), _ONES)
        total = float(rows.sum(dtype=np.float64))
    if whole < x.size:
        total += float(np.vecdot(x[whole:], _ONES[: x.size - whole]))
    return total


def _dot64(x: Array, y: Array) -> float:
    return float(np.einsum("i,i->", x, y))


def _add_float32(sums: Sums, x: Array, y: Array, start: int) -> bool:
    """The fast path; False (and nothing taken in) when the block needs float64."""
    n = x.size
    space = workspace(n)
    d, a, b, mask = space.d[:n], space.a[:n], space.b[:n], space.mask[:n]
    low_x, high_x = float(x.min()), float(x.max())
    low_y, high_y = float(y.min()), float(y.max())
    if not _safe(low_x, high_x) or not _safe(low_y, high_y):
        return False  # NaN, Inf, or squares that float32 cannot hold
    xx = dot(x, x)
    mean_x = _sum(x) / n
    if _mean_dominates(n, mean_x, xx):
        return False
    np.subtract(y, x, out=d)
    np.abs(d, out=a)
    worst = int(a.argmax())
    top = float(a[worst])
    if 0 < top < _SAFE_SMALL:
        return False
    xx = max(xx - n * mean_x * mean_x, 0.0)
    zeros = _zeros(sums, x, mask, low_x, high_x)
    if top == 0.0:
        block = Moments(n, mean_x, mean_x, 0.0, xx, xx, 0.0, xx, 0.0)
        _offer_zero(sums, x, y, start)
    else:
        found = _moments32(x, y, d, mean_x, xx)
        if found is None:
            return False
        block, sums.equal = found, False
        left, right = float(x[worst]), float(y[worst])
        sums.max_abs.offer(abs(right - left), start + worst, left, right)
        sums.sum_abs += _sum(a)
    sums.reference.add(n, low_x, high_x, mean_x, xx)
    sums.reference.zeros += zeros
    sums.candidate.add(n, low_y, high_y, block.mean_y, block.yy)
    sums.candidate.zeros += zeros if top == 0.0 else _zeros(sums, y, mask, low_y, high_y)
    sums.compared += n // sums.reals
    sums.moments.add(block)
    if top > 0.0:
        np.abs(x, out=b)
        _mismatches(sums, a, b, space.c[:n], mask, top)
        _relative(sums, a, b, x, y, start)
    return True


def _moments32(x: Array, y: Array, d: Array, mean_x: float, xx: float) -> Moments | None:
    """The moments of a block (`xx` about its mean); may overwrite `d`. None: needs float64."""
    n = x.size
    mean_d, dd, xd = _sum(d) / n, dot(d, d), dot(x, d)
    shift = 0.0
    if _mean_dominates(n, mean_d, dd):  # one side is offset: centre d before squaring it
        shift = float(np.float32(mean_d))
        np.subtract(d, np.float32(shift), out=d)
        mean_d, dd, xd = _sum(d) / n, dot(d, d), dot(x, d)
    dd, xd = max(dd - n * mean_d * mean_d, 0.0), xd - n * mean_x * mean_d
    mean_d += shift
    if dd <= _FAR_APART * xx:
        yy, xy = max(xx + 2 * xd + dd, 0.0), xx + xd
        return Moments(n, mean_x, mean_x + mean_d, mean_d, xx, yy, dd, xy, xd)
    mean_y, yy = _sum(y) / n, dot(y, y)
    if _mean_dominates(n, mean_y, yy):
        return None
    yy, xy = max(yy - n * mean_y * mean_y, 0.0), dot(x, y) - n * mean_x * mean_y
    return Moments(n, mean_x, mean_y, mean_d, xx, yy, dd, xy, xd)


def _mean_dominates(n: int, mean: float, squares: float) -> bool:
    """True when squares about zero keep too few digits of the variance."""
    return n * mean * mean * (1 + 1 / _MEAN_DOMINATES) > squares > 0


def _safe(low: float, high: float) -> bool:
    """True when a block with these extremes can be squared in float32 (False for NaN)."""
    if not (-_SAFE_LARGE < low <= high < _SAFE_LARGE):
        return False
    return low == high == 0.0 or max(-low, high) > _SAFE_SMALL


def _zeros(sums: Sums, x: Array, mask: Array, low: float, high: float) -> int:
    if low > 0 or high < 0:
        return 0
    np.not_equal(x, 0, out=mask)
    return x.size // sums.reals - sums.elements(mask)


def _offer_zero(sums: Sums, x: Array, y: Array, start: int) -> None:
    """A block without a difference still has a place for 'the greatest difference': its first."""
    sums.max_abs.offer(0.0, start, float(x[0]), float(y[0]))
    sums.max_rel.offer(0.0, start, float(x[0]), float(y[0]))


def _mismatches(sums: Sums, a: Array, b: Array, c: Array, mask: Array, top: float) -> None:
    rtol, atol = sums.tolerance.rtol, sums.tolerance.atol
    if top <= atol:
        return
    np.multiply(b, np.float32(min(rtol, MOST_TOLERANCE)), out=c)
    np.add(c, np.float32(min(atol, MOST_TOLERANCE)), out=c)
    np.less_equal(a, c, out=mask)  # not "greater": a tolerance that is NaN must not pass
    if sums.reals == 1:
        sums.mismatched += a.size - int(np.count_nonzero(mask))
    else:
        sums.mismatched += sums.elements(~mask)


def _relative(sums: Sums, a: Array, b: Array, x: Array, y: Array, start: int) -> None:
    """max_rel and ulp; overwrites `a` (|d|) and `b` (|x|)."""
    if sums.tolerance.ulp_dtype:
        sums.max_ulp = max(sums.max_ulp, greatest_distance(x, y, sums.tolerance.ulp_dtype))
    if float(b.min()) < RELATIVE_FLOOR:  # np.maximum is far slower than the rest: only at need
        np.maximum(b, np.asarray(RELATIVE_FLOOR, b.dtype), out=b)
    np.divide(a, b, out=a)
    at = int(a.argmax())
    left, right = float(x[at]), float(y[at])
    value = abs(right - left) / max(abs(left), RELATIVE_FLOOR)
    sums.max_rel.offer(value, start + at, left, right)


def _add_float64(sums: Sums, x: Array, y: Array, start: int) -> None:
    """Any real numbers, in float64, with NaN and Inf left out and counted."""
    with np.errstate(all="ignore"):  # what leaves float64's range is absent in the end
        xf, rest_x = split_exactly(x)
        yf, rest_y = split_exactly(y)
        alike = (xf == yf) & (rest_x == rest_y)
        fine_x, fine_y = np.isfinite(xf), np.isfinite(yf)
        _count_side(sums, sums.reference, xf, fine_x)
        _count_side(sums, sums.candidate, yf, fine_y)
        both = fine_x & fine_y
        alike |= np.isnan(xf) & np.isnan(yf)
        outside = ~both & ~alike
        sums.nonfinite_mismatch += sums.elements(outside)
        sums.compared += x.size // sums.reals - sums.elements(~both)
        sums.equal = sums.equal and bool(alike.all())
        where = np.flatnonzero(both)
        if where.size:
            d = (yf - xf) + (rest_y - rest_x)
            outside[where] = _outside(sums.tolerance, x, y, d, alike)[where]
            _add_finite(sums, xf[where], yf[where], d[where], start + where)
        sums.mismatched += sums.elements(outside)


def split_exactly(x: Array) -> tuple[Array, Array]:
    """`x` as float64 and what that leaves over: exact together, for 64-bit whole numbers too."""
    wide = x.astype(np.float64)
    if x.dtype.kind not in "iu" or x.dtype.itemsize < 8:
        return wide, np.zeros(1)
    high, low = x >> 32, x & 0xFFFFFFFF
    return wide, low.astype(np.float64) - (wide - high.astype(np.float64) * 2.0**32)


def _outside(tolerance: Tolerance, x: Array, y: Array, d: Array, alike: Array) -> Array:
    """Elements outside the tolerance: any difference for whole numbers, else in the arithmetic
    of the inputs' own type, so that no other element of a block decides on this one.
    """
    if x.dtype.kind in "iub" and y.dtype.kind in "iub":
        return ~alike
    kind = np.float32 if x.dtype == y.dtype == np.float32 else np.float64
    a = np.abs(y - x) if kind is np.float32 else np.abs(d)
    bound = kind(tolerance.rtol) * np.abs(x.astype(kind)) + kind(tolerance.atol)
    return ~(a <= bound)


def _add_finite(sums: Sums, x: Array, y: Array, d: Array, positions: Array) -> None:
    """Finite elements as float64, d their difference, at these flat positions."""
    sums.moments.add(_moments64(x, y, d))
    a, b = np.abs(d), np.abs(x)
    sums.sum_abs += float(a.sum())
    at = int(a.argmax())
    sums.max_abs.offer(float(a[at]), int(positions[at]), float(x[at]), float(y[at]))
    if sums.tolerance.ulp_dtype:
        sums.max_ulp = max(sums.max_ulp, greatest_distance(x, y, sums.tolerance.ulp_dtype))
    rel = a / np.maximum(b, RELATIVE_FLOOR)
    at = int(rel.argmax())
    sums.max_rel.offer(float(rel[at]), int(positions[at]), float(x[at]), float(y[at]))


def _moments64(x: Array, y: Array, d: Array) -> Moments:
    mean_x, mean_y, mean_d = _mean(x), _mean(y), _mean(d)
    cx, cy, cd = x - mean_x, y - mean_y, d - mean_d
    return Moments(
        x.size, mean_x, mean_y, mean_d,
        _dot64(cx, cx), _dot64(cy, cy), _dot64(cd, cd), _dot64(cx, cy), _dot64(cx, cd),
    )  # fmt: skip


def _mean(x: Array) -> float:
    """The mean; of equal elements exactly their value, so that they have no variance."""
    return float(x[0]) if float(x.min()) == float(x.max()) else float(x.mean())


def _count_side(sums: Sums, side: SideSums, x: Array, fine: Array) -> None:
    side.zeros += x.size // sums.reals - sums.elements(x != 0)
    if not fine.all():
        nan = sums.elements(np.isnan(x))
        side.nan += nan
        side.inf += sums.elements(~fine) - nan
        x = x[fine]
    if x.size:
        mean = _mean(x)
        centred = x - mean
        side.add(x.size, float(x.min()), float(x.max()), mean, _dot64(centred, centred))
