"""A bounded part of a pair, as two tables: for what looks closer than sums over all elements can.

Small pairs are taken whole. Of larger ones some runs of rows spread evenly over the tensor are
read, and the row with the greatest difference, so that a lone fault is among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np

from ...capture.errors import RecordError
from ...capture.values import Array
from ..recipes.errors import RecipeError, Shape
from .pair_reader import PairReader, PairTask

MOST = 1 << 16  # elements of a sample
_RUNS = 16  # runs of rows that a sample of a large tensor consists of


@dataclass(frozen=True, slots=True)
class Sample:
    """Reference `x` and candidate `y`, float64 `[rows, channels]`: the last axis of the pair's view
    are the channels, all others the rows. `rows` and `channels` say which of the view's they are
    (flat positions). `shape` is that of the whole view.
    """

    x: Array
    y: Array
    rows: Array
    channels: Array
    shape: Shape

    @property
    def whole(self) -> bool:
        return self.x.size == prod(self.shape)


# What reading a sample raises of records that were fine when they were measured.
UNREADABLE = (RecordError, RecipeError, OSError, MemoryError)


def read_sample(task: PairTask, peak: tuple[int, ...] | None = None, most: int = MOST) -> Sample:
    """The sample (see `cut_of`) of a pair that is not open. Raises what `UNREADABLE` has."""
    with PairReader(task.reference, task.candidate) as reader, np.errstate(all="ignore"):
        shape = reader.shape
        if prod(shape):
            return read_cut(reader, cut_of(shape, peak, most))
        width = shape[-1] if shape else 1
        x, y, _ = reader.window((Ellipsis,))
        return Sample(_table(x, width), _table(y, width), np.arange(0), np.arange(width), shape)


@dataclass(frozen=True, slots=True)
class Cut:
    """Which part of a view of `shape` is a sample: `row_runs`, first row and length of runs that
    are equally long, and `ranges` of channels, first and last + 1.
    """

    shape: Shape
    row_runs: tuple[tuple[int, int], ...]
    ranges: tuple[tuple[int, int], ...]

    @property
    def rows(self) -> int:
        return len(self.row_runs) * self.row_runs[0][1]

    @property
    def channels(self) -> int:
        return sum(high - low for low, high in self.ranges)

    def row_at(self, row: int) -> int:
        """The view's row, a flat position, of one of the sample's."""
        run, at = divmod(row, self.row_runs[0][1])
        return self.row_runs[run][0] + at

    def channel_at(self, channel: int) -> int:
        """The view's channel of one of the sample's."""
        for low, high in self.ranges:
            if channel < high - low:
                return low + channel
            channel -= high - low
        raise IndexError("the sample has fewer channels")

    def places(self) -> tuple[Array, Array]:
        """All of the view's rows and channels that are in the sample."""
        firsts = np.array([first for first, _ in self.row_runs])
        rows = (firsts[:, None] + np.arange(self.row_runs[0][1])).reshape(-1)
        return rows, np.concatenate([np.arange(*each) for each in self.ranges])

    def runs(self) -> Array:
        """The runs of elements that it consists of, int64 `[n, 2]`: first flat position, length."""
        width = self.shape[-1] if self.shape else 1
        if self.ranges == ((0, width),):
            return np.array(self.row_runs, np.int64).reshape(-1, 2) * width
        lows, highs = np.array(self.ranges).T
        rows = self.places()[0]
        starts = (rows[:, None] * width + lows).reshape(-1)
        return np.stack([starts, np.tile(highs - lows, len(rows))], axis=1)


