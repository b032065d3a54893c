"""Records that are a part of the other side's: columns of joined projections, the last tokens."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import prod

import numpy as np

from ....capture.values import Array
from ...measuring.bounded_sample import UNREADABLE
from ...measuring.pair_reader import CancelledError
from ...recipes.recipe import Recipe
from ...recipes.steps import Slice
from ..call_match import shapes_view
from ..named_records import behind_layers
from ..names.canonical import has_usual_place
from .equal import MARGIN, distance, distance_through, limit_of
from .layouts import Both, bare, in_one_order
from .reading import rows_of
from .values import Entry

_ROWS = 8  # rows of a record that are read to find it among the columns of others
_FEWEST = 4  # rows from which on a column tells where it is
_MOST = 1 << 28  # products in one search
_MOST_READ = 4000  # pairs that are read to look at last rows


@dataclass(frozen=True, slots=True)
class Part:
    """`part` is what `whole` holds in some of its columns (`span`, from and to), or in its last
    rows.
    """

    part: Entry
    whole: Entry
    recipes: Both  # of the part, of the whole
    distance: float
    words: str
    span: tuple[int, int] | None = None


@dataclass(slots=True)
class _Table:
    entry: Entry
    rows: Array


def column_parts(
    narrow: list[Entry], wide: list[Entry], cancelled: Callable[[], bool]
) -> Iterator[Part]:
    """Records that stand in consecutive columns of wider ones. Raises `CancelledError`."""
    groups: dict[int, tuple[list[Entry], list[Entry]]] = defaultdict(lambda: ([], []))
    for number, entries in enumerate((narrow, wide)):
        for entry in entries:
            if _may_be_joined(entry):
                groups[_lines(entry)][number].append(entry)
    for parts, wholes in groups.values():
        columns = sum(_width(entry) for entry in wholes)
        if not parts or not wholes or len(parts) * columns * _ROWS > _MOST:
            continue
        if min(map(_width, parts)) >= max(map(_width, wholes)):
            continue
        tables = [[t for e in side if (t := _table(e)) is not None] for side in (parts, wholes)]
        if tables[1]:
            yield from _in_columns(tables[0], tables[1], cancelled)


def _may_be_joined(entry: Entry) -> bool:
    rows = len(bare(entry.item.shape)) >= 2 and _lines(entry) >= _FEWEST
    return rows and entry.sketch.kind == "float" and entry.sketch.telling


def _width(entry: Entry) -> int:
    return entry.item.shape[-1]


def _lines(entry: Entry) -> int:
    shape = entry.item.shape
    return prod(shape[:-1])


def _table(entry: Entry) -> _Table | None:
    lines = np.linspace(0, _lines(entry) - 1, min(_ROWS, _lines(entry))).astype(np.int64)
    try:
        return _Table(entry, rows_of(entry, lines))
    except UNREADABLE:
        return None


def _in_columns(
    parts: list[_Table], wholes: list[_Table], cancelled: Callable[[], bool]
) -> Iterator[Part]:
    every = np.concatenate([table.rows for table in wholes], axis=1)
    starts = np.cumsum([0, *(table.rows.shape[1] for table in wholes)])
    squares = np.einsum("ij,ij->j", every, every)
    for part in parts:
        if cancelled():
            raise CancelledError
        first = part.rows[:, 0]
        size = float(first @ first)
        if not size > 0:
            continue
        apart = squares - 2 * (first @ every) + size
        at = int(apart.argmin())
        number = int(np.searchsorted(starts, at, side="right")) - 1
        found = _fitting(part, wholes[number], at - int(starts[number]))
        if found is not None:
            yield found


def _fitting(part: _Table, whole: _Table, at: int) -> Part | None:
    """The part in the whole from column `at` on, where it is there."""
    width, most = part.rows.shape[1], whole.rows.shape[1]
    if width >= most or at + width > most:
        return None
    apart = distance(part.rows, whole.rows[:, at : at + width])
    if apart > limit_of(part.entry.sketch.coarse, whole.entry.sketch.coarse):
        return None
    shape = whole.entry.item.shape
    everything = (None, None, None)
    cut = Slice((*(everything for _ in shape[:-1]), (at, at + width, None)))
    own, rest = in_one_order(part.entry.item.shape, cut.shape(shape))
    recipes = own, Recipe((cut, *rest.steps))
    words = f"columns {at} to {at + width} of {whole.entry.item.record.name}"
    return Part(part.entry, whole.entry, recipes, apart, words, (at, at + width))


def filling(parts: Iterable[Part]) -> Iterator[Part]:
    """The parts that make up all columns of their wholes: what is missing is a difference."""
    groups: dict[int, list[Part]] = defaultdict(list)
    for part in parts:
        groups[part.whole.index].append(part)
    for found in groups.values():
        spans = sorted(part.span for part in found if part.span is not None)
        ends = [0, *(end for _, end in spans)]
        if [start for start, _ in spans] == ends[:-1] and ends[-1] == _width(found[0].whole):
            yield from found


def last_rows(
    few: list[Entry], full: list[Entry], cancelled: Callable[[], bool]
) -> Iterator[Part]:  # fmt: skip
    """Records that are the last rows of longer ones. Raises `CancelledError`."""
    by_width: dict[int, list[Entry]] = defaultdict(list)
    for entry in full:
        if entry.item.shape and entry.sketch.kind == "float" and entry.sketch.telling:
            by_width[entry.item.shape[-1]].append(entry)
    if len(few) * max(map(len, by_width.values()), default=0) > _MOST_READ:
        return
    for entry in few:
        shape = entry.item.shape
        if not shape or entry.sketch.kind != "float" or not entry.sketch.telling:
            continue
        found: list[Part] = []
        for other in by_width.get(shape[-1], ()):
            if cancelled():
                raise CancelledError
            if not _behind_layers(entry, other):
                continue
            view = shapes_view(other.item.shape, shape, True)
            if view is None or prod(other.item.shape) <= prod(shape):
                continue
            recipes = view.reference, view.candidate
            apart = distance_through(other.item.record, entry.item.record, recipes)
            found.append(Part(entry, other, (recipes[1], recipes[0]), apart, view.how))
        yield from _clear(found)


def _behind_layers(*entries: Entry) -> bool:
    """Whether records stand behind the layers, where one side may keep the last tokens only; one of
    them surely by its name.
    """
    modules = [entry.item.module for entry in entries]
    return all(map(behind_layers, modules)) and any(map(has_usual_place, modules))


def _clear(found: list[Part]) -> Iterator[Part]:
    """The nearest, where it is equal and no other one is."""
    if not found:
        return
    found.sort(key=lambda part: part.distance)
    best = found[0]
    second = found[1].distance if len(found) > 1 else float("inf")
    same = len(found) > 1 and found[1].whole.sketch.bits == best.whole.sketch.bits
    limit = limit_of(best.part.sketch.coarse, best.whole.sketch.coarse)
    if best.distance <= limit and best.distance <= MARGIN * second and not same:
        yield best
