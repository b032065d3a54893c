"""Where cursor and marks were before rows are made anew, as records and not as numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .row_model import ComparedRows, NameRows, RowKey, record_key, row_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ...capture.records import Record
    from ...compare.model import Row
    from .row_model import RowModel


@dataclass(frozen=True)
class KeptPlace:
    """What to find again among other rows, and the numbers that it had among the old ones; None
    where the cursor was on nothing.
    """

    row: tuple[RowKey, int] | None = None
    marks: tuple[tuple[RowKey, int], ...] = ()

    def find(self, rows: Sequence[Row]) -> tuple[int | None, set[int]]:
        """The row of the cursor, if it is still there, and the rows that were marked."""
        row = None if self.row is None else find_row(rows, *self.row)
        marks = (find_row(rows, *mark) for mark in self.marks)
        return row, {mark for mark in marks if mark is not None}


def kept_place(
    model: RowModel | None, row: int | None, cursor: int, marks: Iterable[int]
) -> KeptPlace:
    """The place on `row`. Among names that are not aligned the first line is no place: nobody went
    there.
    """
    if isinstance(model, ComparedRows):
        rows = model.comparison.rows
        here = (row_key(rows[row]), row) if row is not None else None
        return KeptPlace(here, tuple((row_key(rows[mark]), mark) for mark in sorted(marks)))
    if isinstance(model, NameRows) and row is not None and cursor > 0:
        return KeptPlace((model.key(row), row))
    return KeptPlace()


def find_row(rows: Sequence[Row], key: RowKey, near: int = 0) -> int | None:
    """The row of `key` among `rows`; when its halves have parted, the row of either. Where the row
    numbered `near` is it, which most often had that number before, no other one is looked at.
    """
    reference, candidate, canonical = key
    most = 4 * (reference is not None) + 2 * (candidate is not None) + (canonical != "")
    if near < len(rows) and _score(rows[near], key) >= most:
        return near
    best: tuple[int, int] | None = None
    for index, row in enumerate(rows):
        score = _score(row, key)
        if score and (best is None or score > best[0]):
            best = (score, index)
            if score >= most:
                break
    return None if best is None else best[1]


def _score(row: Row, key: RowKey) -> int:
    """How much of a key a row has; 0 where neither record is its."""
    reference, candidate, canonical = key
    score = 4 * _is(row.reference, reference) + 2 * _is(row.candidate, candidate)
    return score + 1 if score and row.canonical == canonical else score


def _is(record: Record | None, key: tuple[object, ...] | None) -> bool:
    """Whether a record has a key: of most the module alone tells."""
    if record is None or key is None or record.module != key[2]:
        return False
    return record_key(record) == key