def cut_of(shape: Shape, peak: tuple[int, ...] | None = None, most: int = MOST) -> Cut:
    """The sample of at most about `most` elements of a view of `shape`, not empty; `peak` is a
    place that must be in it.
    """
    count, width = prod(shape), shape[-1] if shape else 1
    if count <= most:
        return Cut(shape, ((0, count // width),), ((0, width),))
    ranges = _channels(width, most, peak[-1] if peak else 0)
    lines = max(1, most // sum(high - low for low, high in ranges))
    return Cut(shape, tuple(_row_runs(shape, lines, peak)), ranges)


def read_cut(reader: PairReader, cut: Cut) -> Sample:
    """The sample of a pair that is cut so. Raises `SideError`."""
    wanted = cut.runs()
    x, y = (side.runs(wanted) for side in reader.sides.values())
    if x is None or y is None:
        tables = _tables_by_windows(reader, cut)
    else:
        tables = _table(x, cut.channels), _table(y, cut.channels)
    return Sample(*tables, *cut.places(), cut.shape)


def _tables_by_windows(reader: PairReader, cut: Cut) -> tuple[Array, Array]:
    """The same where elements must be moved."""
    if cut.rows * cut.channels == prod(cut.shape):
        x, y, _ = reader.window((Ellipsis,))
        return _table(x, cut.channels), _table(y, cut.channels)
    tables: tuple[list[Array], list[Array]] = ([], [])
    for first, size in cut.row_runs:
        outer = _key(cut.shape, first, size)
        parts = [reader.window((*outer, slice(low, high))) for low, high in cut.ranges]
        for side, table in enumerate(tables):
            columns = [
                _table(part[side], hi - lo)
                for part, (lo, hi) in zip(parts, cut.ranges, strict=True)
            ]
            table.append(np.concatenate(columns, axis=1))
    return np.concatenate(tables[0]), np.concatenate(tables[1])


def _table(values: Array | None, width: int) -> Array:
    assert values is not None
    real = np.abs(values) if values.dtype.kind == "c" else values
    return real.reshape(-1, max(width, 1)).astype(np.float64, copy=False)


def _channels(width: int, most: int, peak: int) -> tuple[tuple[int, int], ...]:
    """All channels, or ranges of them where one row is larger than a sample may be."""
    if width <= most:
        return ((0, width),)
    run = most // _RUNS
    starts = [*_evenly(width - run, _RUNS - 1), max(0, min(peak - run // 2, width - run))]
    found: list[tuple[int, int]] = []
    for start in sorted(starts):
        if found and start <= found[-1][1]:  # without what the one before it has
            found[-1] = found[-1][0], start + run
        else:
            found.append((start, start + run))
    return tuple(found)


def _row_runs(shape: Shape, lines: int, peak: tuple[int, ...] | None) -> list[tuple[int, int]]:
    """First row and length of runs, none over another, each within one index of the outer axes."""
    inner = shape[-2] if len(shape) > 1 else 1
    total = prod(shape[:-1])
    run = max(1, min(inner, lines // _RUNS))
    wanted = min(_RUNS, lines)
    starts = set(_evenly(total - run, wanted))
    if peak is not None and len(shape) > 1:
        row = 0
        for size, at in zip(shape[:-1], peak[:-1], strict=True):
            row = row * size + at
        starts.add(row)
    found: list[tuple[int, int]] = []
    end = 0
    for start in sorted(starts):
        start = start - start % inner + min(start % inner, inner - run)
        if start >= end:
            found.append((start, run))
            end = start + run
    return found


@lru_cache(maxsize=256)  # the layers of a model have records of a few shapes
def _evenly(last: int, count: int) -> tuple[int, ...]:
    """So many places from 0 to `last`, both among them."""
    return tuple(np.linspace(0, last, count).astype(np.int64).tolist())


def _key(shape: Shape, first: int, size: int) -> tuple[slice, ...]:
    """The key of rows `first` to `first + size` over all axes but the last."""
    if len(shape) < 2:
        return ()
    outer, at = divmod(first, shape[-2])
    index = np.unravel_index(outer, shape[:-2]) if len(shape) > 2 else ()
    return (*(slice(int(i), int(i) + 1) for i in index), slice(at, at + size))
