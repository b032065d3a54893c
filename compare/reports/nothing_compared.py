"""That nothing of two captures could be compared, and why: no agreement, and no divergence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..model import Failure, Measurement

if TYPE_CHECKING:
    from ...capture.records import Record
    from ..comparison import Comparison

NOTHING = "nothing could be compared"
NO_PARTNER = "nothing in common: no record has a partner"
_APART = "the two dumps show no element in common"
_EMPTY = "the paired records have no elements"


@dataclass(frozen=True, slots=True)
class NothingCompared:
    """`reasons` say why; the first is for a headline."""

    reasons: tuple[str, ...]

    @property
    def line(self) -> str:
        """`nothing could be compared: no record of the candidate can be read`."""
        return f"{NOTHING}: {self.reasons[0]}"


def nothing_compared(comparison: Comparison) -> NothingCompared | None:
    """Why not a single element was compared; None where one was, where a pair's shapes do not fit
    (which is a finding), and as long as a pair is not measured.
    """
    apart = False
    paired = False
    for row, result in zip(comparison.rows, comparison.measurements, strict=True):
        if row.kind != "pair":
            continue
        paired = True
        if isinstance(result, Measurement):
            if result.count:
                return None
        elif result is None and comparison.measurable(row.index):
            return None
        else:
            level = comparison.verdicts[row.index].level
            if level not in ("unreadable", "missing"):
                return None
            apart = apart or level == "missing"
    reasons = [*_unreadable(comparison)]
    if apart:
        reasons.append(_APART)
    if not paired and not reasons:
        reasons.append(NO_PARTNER)
    elif not paired:
        reasons.append("no record has a partner")
    return NothingCompared(tuple(reasons or (_EMPTY,)))


def _unreadable(comparison: Comparison) -> list[str]:
    """What cannot be read, a line a side, with the first reason."""
    lines = []
    for side in ("reference", "candidate"):
        records: Sequence[Record] = getattr(comparison, side).records
        problems: dict[int, str] = {id(r): r.error for r in records if r.error is not None}
        for row, result in zip(comparison.rows, comparison.measurements, strict=True):
            record: Record | None = getattr(row, side)
            if record is not None and isinstance(result, Failure) and result.side == side:
                problems.setdefault(id(record), result.reason)
            elif record is not None and row.kind == "pair" and record.locator is None:
                problems.setdefault(id(record), "it has no values")
        if problems:
            count, total = len(problems), len(records)
            some = f"{count} of {total} records" if count < total else f"all {total} records"
            if total == 1:
                some = "the only record"
            lines.append(f"{some} of the {side} cannot be read: {next(iter(problems.values()))}")
    return lines
