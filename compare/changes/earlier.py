"""An earlier comparison, kept without its captures, and what has changed on each row since."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..measuring.metrics import METRICS
from ..measuring.pair_reader import CancelledError
from ..model import Measurement, Row
from ..reports.law_words import headline
from .changes import CHANGES, Change, Changes, RowChange, changes_of
from .saved_report import Key, SavedReport, SavedRow, label_of, next_free

if TYPE_CHECKING:
    from ..comparison import Comparison

_SOME = 256  # rows between two looks at whether to stop


@dataclass(frozen=True, slots=True)
class Earlier:
    """What stays of a comparison: its report, for each row the numbers that a badge can show (in
    the order of `METRICS`; empty where nothing was measured), and the policy in words.
    """

    report: SavedReport
    numbers: Mapping[Key, tuple[float | None, ...]]
    policy: str


@dataclass(frozen=True, slots=True)
class RowChanges:
    """What has changed since `earlier` on each of the `rows` of a later comparison. `doubts` says
    in a few words each what was not compared earlier, or could not be read.
    """

    earlier: Earlier
    changes: Changes
    rows: Sequence[Row]
    by_change: Mapping[Change, Sequence[int]]
    doubts: Sequence[str] = ()
    incomplete: bool = False  # whether the later candidate says that more is to come

    def at(self, row: int) -> RowChange:
        """What has changed on the row numbered `row`."""
        return self.changes.rows[row]

    def number(self, row: int, metric: str) -> float | None:
        """The earlier number of a row, in one of `METRICS`; None where there is none."""
        found = self.earlier.numbers.get(self.changes.rows[row].key, ())
        at = list(METRICS).index(metric)
        return found[at] if at < len(found) else None

    @property
    def vanished(self) -> int:
        """How many earlier rows have no row any more."""
        return len(self.changes.rows) - len(self.rows)


def earlier_of(
    comparison: Comparison, stopped: Callable[[], bool] = lambda: False
) -> Earlier:  # fmt: skip
    """What stays of a comparison that is measured. Raises `CancelledError` once `stopped()`."""
    names = list(METRICS)
    report = saved_of(comparison, stopped)
    numbers = {
        key: tuple(found.metric(name) for name in names)
        for key, found in zip(report.rows, comparison.measurements, strict=True)
        if isinstance(found, Measurement)
    }
    return Earlier(report, numbers, comparison.policy.describe())


def saved_of(
    comparison: Comparison, stopped: Callable[[], bool] = lambda: False
) -> SavedReport:  # fmt: skip
    """The same as of the JSON report of a comparison that is measured, without making one. Raises
    `CancelledError` once `stopped()`.
    """
    rows: dict[Key, SavedRow] = {}
    for row in comparison.rows:
        if row.index % _SOME == 0 and stopped():
            raise CancelledError
        record = row.reference or row.candidate
        assert record is not None
        key = (row.canonical, row.slot, record.step, record.call)
        verdict, found = comparison.verdicts[row.index], comparison.measurements[row.index]
        error = found.relative_l2 if isinstance(found, Measurement) else None
        if error is not None and not math.isfinite(error):
            error = math.inf
        rows[next_free(key, rows)] = SavedRow(
            label_of(key), verdict.level, verdict.reason, error,
            comparison.origin(row.index) == "made", row.kind == "pair",
        )  # fmt: skip
    first = comparison.first_divergence()
    return SavedReport(
        comparison.reference.path, comparison.candidate.path, comparison.outcome().status,
        "" if first is None else first.module, headline(comparison), rows,
    )  # fmt: skip


def changes_on_rows(earlier: Earlier, later: Earlier, comparison: Comparison) -> RowChanges:
    """What has changed since `earlier`; `later` is what stays of the comparison that is looked at.
    Everything that goes through all rows is worked out here, once.
    """
    found, rows = changes_of(earlier.report, later.report), comparison.rows
    assert found.counts and found.headline  # which are kept
    return RowChanges(
        earlier, found, rows, _by_change(found.rows, len(rows)), _doubts(found),
        comparison.candidate.complete is False,
    )  # fmt: skip


def _doubts(changes: Changes) -> list[str]:
    unreadable = sum(1 for row in changes.before.rows.values() if row.level == "unreadable")
    missing = sum(
        1 for row in changes.rows
        if row.after is not None and row.after.paired
        and (row.before is None or not row.before.paired)
    )  # fmt: skip
    said = [f"{unreadable} unreadable before"] if unreadable else []
    return said + ([f"{missing} not compared before"] if missing else [])


def _by_change(rows: Iterable[RowChange], count: int) -> dict[Change, list[int]]:
    found: dict[Change, list[int]] = {change: [] for change in CHANGES}
    for index, row in enumerate(rows):
        if index >= count:
            break
        found[row.change].append(index)
    return found
