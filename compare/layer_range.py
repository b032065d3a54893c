"""Comparing some of the layers only: `--layers 0:5`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..capture.errors import CaptureError
from .aligned import Aligned, Note
from .matching.names.canonical import ROOT, layer_number
from .matching.names.roles import precedes_layers
from .model import ExecutionOrder, Row

if TYPE_CHECKING:
    from ..capture.records import Record

_MOST = 1 << 20  # no model has so many layers


@dataclass(frozen=True, slots=True)
class LayerRange:
    """Layers `first` to `end` - 1, counted from 0; `end` is None where there is no end."""

    first: int
    end: int | None

    @staticmethod
    def parse(text: str) -> LayerRange:
        """`0:5`, `3:`, `:5`, or one layer as `4`. Raises `ValueError`."""
        first, colon, end = text.strip().partition(":")
        start = _number(first) if first or not colon else 0
        if not colon:
            return LayerRange(start, start + 1)
        found = LayerRange(start, _number(end) if end else None)
        if found.end is not None and found.end <= found.first:
            raise ValueError(f"{text!r} contains no layer")
        return found

    def __str__(self) -> str:
        return f"{self.first}:{'' if self.end is None else self.end}"

    def cut(self, aligned: Aligned) -> Aligned:
        """The rows of these layers and of what comes before all layers, and, where the range goes
        to the last layer, of what stands behind them; the records of the others are ignored.

        Raises `CaptureError` where neither capture has a layer in the range.
        """
        numbers = {n for row in aligned.rows if (n := layer_number(row.canonical)) is not None}
        if not any(self._holds(number) for number in numbers):
            known = f"they have layers {min(numbers)} to {max(numbers)}" if numbers else (
                "no layers with numbers were found"
            )  # fmt: skip
            raise CaptureError(f"--layers {self}: there is no such layer; {known}")
        to_the_end = self._holds(max(numbers))
        last = {
            row.step: row.index for row in aligned.rows if layer_number(row.canonical) is not None
        }
        kept = [row for row in aligned.rows if self._keeps(row, last, to_the_end)]
        return _with_rows(aligned, kept, self)

    def _holds(self, number: int) -> bool:
        return self.first <= number and (self.end is None or number < self.end)

    def _keeps(self, row: Row, last: dict[int, int], to_the_end: bool) -> bool:
        number = layer_number(row.canonical)
        if number is not None:
            return self._holds(number)
        before = row.index < last.get(row.step, -1) or precedes_layers(row.canonical)
        given = row.canonical == ROOT and row.role == "input"
        return to_the_end or before or given


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) > _MOST:
        raise ValueError(f"{text!r} is not the number of a layer")
    return int(text)


def _with_rows(aligned: Aligned, kept: list[Row], layers: LayerRange) -> Aligned:
    """The same captures with these rows only, counted anew."""
    rows = tuple(replace(row, index=index) for index, row in enumerate(kept))
    dropped: dict[str, tuple[Record, ...]] = {}
    for side in ("reference", "candidate"):
        stays = {id(getattr(row, side)) for row in rows}
        left_out = (getattr(row, side) for row in aligned.rows)
        dropped[side] = tuple(_once(r for r in left_out if r is not None and id(r) not in stays))
    names = {row.reference.name for row in rows if row.reference is not None}
    moved = tuple(each for each in aligned.order.reordered if each.reference in names)
    order = ExecutionOrder(aligned.order.same, aligned.order.reason, moved)
    count = sum(map(len, dropped.values()))
    note = Note("reference", f"--layers {layers}: {count} records of both captures are left out")
    return replace(
        aligned, rows=rows, order=order, notes=(*aligned.notes, note),
        ignored_reference=(*aligned.ignored_reference, *dropped["reference"]),
        ignored_candidate=(*aligned.ignored_candidate, *dropped["candidate"]),
    )  # fmt: skip


def _once(records: Iterable[Record]) -> Iterable[Record]:
    return {id(record): record for record in records}.values()
