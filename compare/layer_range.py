"""Comparing some of the layers only: `--layers 0:5`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from ..capture.errors import CaptureError
from ..capture.layer_range import LayerRange
from .aligned import Aligned, Note
from .matching.names.canonical import ROOT, layer_number
from .matching.names.roles import precedes_layers
from .model import ExecutionOrder, Row

if TYPE_CHECKING:
    from ..capture.records import Record


def cut_layers(aligned: Aligned, layers: LayerRange) -> Aligned:
    """The rows of these layers and of what comes before all layers, and, where the range goes
    to the last layer, of what stands behind them; the records of the others are ignored.

    Raises `CaptureError` where neither capture has a layer in the range.
    """
    numbers = {n for row in aligned.rows if (n := layer_number(row.canonical)) is not None}
    if not any(number in layers for number in numbers):
        known = f"they have layers {min(numbers)} to {max(numbers)}" if numbers else (
            "no layers with numbers were found"
        )  # fmt: skip
        raise CaptureError(f"--layers {layers}: there is no such layer; {known}")
    to_the_end = max(numbers) in layers
    last = {row.step: row.index for row in aligned.rows if layer_number(row.canonical) is not None}
    kept = [row for row in aligned.rows if _keeps(row, layers, last, to_the_end)]
    return _with_rows(aligned, kept, layers)


def _keeps(row: Row, layers: LayerRange, last: dict[int, int], to_the_end: bool) -> bool:
    number = layer_number(row.canonical)
    if number is not None:
        return number in layers
    before = row.index < last.get(row.step, -1) or precedes_layers(row.canonical)
    given = row.canonical == ROOT and row.role == "input"
    return to_the_end or before or given


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
