"""Reading many records: small ones are read as a whole, in their order, so that a file is opened
once, and described together with others of their kind.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import chain

import numpy as np

from ....capture.dtypes import DTYPES
from ....capture.errors import RecordError
from ....capture.records import Locator
from ....capture.storage import OpenFile, open_file
from ....capture.values import Array, upcast
from ...measuring.blocks import Source
from ...measuring.pair_reader import CancelledError
from ...recipes.errors import RecipeError
from ...recipes.recipe import Recipe
from ...tasks.on_executor import answers, in_parts, shared
from ..named_records import Item
from .equal import MOST, distance, distance_through
from .layouts import Both
from .sketch import WHOLE, Sketch, levels_of, may_have_sketch, read_some, real, sketches_of
from .values import Entry

_TOGETHER = 1 << 20  # elements that are described at once, and so many wait for it
_SHARE = 256  # records whose sketches a worker makes at a time
_KEPT = 1 << 24  # elements of small records of one side that stay in memory: 64 MB of float32
_UNREADABLE = (RecordError, OSError, MemoryError)
_Kind = tuple[str, str | None, int]  # stored and recorded dtype, number of elements


def entries_of(
    items: Iterable[Item], left: set[int], cancelled: Callable[[], bool]
) -> list[Entry]:  # fmt: skip
    """The items with their sketches; what cannot be read, or has none, is left out. `left` are the
    positions of items that names found no partner for. Raises `CancelledError`.
    """
    listed = [item for item in items if may_have_sketch(item.record)]
    if shared():
        parts = answers(_sketches_of_share, _shares(listed), cancelled)
        found = dict(chain.from_iterable(part.items() for part in parts))
    else:
        found = _sketches(listed, _KEPT, cancelled)
    return [
        Entry(item, found[item.position], item.position in left)
        for item in listed if item.position in found
    ]  # fmt: skip


def _shares(listed: list[Item]) -> list[tuple[list[Item], int]]:
    """The items in parts, and how many elements each may keep."""
    parts = in_parts(listed, max(1, len(listed) // _SHARE))
    return [([*part], _KEPT // len(parts)) for part in parts]


def _sketches_of_share(share: tuple[list[Item], int]) -> dict[int, Sketch]:
    """On a worker: the sketches of some items, by their positions."""
    return _sketches(*share, lambda: False)


def _sketches(
    listed: list[Item], room: int, cancelled: Callable[[], bool]
) -> dict[int, Sketch]:  # fmt: skip
    """Sketches by position, which may keep `room` elements."""
    found: dict[int, Sketch] = {}
    batches: dict[_Kind, list[tuple[Item, Array]]] = defaultdict(list)
    waiting = 0
    with _Files() as files:
        for item in listed:
            if cancelled():
                raise CancelledError
            locator = item.record.locator
            assert locator is not None
            try:
                raw = files.elements(locator)
            except _UNREADABLE:
                continue
            batches[locator.dtype, item.record.dtype, locator.count].append((item, raw))
            waiting += raw.size
            if waiting >= _TOGETHER:
                room = _describe(batches, found, room)
                waiting = 0
    _describe(batches, found, room)
    return found


def _describe(
    batches: dict[_Kind, list[tuple[Item, Array]]], found: dict[int, Sketch], room: int
) -> int:
    """Put the sketches of all batches into `found`, and empty them. `room` is how many elements may
    be kept in memory; what is left of it.
    """
    for batch in batches.values():
        raw = np.stack([elements for _, elements in batch])
        like = batch[0][0].record
        assert like.locator is not None
        keep = like.locator.count <= WHOLE and raw.size <= room
        room -= raw.size if keep else 0
        for (item, _), sketch in zip(batch, sketches_of(like, raw, keep), strict=True):
            if sketch is not None:
                found[item.position] = sketch
    batches.clear()
    return room


class _Files:
    """Reads records one after the other; the file of the last one stays open."""

    def __init__(self) -> None:
        self._path = ""
        self._file: OpenFile | None = None

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def elements(self, locator: Locator) -> Array:
        """What `read_some` gives. Raises `RecordError`, `OSError`."""
        if not locator.in_place or locator.strides is not None or locator.count > WHOLE:
            return read_some(locator)
        if self._file is None or self._path != locator.path:
            self.__exit__()
            self._file, self._path = open_file(locator.path), locator.path
        dtype = np.dtype(DTYPES[locator.dtype].storage)
        wanted = locator.count * dtype.itemsize
        data = self._file.read_at(locator.offset, wanted) if locator.offset >= 0 else b""
        if len(data) != wanted:
            raise RecordError(f"truncated: {wanted} bytes at {locator.offset} needed")
        return np.frombuffer(data, dtype)


def levels(entries: Iterable[Entry], cancelled: Callable[[], bool]) -> list[tuple[Entry, Array]]:
    """Entries of equally many elements with `LEVELS` of their sorted values, float32; without those
    that cannot be read again. Raises `CancelledError`.
    """
    found: list[tuple[Entry, Array]] = []
    same: list[tuple[Entry, Array]] = []
    for entry in entries:
        if cancelled():
            raise CancelledError
        try:
            values = _values(entry)
        except _UNREADABLE:
            continue
        full = len(same) * values.size >= _TOGETHER
        if same and (full or same[0][1].dtype != values.dtype):
            found += _with_levels(same)
            same = []
        same.append((entry, values))
    return found + _with_levels(same)


def _with_levels(same: list[tuple[Entry, Array]]) -> list[tuple[Entry, Array]]:
    if not same:
        return []
    table, known = levels_of(np.stack([values for _, values in same]))
    rows = zip(same, table, known.tolist(), strict=True)
    return [(entry, row) for (entry, _), row, is_known in rows if is_known]


def in_memory(entry: Entry) -> bool:
    """Whether all elements of a record are at hand, and few enough to be compared as they are."""
    return entry.sketch.values is not None and entry.sketch.count <= MOST


def distance_of(ours: Entry, theirs: Entry, recipes: Both) -> float:
    """The distance of two records in a view (see `distance_through`)."""
    if ours.sketch.kind == "float" and in_memory(ours) and in_memory(theirs):
        try:
            views = [_view(*side) for side in zip((ours, theirs), recipes, strict=True)]
        except RecipeError:
            return float("inf")
        return distance(views[0], views[1]) if views[0].shape == views[1].shape else float("inf")
    return distance_through(ours.item.record, theirs.item.record, recipes)


def _view(entry: Entry, recipe: Recipe) -> Array:
    locator, values = entry.item.record.locator, entry.sketch.values
    assert locator is not None and values is not None
    return recipe.apply(values.reshape(locator.shape))


def _values(entry: Entry) -> Array:
    if entry.sketch.values is not None:
        return entry.sketch.values
    locator = entry.item.record.locator
    assert locator is not None
    return real(upcast(read_some(locator), locator.dtype))


def rows_of(entry: Entry, lines: Array) -> Array:
    """Rows `lines` (flat over all axes but the last) of a record, float64 `[rows, columns]`; what
    is not finite is 0. Raises `RecordError`, `OSError`.
    """
    locator, kept = entry.item.record.locator, entry.sketch.values
    assert locator is not None
    width = locator.shape[-1]
    if kept is not None:
        values = kept.reshape(-1, width)[lines].astype(np.float64)
        return np.where(np.isfinite(values), values, 0.0)
    with Source(locator) as source:
        source.opened()
        if source.in_parts and locator.strides is None:
            raw = source.pick(lines[:, None] * width + np.arange(width))
        else:
            raw = np.array(source.load()).reshape(-1, width)[lines]
    values = upcast(raw, locator.dtype).astype(np.float64)
    return np.where(np.isfinite(values), values, 0.0)
