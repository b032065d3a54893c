"""The sum of all elements, of records that are dumped in part: what is left out counts, too.

Errors of random signs, each a share `r` of a record's RMS, add up to `r sqrt(n)` times it.
"""

from __future__ import annotations

import math

from ...limits import TOTAL_ROUNDING, TOTAL_SPREADS, UNSEEN_SPREADS
from ...model import Measurement, Totals
from .form import Evidence

_UNIT = 2.0**-24  # of float32, in which such sums are made
_PRINTED = 1e-6  # the last decimal of a printed sum


def apart(result: Measurement, share: float) -> Evidence | None:
    """What shows that elements differ which are not compared: the two sums differ by more than
    errors of `share` (relative L2) make.
    """
    totals, partial = result.totals, result.partial
    if totals is None or partial is None:
        return None
    if not (math.isfinite(totals.reference) and math.isfinite(totals.candidate)):
        same = str(totals.reference) == str(totals.candidate)
        return None if same else Evidence(100.0, _words(totals, partial))
    limit = _limit(result, totals, partial[1], share)
    difference = abs(totals.candidate - totals.reference)
    return Evidence(difference / limit, _words(totals, partial)) if difference > limit else None


def _limit(result: Measurement, totals: Totals, count: int, share: float) -> float:
    greatest = max(abs(totals.reference), abs(totals.candidate))
    shown = result.reference.l2 if result.reference is not None else None
    size = (shown or 0.0) / math.sqrt(max(1, result.compared))
    size = max(size if totals.size is None else totals.size, greatest / count)
    spreads = UNSEEN_SPREADS if totals.size is None else TOTAL_SPREADS
    # Sums of many like terms lose more: all roundings may go one way.
    rounding = _UNIT * greatest * max(TOTAL_ROUNDING * math.sqrt(count), count / 8)
    return spreads * share * size * math.sqrt(count) + rounding + _PRINTED


def _words(totals: Totals, partial: tuple[int, int]) -> str:
    shown, count = partial
    return (
        f"the sum of all {count} elements is {totals.candidate:.6g} where the reference has "
        f"{totals.reference:.6g}: some of the {count - shown} that are not shown differ"
    )
