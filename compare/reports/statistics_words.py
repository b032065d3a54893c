"""A pair that is compared by statistics, in numbers for a screen: each statistic of both sides, and
how far these are apart.
"""

from __future__ import annotations

import math

from ..model import ByStatistics, SideStatistics
from .words import number, value_text

_EXTREMES, _OF_ALL = ("min", "max"), ("mean", "std", "l2")
_NUMBERS = (*_EXTREMES, *_OF_ALL)
_COUNTS = {"nan": "NaN", "inf": "Inf", "zeros": "zeros"}
HEADING = "stats"  # of a column of `statistics_apart`


def statistics_apart(result: ByStatistics) -> float | None:
    """How far the sides are apart, relative: the estimate of the relative L2 where there is one,
    else the greatest difference of mean, deviation or norm, over the reference's RMS (of the norm
    over the norm), else that of the extremes. None where the two have no such number in common.
    """
    if result.identical:
        return 0.0
    if result.relative_l2 is not None:
        return result.relative_l2
    for names in (_OF_ALL, _EXTREMES):
        shares = [_share(result, name) for name in names if name in result.compared]
        if shares:
            return max(shares)
    return None


def _share(result: ByStatistics, name: str) -> float:
    ours, theirs = _value(result.reference, name), _value(result.candidate, name)
    size = abs(ours) if name == "l2" else result.reference_rms
    size = size or max((abs(_value(result.reference, each)) for each in _NUMBERS), default=0.0)
    apart = abs(theirs - ours)
    return 0.0 if apart == 0 else apart / size if size else math.inf


def _value(side: SideStatistics, name: str) -> float:
    return float(getattr(side, name) or 0.0)


def difference_table(result: ByStatistics) -> list[tuple[str, ...]]:
    """The statistics that both sides have, with the difference and what share of the reference's
    RMS that is; the first row is the heading.
    """
    rows: list[tuple[str, ...]] = [("", "reference", "candidate", "difference", "relative")]
    for name in _NUMBERS:
        if name in result.compared:
            left, right = getattr(result.reference, name), getattr(result.candidate, name)
            apart, share = right - left, _share(result, name)
            label = "L2" if name == "l2" else name
            texts = (value_text(left), value_text(right), number(apart), number(share))
            rows.append((label, *texts))
    for name, label in _COUNTS.items():
        if name in result.compared:
            left, right = getattr(result.reference, name), getattr(result.candidate, name)
            rows.append((label, str(left), str(right), str(right - left), ""))
    if result.same_hash is not None:
        rows.append(("hash", "", "", "equal" if result.same_hash else "differs", ""))
    if result.relative_l2 is not None:
        rows.append(("projections", "", "", "", number(result.relative_l2)))
    return rows
