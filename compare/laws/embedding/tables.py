"""Tables of embeddings: a checkpoint's, or the rows that a reference recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from ....capture.values import Array
from ...weights.parameters import Weight

_NEAR = 0.05  # of its length that a row may be away from the table's: half of a coarse grid's step
_CLEAR = 0.5  # of the second nearest row's distance


class Table(Protocol):
    """Rows by id. `unit` is the unit roundoff that they carry, 0 for stored ones."""

    words: str
    unit: float

    def rows(self, ids: Array) -> Array:
        """`[ids, channels]`, float64; NaN where the table has no row."""
        ...

    def find(self, rows: Array, cancelled: Callable[[], bool] | None = None) -> Array:
        """The id whose row each of `rows` is; -1 where it is none's, or several ones'."""
        ...


class StoredTable:
    """A checkpoint's. The row of an id stands `offset` behind it."""

    unit = 0.0

    def __init__(self, weight: Weight, offset: int = 0) -> None:
        self.weight = weight
        self._offset = offset
        self.words = "checkpoint" if not offset else f"checkpoint, from row {offset} on"

    def rows(self, ids: Array) -> Array:
        place = ids + self._offset
        found = np.full((len(place), self.weight.shape[1]), np.nan)
        inside = (place >= 0) & (place < self.weight.shape[0])
        distinct, back = np.unique(place[inside], return_inverse=True)
        if len(distinct):
            found[inside] = self.weight.take(distinct.tolist())[back]
        return found

    def find(self, rows: Array, cancelled: Callable[[], bool] | None = None) -> Array:
        found = _nearest(rows, self.weight.blocks(), cancelled)
        return np.where(found >= 0, found - self._offset, -1)


class RecordedTable:
    """The first recorded row of every id."""

    words = "rows of the reference"

    def __init__(self, ids: Array, rows: Array, unit: float) -> None:
        self._ids, first = np.unique(ids, return_index=True)
        self._rows = rows[first]
        self.unit = unit

    def rows(self, ids: Array) -> Array:
        place = np.searchsorted(self._ids, ids).clip(0, len(self._ids) - 1)
        return np.where((self._ids[place] == ids)[:, None], self._rows[place], np.nan)

    def find(self, rows: Array, cancelled: Callable[[], bool] | None = None) -> Array:
        found = _nearest(rows, iter([(0, self._rows)]), cancelled)
        return np.where(found >= 0, self._ids[found.clip(0)], -1)


def _nearest(
    rows: Array, blocks: Iterator[tuple[int, Array]], cancelled: Callable[[], bool] | None
) -> Array:
    """The number of the nearest row of a table, where it is near and no other one is."""
    y = np.nan_to_num(rows)
    size = np.square(y).sum(1)
    best, second = np.full(len(y), np.inf), np.full(len(y), np.inf)
    place = np.full(len(y), -1)
    for first, block in blocks:
        if cancelled is not None and cancelled():
            break
        wide = block.astype(np.float64, copy=False)
        away = np.square(wide).sum(1) - 2 * (y @ wide.T)  # [rows, block], less |y|^2
        at = away.argmin(1)
        least = away[np.arange(len(y)), at]
        away[np.arange(len(y)), at] = np.inf
        next_one = away.min(1)
        nearer = least < best
        second = np.minimum(np.where(nearer, best, np.minimum(second, least)), next_one)
        place = np.where(nearer, first + at, place)
        best = np.where(nearer, least, best)
    near, other = np.maximum(best + size, 0), np.maximum(second + size, 0)
    sure = (near <= _NEAR**2 * size) & (near <= _CLEAR**2 * other) & (size > 0)
    return np.where(sure, place, -1)
