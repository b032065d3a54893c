"""A side's local error: what is left between a record and its law, in units of predicted rounding.

With r = recorded - predicted and s the standard deviation that rounding gives it, over a row, a
channel or a group of channels (a head):

    ratio = sqrt(sum r^2 / sum s^2)

which is about 1 for every row of a layer that rounds as predicted, whatever the sizes of its
numbers. The gain is the least-squares factor g of recorded = g x predicted, weighed by 1 / s^2.
|r| / |recorded| is for showing only: where large numbers cancel it may be anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ....capture.values import Array
from ..law import Case, Prediction
from ..limits import GAIN_ERRORS

_TINY = 1e-300
_FEW_ROWS = 8  # whose scatter alone is no measure of a standard error
_AT_ONCE = 1 << 14  # elements that are looked at in a cache
_DEPENDENT = 1e-6  # least eigenvalue of correlations from which terms can be told apart


@dataclass(frozen=True, slots=True)
class Peak:
    """The greatest ratio among rows, channels or groups, and where it is (a position in the
    sample's rows, a channel, a group).
    """

    ratio: float
    at: int


@dataclass(frozen=True, slots=True)
class Term:
    """The factor of one term of a sum, 1 where it is as predicted, and its standard error."""

    name: str
    factor: float
    error: float


@dataclass(frozen=True, slots=True)
class LocalError:
    """`ratio` is the median over rows, `relative` the median of |r| / |recorded| by row. `row`,
    `channel`, `group` are the greatest; `middle_channel` is the median over channels. `gain` is
    fitted over all rows, `gain_error` its standard error. `bad`: elements that are not finite where
    the prediction is. Without groups (heads) `group` is 0. `terms` are the factors of a sum's
    terms, fitted together. `shared`: how far off 1 rounding may make the gain (see `Prediction`),
    0 where the gain is not significant.
    """

    ratio: float
    relative: float
    total: float
    row: Peak
    channel: Peak
    group: Peak
    middle_channel: float
    gain: float
    gain_error: float
    offset: float  # standard errors of the mean of r / s over all elements
    rows: int
    bad: int = 0
    terms: tuple[Term, ...] = ()
    shared: float = 0.0


def local_error(case: Case, prediction: Prediction, groups: int = 1) -> LocalError:
    """The local error of a case. Elements that are not finite on both sides are left out and, where
    only the record has them, counted.
    """
    y, value, scale = case.output, prediction.value, prediction.spread
    r, scale = y - value, np.broadcast_to(scale, y.shape)
    bad, fine = 0, None
    if not np.isfinite(r.sum()):
        fine = np.isfinite(y) & np.isfinite(value)
        bad = int(np.count_nonzero(np.isfinite(value) & ~np.isfinite(y)))
        r, y, value, scale = (np.where(fine, part, 0.0) for part in (r, y, value, scale))
    least = max(float(scale.max(initial=0.0)) * 1e-6, _TINY**0.5)
    safe = bool(scale.min(initial=np.inf) >= least)
    found = _Sums(*y.shape)
    inverse = np.empty(y.shape) if prediction.terms else None
    for part in found.parts():
        over = 1.0 / (scale[part] if safe else np.maximum(scale[part], least))
        if fine is not None:
            over *= fine[part]
        found.add(part, y[part], value[part], r[part], scale[part], over)
        if inverse is not None:
            inverse[part] = over
    row = _ratios(found.rr, found.ss)
    channel = _ratios(found.rr_channel, found.ss_channel)
    by_group = _ratios(*(_grouped(s, groups) for s in (found.rr_channel, found.ss_channel)))
    total = float(_ratios(found.rr_channel.sum(), found.ss_channel.sum()))
    # Errors of one row are not independent: the standard error is taken from the rows' own gains,
    # and of few rows, which may agree by chance or are the same, not below that of independent
    # elements.
    gain, gain_error = _pooled(found.vr, found.vv)
    if abs(gain) > GAIN_ERRORS * gain_error and (few := _distinct(value)) < _FEW_ROWS:
        share = few / len(row)
        least = _least_error(gain, total, found.vv.sum() * share, y.size * share)
        gain_error = max(gain_error, least)
    shared = 0.0
    if prediction.shared is not None and abs(gain) > GAIN_ERRORS * gain_error:
        shared = prediction.shared()
    terms: tuple[Term, ...] = ()
    if inverse is not None:
        terms = tuple(_terms(prediction.terms, r * inverse, inverse))
    return LocalError(
        ratio=float(np.median(row)),
        relative=float(np.median(_relative(found.rr, found.yy))),
        total=total,
        row=_peak(row),
        channel=_peak(channel),
        group=_peak(by_group) if groups > 1 else Peak(0.0, 0),
        middle_channel=float(np.median(channel)),
        gain=1.0 + gain,
        gain_error=gain_error,
        offset=_significance(found.r_mean),
        rows=len(row),
        bad=bad,
        terms=terms,
        shared=shared,
    )


class _Sums:
    """Sums over rows and channels, added up by a few rows at a time: large tables cost most by the
    memory that they go through. `r`, `s`, `y`, `v` are the error, its predicted size, the record
    and the prediction; `vr`, `vv` and `r_mean` are in units of `s`.
    """

    def __init__(self, rows: int, width: int) -> None:
        self.rr, self.ss, self.yy = np.zeros(rows), np.zeros(rows), np.zeros(rows)
        self.vr, self.vv, self.r_mean = np.zeros(rows), np.zeros(rows), np.zeros(rows)
        self.rr_channel, self.ss_channel = np.zeros(width), np.zeros(width)
        self._step = max(1, _AT_ONCE // max(1, width))

    def parts(self) -> Iterator[slice]:
        for start in range(0, len(self.rr), self._step):
            yield slice(start, min(start + self._step, len(self.rr)))

    def add(self, part: slice, y: Array, v: Array, r: Array, s: Array, over: Array) -> None:
        """Some rows; `over` is 1 / s."""
        for squares, by_row, by_channel in (
            (np.square(r), self.rr, self.rr_channel), (np.square(s), self.ss, self.ss_channel),
        ):  # fmt: skip
            by_row[part] = squares.sum(1)
            for row in squares:
                by_channel += row
        self.yy[part] = np.einsum("rc,rc->r", y, y)
        r, v = r * over, v * over
        self.vr[part], self.vv[part] = np.einsum("rc,rc->r", v, r), np.einsum("rc,rc->r", v, v)
        self.r_mean[part] = r.mean(1)


def corrected(error: LocalError, free: float) -> LocalError:
    """A fit takes part of the error with it: with as many numbers as rows nothing is left to
    see.
    """
    left = 1.0 - free / max(1, error.rows)
    factor = math.inf if left <= 0.2 else left**-0.5
    return replace(error, ratio=error.ratio * factor, total=error.total * factor)


def total_ratio(case: Case, prediction: Prediction) -> float:
    """The ratio over all elements alone, for choosing between predictions."""
    r = case.output - prediction.value
    spread = np.broadcast_to(prediction.spread, r.shape)
    if not np.isfinite(r.sum()):
        fine = np.isfinite(r)
        r, spread = np.where(fine, r, 0.0), np.where(fine, spread, 0.0)
    return float(_ratios(np.square(r).sum(), np.square(spread).sum()))


def row_ratios(case: Case, prediction: Prediction) -> Array:
    """The ratio of every row of the sample."""
    r = np.square(np.nan_to_num(case.output - prediction.value, posinf=0.0, neginf=0.0))
    return _ratios(r.sum(1), np.square(np.broadcast_to(prediction.spread, r.shape)).sum(1))


def _ratios(rr: Array, ss: Array) -> Array:
    """sqrt(rr / ss); 0 where there is no error, even where none is predicted."""
    rr, ss = np.asarray(rr), np.asarray(ss)
    return np.where(rr > 0, np.sqrt(rr / np.maximum(ss, _TINY)), 0.0)


def _relative(rr: Array, yy: Array) -> Array:
    return np.where(rr > 0, np.sqrt(rr / np.maximum(yy, _TINY)), 0.0)


def _grouped(values: Array, groups: int) -> Array:
    """Sums over equal runs of channels; one sum where they cannot be parted so."""
    if groups < 2 or len(values) % groups:
        return values.sum(keepdims=True)
    return values.reshape(groups, -1).sum(1)


def _peak(ratios: Array) -> Peak:
    at = int(ratios.argmax()) if ratios.size else 0
    return Peak(float(ratios[at]) if ratios.size else 0.0, at)


def _pooled(xy: Array, xx: Array) -> tuple[float, float]:
    """A common slope over rows and its standard error, from how the rows' own slopes scatter."""
    total = float(xx.sum())
    if total <= _TINY:
        return 0.0, 0.0
    slope = float(xy.sum()) / total
    if len(xx) < 2:
        return slope, abs(slope)
    left = xy - slope * xx
    return slope, float(np.sqrt(np.square(left).sum() * len(xx) / (len(xx) - 1))) / total


def _distinct(value: Array) -> int:
    """How many different rows there are."""
    return len({row.tobytes() for row in value})


def _least_error(slope: float, ratio: float, squares: float, count: float) -> float:
    """The standard error of a slope if the errors of all `count` elements were independent; `ratio`
    is their size and `squares` the sum of those of the prediction, in units of the spread.
    """
    if squares <= _TINY:
        return 0.0
    left = max(ratio**2 - slope**2 * squares / max(1, count), 0.0)
    return math.sqrt(left / squares)


def _terms(terms: Mapping[str, Array], r: Array, inverse: Array) -> Iterator[Term]:
    """Factors of all terms by weighed least squares, with standard errors from how the rows
    scatter (errors within a row are not independent). `inverse` is 1 / s, `r` the error in units
    of s.
    """
    if not terms:
        return
    x = np.stack([term * inverse for term in terms.values()])  # [term, row, channel]
    if not np.isfinite(x).all():
        x = np.where(inverse > 0, x, 0.0)
    # Terms may differ in size by orders of magnitude: each is measured in units of its own.
    size = np.sqrt(np.einsum("irc,irc->i", x, x))
    if not (size > 0).all() or r.shape[0] <= len(size):
        return
    x /= size[:, None, None]
    flat = x.reshape(len(size), -1)
    normal = flat @ flat.T
    if np.linalg.eigvalsh(normal)[0] < _DEPENDENT:
        return
    found = np.linalg.solve(normal, flat @ r.reshape(-1))
    left = r - (found @ flat).reshape(r.shape)
    scores = np.einsum("irc,rc->ir", x, left)
    over = np.linalg.inv(normal)
    variance = over @ (scores @ scores.T) @ over * (r.shape[0] / (r.shape[0] - len(size)))
    errors = np.sqrt(np.maximum(np.diag(variance), 0.0))
    for name, factor, error, own in zip(terms, found, errors, size, strict=True):
        yield Term(name, 1.0 + float(factor / own), float(error / own))


def _significance(means: Array) -> float:
    """The mean of row means in its standard errors."""
    if len(means) < 3:
        return 0.0
    error = float(means.std(ddof=1)) / len(means) ** 0.5
    return abs(float(means.mean())) / max(error, _TINY) if means.any() else 0.0
