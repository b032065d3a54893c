"""Whether what looks the same on several ranks is the same, in every element."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...capture.errors import RecordError
from ...capture.ranks.groups import Group, rows_that_differ
from ...capture.records import Capture
from .finding import Finding
from .samples import Budget, same_bits

_ADVICE = "one rank computes something else; its record is compared with nothing"


@dataclass(frozen=True, slots=True)
class Unlike:
    """A record of one rank that is not what the rank that stands for all has."""

    name: str
    words: str


def check_copies(
    capture: Capture, budget: Budget, cancelled: Callable[[], bool] | None
) -> list[Finding]:
    """Records of ranks that were taken for the same by pieces of them, and are not; reads them in
    full, as far as the budget goes. Those that differ by rounding alone are none.
    """
    known = capture.of_ranks
    found: list[Unlike] = []
    for shown, copy in known.copies if known is not None else ():
        if cancelled is not None and cancelled():
            break
        one, other = shown.locator, copy.locator
        if one is None or other is None or not Group((shown, copy)).same:
            continue
        if not budget.take(one, 2):
            continue
        try:
            if same_bits(one, other):
                continue
        except (RecordError, OSError):
            continue
        rows = rows_that_differ(Group((shown, copy)), 1, 0)
        where = "" if rows is None else f" in {rows[1]} of its rows, from row {rows[0]} on"
        found.append(Unlike(shown.name, f"{copy.rank} differs from {shown.rank}{where}"))
    if not found:
        return []
    names = tuple(dict.fromkeys(one.name for one in found))
    count = "1 record" if len(names) == 1 else f"{len(names)} records"
    first = "" if len(names) == 1 else "in the first "
    what = f"{count} of several ranks not the same in all elements: {first}{found[0].words}"
    return [Finding("warning", "ranks", what, _ADVICE, records=names)]
