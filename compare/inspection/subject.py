"""What is looked at: both sides of a pair, or one record alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...capture.records import Record
from ..aligned import side_task
from ..measuring.pair_reader import SideTask, coarser
from ..model import Row

if TYPE_CHECKING:
    from ..comparison import Comparison


class NothingToInspectError(Exception):
    """A record without values that could be looked at; one line for the user."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Both sides with their recipes; None for a side that is not there."""

    reference: SideTask | None
    candidate: SideTask | None

    @property
    def paired(self) -> bool:
        return self.reference is not None and self.candidate is not None

    @property
    def sides(self) -> tuple[SideTask, ...]:
        return tuple(side for side in (self.reference, self.candidate) if side is not None)

    @property
    def dtype(self) -> str:
        """The coarser dtype of the sides, casts included."""
        names = [side.effective_dtype for side in self.sides]
        return names[0] if len(names) == 1 else coarser(*names)


def subject_of(comparison: Comparison, index: int) -> Subject:
    """The records of a row. Raises `NothingToInspectError` when none of them has values."""
    return subject_of_row(comparison, comparison.rows[index])


def subject_of_row(comparison: Comparison, row: Row) -> Subject:
    """The same for a row that need not be one of the comparison's: a recipe on trial."""
    if row.kind == "pair" and row.problem_level == "unreadable":
        raise NothingToInspectError(row.problem or "a record of this pair cannot be read")
    return Subject(
        _side(row.reference, row.recipe_reference, comparison.reference.records),
        _side(row.candidate, row.recipe_candidate, comparison.candidate.records),
    )


def subject_of_record(record: Record, recipe: str, records: list[Record]) -> Subject:
    """A record of a capture that is looked at alone."""
    return Subject(_side(record, recipe, records), None)


def _side(record: Record | None, recipe: str, records: list[Record]) -> SideTask | None:
    if record is None:
        return None
    if record.locator is None or record.dtype is None:
        why = record.error or "captured as statistics only: there are no values"
        raise NothingToInspectError(f"{record.path or record.name}: {why}")
    return side_task(record, recipe, records)
