"""Verdicts of pairs of which a side was captured without its values.

The limits are those of the coarser dtype, as for values: `ok`, `diverged` and `peak`. Where both
sides have our summary, its estimate of the relative L2 is held against them. Mean, deviation and
norm say how large the difference is at least; extremes may differ by as much as a single element
may. Only equal hashes say `identical`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from ..limits import PEAK_ROUNDINGS, Limits, limits_for
from ..measuring.pair_dtypes import coarser_dtype, printed_rounding, printed_share
from ..model import ByStatistics, Row, SideStatistics, Verdict
from ..vocabulary import Level

_ALL = ("min", "max", "mean", "std", "l2")
_ROUND_OFF = 1e-12  # of sums in float64, as a share: what equal values may differ by


def verdict_by_statistics(row: Row, result: ByStatistics) -> Verdict:
    """The verdict of a pair by its statistics."""
    level, words = _judged(row, result)
    return Verdict(level, f"by statistics: {words}", by_statistics=True)


def _judged(row: Row, result: ByStatistics) -> tuple[Level, str]:
    if result.identical:
        return "identical", "equal hashes"
    if result.nonfinite_apart:
        left, right = result.reference, result.candidate
        if not left.nan + left.inf + right.nan + right.inf:
            return "nan", "a statistic is NaN or Inf on one side only"
        return "nan", (
            f"NaN or Inf on one side only: reference {left.nan} NaN {left.inf} Inf, candidate "
            f"{right.nan} NaN {right.inf} Inf"
        )
    if result.count and result.reference.nan + result.reference.inf == result.count:
        return "nan", "nothing is finite on either side: nothing could be compared"
    dtype = coarser_dtype(row) or "float32"
    limits = limits_for(dtype)
    if limits is None:
        return _exact(result)
    return _by_limits(row, result, limits, dtype)


def _exact(result: ByStatistics) -> tuple[Level, str]:
    """Whole numbers are equal or not."""
    if result.same_hash is False:
        return "diverged", "the hashes of whole numbers differ"
    if result.relative_l2:
        return "diverged", f"whole numbers differ{_place(result)}"
    for name in (*_ALL, "zeros"):
        if name in result.compared:
            left, right = getattr(result.reference, name), getattr(result.candidate, name)
            if abs(left - right) > _ROUND_OFF * max(abs(left), abs(right)) and (
                name != "std" or result.population
            ):
                return "diverged", f"{name} of whole numbers is {left:g} against {right:g}"
    return "ok", _agreeing(result)


def _by_limits(
    row: Row, result: ByStatistics, limits: Limits, dtype: str
) -> tuple[Level, str]:  # fmt: skip
    worst, error = "", 0.0
    for name, apart in _errors(row, result):
        if apart > error:
            worst, error = name, apart
    place = _place(result) if worst == "sketch" else ""
    what = _WORDS.get(worst, f"{worst} differs by {{}} x the RMS").format(f"{error:.2g}")
    if error > limits.diverged:
        return "diverged", f"{what}, {limits.diverged:g} allowed for {dtype}{place}"
    for name in ("min", "max"):
        peak = _peak(row, result, name, limits)
        if peak > limits.peak:
            left, right = getattr(result.reference, name), getattr(result.candidate, name)
            return "diverged", (
                f"{name} {left:.6g} against {right:.6g}, {peak:.2g} x the reference's RMS apart, "
                f"{limits.peak:g} allowed for {dtype}"
            )
    if error > limits.ok:
        return "drift", f"{what}, above {limits.ok:g} for {dtype}{place}"
    return "ok", f"{what if worst else 'no difference'}; {_agreeing(result)}"


_WORDS = {
    "sketch": "relative L2 about {} by the recorded projections",
    "l2": "L2 norms differ by {} (relative)",
}


def _errors(row: Row, result: ByStatistics) -> Iterator[tuple[str, float]]:
    """What each statistic says about the relative difference: the estimate, or what it is at
    least, less what printed digits hide.
    """
    if result.relative_l2 is not None:
        yield "sketch", result.relative_l2
    left, right = result.reference, result.candidate
    rms, share, digits = result.reference_rms, printed_share(row), printed_rounding(row)
    for name in ("mean", "std", "l2"):
        if name not in result.compared:
            continue
        ours, theirs = _number(left, name), _number(right, name)
        apart = abs(ours - theirs) - 2 * share * max(abs(ours), abs(theirs)) - 2 * digits
        if name == "std" and not result.population and result.count > 1:
            # One of the two may be that of a sample.
            apart -= max(ours, theirs) * (math.sqrt(result.count / (result.count - 1)) - 1)
        if apart <= _ROUND_OFF * max(abs(ours), abs(theirs)):
            continue
        size = ours if name == "l2" else rms
        yield name, apart / size if size else math.inf


def _peak(row: Row, result: ByStatistics, name: str, limits: Limits) -> float:
    """How far an extreme is off, in units of the reference's RMS, less what rounding allows at it;
    where the RMS is not known, of the greatest extreme.
    """
    if name not in result.compared:
        return 0.0
    ours, theirs = _number(result.reference, name), _number(result.candidate, name)
    forgiven = (PEAK_ROUNDINGS * limits.epsilon + 2 * printed_share(row)) * abs(ours)
    apart = abs(ours - theirs) - forgiven - 2 * printed_rounding(row)
    if apart <= 0:
        return 0.0
    size = result.reference_rms or max(
        (abs(_number(result.reference, each)) for each in ("min", "max")
         if each in result.compared), default=0.0,
    )  # fmt: skip
    return apart / size if size else math.inf


def _number(side: SideStatistics, name: str) -> float:
    return float(getattr(side, name) or 0.0)


def _place(result: ByStatistics) -> str:
    return f"; {result.where}" if result.where else ""


def _agreeing(result: ByStatistics) -> str:
    """What agrees, and what nobody looked at."""
    names = [name for name in result.compared if name in _ALL]
    if result.relative_l2 is not None:
        names.append("projections")
        return f"{', '.join(names)} agree"
    return f"{', '.join(names) or 'counts'} agree; the order of elements is not seen"
