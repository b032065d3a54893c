"""Ranks that should be there, and are not: what is said of them."""

from __future__ import annotations

from collections.abc import Sequence

from ..plurals import counted, which
from ..records import Capture, Record

_MOST_RECORDS = 16  # that stand for missing ranks
NO_PARTS = "no parts are joined"
_NOT_ALL = "what the others have are not all parts"
NO_LAYERS = "no other rank has their layers"
NO_EXPERTS = "no other rank has their experts"


def say_missing(
    capture: Capture, ranks: Sequence[str], there: Sequence[str], why: str, shown: str = ""
) -> None:
    """A note, and a record that cannot be read for each of these ranks of which nothing is `there`.
    `why` says what follows, `shown` what shows that they are missing where numbers do not.
    """
    capture.notes.append(_words(ranks, why, shown))
    capture.missing_ranks = "; ".join(filter(None, (capture.missing_ranks, capture.notes[-1])))
    absent = [rank for rank in ranks if rank not in there]
    for rank in absent[:_MOST_RECORDS]:
        error = f"this rank is missing: {_NOT_ALL if why == NO_PARTS else why}"
        capture.records.append(
            Record(rank, rank, error=error, path=capture.path, format=capture.records[0].format)
        )


def _words(ranks: Sequence[str], why: str, shown: str) -> str:
    some = ", ".join(ranks[:3]) + (", ..." if len(ranks) > 3 else "")
    are = which(len(ranks), "is", "are")
    more = f"; {shown}" if shown else ""
    return f"{counted(len(ranks), 'rank')} {are} missing ({some}): {why}{more}"
