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
    """The sample (see `take_sample`) of a pair that is not open. Raises what `UNREADABLE` has."""
    with PairReader(task.reference, task.candidate) as reader, np.errstate(all="ignore"):
        return take_sample(reader, peak, most)


def take_sample(
    reader: PairReader, peak: tuple[int, ...] | None = None, most: int = MOST
) -> Sample:
    """Read a sample of at most about `most` elements; `peak` is a place that must be in it.

    Raises `SideError`, and `RecipeError` where shapes differ.
    """
    shape = reader.shape
    count, width = prod(shape), shape[-1] if shape else 1
    if count <= most:
        whole = np.array([[0, count]])
        x, y = (side.runs(whole) for side in reader.sides.values()) if count else (None, None)
        if x is None or y is None:
            x, y, _ = reader.window((Ellipsis,))
        rows = np.arange(count // max(width, 1))
        return Sample(_table(x, width), _table(y, width), rows, np.arange(width), shape)
    channels = _channels(width, most, peak[-1] if peak else 0)
    row_runs = _row_runs(shape, max(1, most // len(channels)), peak)
    cuts = [(0, width)] if len(channels) == width else _runs_of(channels)
    rows = _rows_of(row_runs)
    return Sample(*_tables(reader, row_runs, rows, cuts, width), rows, channels, shape)


def _rows_of(row_runs: list[tuple[int, int]]) -> Array:
    """All rows of runs, which are equally long."""
    firsts = np.array([first for first, _ in row_runs])
    return (firsts[:, None] + np.arange(row_runs[0][1])).reshape(-1)


def _tables(
    reader: PairReader, row_runs: list[tuple[int, int]], rows: Array,
    cuts: list[tuple[int, int]], width: int,
) -> tuple[Array, Array]:  # fmt: skip
    """Both sides' values of some rows and channels."""
    if cuts == [(0, width)]:
        wanted = np.array(row_runs) * width
    else:
        lows, highs = np.array(cuts).T
        starts = (rows[:, None] * width + lows).reshape(-1)
        wanted = np.stack([starts, np.tile(highs - lows, len(rows))], axis=1)
    x, y = (side.runs(wanted) for side in reader.sides.values())
    if x is None or y is None:
        return _tables_by_windows(reader, row_runs, cuts)
    channels = sum(high - low for low, high in cuts)
    return _table(x, channels), _table(y, channels)


def _tables_by_windows(
    reader: PairReader, row_runs: list[tuple[int, int]], cuts: list[tuple[int, int]]
) -> tuple[Array, Array]:
    """The same where elements must be moved."""
    tables: tuple[list[Array], list[Array]] = ([], [])
    for first, size in row_runs:
        outer = _key(reader.shape, first, size)
        parts = [reader.window((*outer, slice(low, high))) for low, high in cuts]
        for side, table in enumerate(tables):
            columns = [
                _table(part[side], hi - lo) for part, (lo, hi) in zip(parts, cuts, strict=True)
            ]
            table.append(np.concatenate(columns, axis=1))
    return np.concatenate(tables[0]), np.concatenate(tables[1])


def _table(values: Array | None, width: int) -> Array:
    assert values is not None
    real = np.abs(values) if values.dtype.kind == "c" else values
    return real.reshape(-1, max(width, 1)).astype(np.float64, copy=False)


def _channels(width: int, most: int, peak: int) -> Array:
    """All channels, or runs of them where one row is larger than a sample may be."""
    if width <= most:
        return np.arange(width)
    run = most // _RUNS
    starts = np.linspace(0, width - run, _RUNS - 1).astype(np.int64).tolist()
    starts.append(max(0, min(peak - run // 2, width - run)))
    ends = 0
    found: list[Array] = []
    for start in sorted(starts):  # each without what the one before it has
        found.append(np.arange(max(start, ends), start + run))
        ends = start + run
    return np.concatenate(found)


def _runs_of(channels: Array) -> list[tuple[int, int]]:
    """Ranges without a hole that make up sorted `channels`."""
    breaks = np.flatnonzero(np.diff(channels) != 1) + 1
    return [(int(part[0]), int(part[-1]) + 1) for part in np.split(channels, breaks)]


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
