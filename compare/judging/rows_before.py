"""What stands before a record of which no source was compared by values."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from ...capture.plurals import WAS, counted, which
from ..matching.names.roles import is_parameter
from ..model import ByStatistics, Failure, Measurement, Result, Row
from .statistics_verdicts import verdict_by_statistics


@dataclass(frozen=True, slots=True)
class RowsBefore:
    """How many rows there are before a record, parameters left out: `by_statistics` of them were
    compared by these alone, with `diverged` divergences; `uncompared` have no partner or could not
    be compared.
    """

    total: int = 0
    by_statistics: int = 0
    diverged: int = 0
    uncompared: int = 0

    def after(self, row: Row, result: Result) -> RowsBefore:
        """What stands before the record that follows on `row`."""
        if row.role == "value" and is_parameter(row.canonical):
            return self
        total = self.total + 1
        if isinstance(result, ByStatistics):
            diverged = self.diverged + verdict_by_statistics(row, result).fails
            known = self.by_statistics + 1
            return replace(self, total=total, by_statistics=known, diverged=diverged)
        if isinstance(result, Measurement):
            return replace(self, total=total)
        return replace(self, total=total, uncompared=self.uncompared + 1)

    @property
    def words(self) -> str:
        """Why nothing is said of what the record was made from."""
        if not self.total:
            return "nothing recorded precedes it"
        if self.by_statistics:
            compared = which(self.by_statistics, "its", "their")
            found = counted(self.diverged, "divergence") if self.diverged else "a divergence"
            return (
                f"{self._rows(self.by_statistics, WAS)} compared by {compared} statistics, "
                f"{'with' if self.diverged else 'without'} {found}"
            )
        if self.uncompared:
            return f"{self._rows(self.uncompared)} could not be compared"
        return "what it was made from is not recorded"

    def _rows(self, count: int, verbs: tuple[str, str] = ("", "")) -> str:
        rows = f"{count} of the {self.total} rows before it"
        if count == self.total:
            rows = "the row before it" if count == 1 else f"the {count} rows before it"
        return f"{rows} {which(count, *verbs)}".rstrip()


NOTHING_BEFORE = RowsBefore()


def rows_before(
    rows: Sequence[Row], results: Sequence[Result], wanted: Collection[int]
) -> dict[int, RowsBefore]:
    """What stands before each of the `wanted` rows."""
    found: dict[int, RowsBefore] = {}
    before = NOTHING_BEFORE
    for row in rows[: max(wanted, default=-1) + 1]:
        if row.index in wanted:
            found[row.index] = before
        before = before.after(row, results[row.index])
    return found


def inputs_without_values(
    rows: Sequence[Row], results: Sequence[Result]
) -> dict[tuple[int, str], str]:
    """How inputs were compared that were not by values, in words, by step and module."""
    found: dict[tuple[int, str], str] = {}
    for row in rows:
        result = results[row.index]
        if isinstance(result, (ByStatistics, Failure)) and row.role == "input":
            compared = isinstance(result, ByStatistics)
            words = "were compared by their statistics" if compared else "could not be compared"
            found[row.step, row.canonical] = words
    return found
