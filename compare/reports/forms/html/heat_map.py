"""|candidate - reference| of a pair as a small picture: the greatest difference in every cell.

Rows of the picture are the view's axes but the last (tokens), columns the last axis (features). The
values are read once, in blocks.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from math import prod

import numpy as np

from .....capture.values import Array
from ....measuring.pair_reader import PairTask
from ....measuring.per_token import token_rows
from ....model import Failure

_MOST = 1 << 27  # elements of a pair that is read again for its picture
_DECADES = 6.0  # from the greatest difference down to the darkest colour
_SPOILED = (255, 0, 255)
# Viridis, nine of its colours (matplotlib's table, CC0); told apart by colour-blind readers too.
_VIRIDIS = np.array([
    (68, 1, 84), (71, 44, 122), (59, 81, 139), (44, 113, 142), (33, 144, 141), (39, 173, 129),
    (92, 200, 99), (170, 220, 50), (253, 231, 37),
], np.float64)  # fmt: skip


@dataclass(slots=True)
class HeatMap:
    """`cells[i, j]` is the greatest |d| of a part of the view of `shape`; NaN where a side alone
    has NaN or Inf.
    """

    shape: tuple[int, ...]
    cells: Array
    greatest: float = field(default=0.0)

    @property
    def least(self) -> float:
        """The difference that has the darkest colour, and all below it."""
        return self.greatest * 10.0**-_DECADES


def heat_map(task: PairTask, rows: int = 64, columns: int = 256) -> HeatMap | str:
    """The picture's cells, at most `rows` x `columns`; in words why there is none."""
    count = prod(task.reference.locator.shape)
    if count > _MOST:
        return f"{count} elements: too many to draw here"
    grid = _Grid(rows, columns)
    found = token_rows(task, visit=grid.add)
    if isinstance(found, Failure):
        return found.reason
    if grid.cells is None:
        return "no elements"
    fine = grid.cells[np.isfinite(grid.cells)]
    return HeatMap(found.shape, grid.cells, float(fine.max()) if fine.size else 0.0)


@dataclass(slots=True)
class _Grid:
    """The greatest |d| of every cell, block by block."""

    rows: int
    columns: int
    cells: Array | None = None

    def add(self, shape: tuple[int, ...], start: int, sizes: Array) -> None:
        width = shape[-1] if shape else 1
        lines = prod(shape[:-1])
        if self.cells is None:
            self.cells = np.zeros((min(self.rows, lines), min(self.columns, width)))
        high, wide = self.cells.shape
        if sizes.size < width:  # part of one row
            first, columns = start // width, start % width + np.arange(sizes.size)
            np.maximum.at(self.cells[first * high // lines], columns * wide // width, sizes)
            return
        values = sizes.reshape(-1, width)
        if width > wide:  # the same cells as above: where columns * wide // width changes
            edges = -(-np.arange(wide) * width // wide)
            values = np.maximum.reduceat(values, edges, axis=1)
        place = (start // width + np.arange(len(values))) * high // lines
        np.maximum.at(self.cells, place, values)


def png(found: HeatMap) -> bytes:
    """The cells as a PNG of one pixel each."""
    cells = found.cells.astype(np.float64)
    with np.errstate(all="ignore"):
        place = 1.0 + np.log10(cells / (found.greatest or 1.0)) / _DECADES
    place = np.clip(np.where(cells > 0, place, 0.0), 0.0, 1.0) * (len(_VIRIDIS) - 1)
    low = np.minimum(np.floor(place).astype(int), len(_VIRIDIS) - 2)
    share = (place - low)[..., None]
    pixels = (_VIRIDIS[low] * (1 - share) + _VIRIDIS[low + 1] * share).round().astype(np.uint8)
    pixels[~np.isfinite(cells)] = _SPOILED
    return _encoded(pixels)


def _encoded(pixels: Array) -> bytes:
    """PNG (W3C, third edition): 8-bit RGB, no filter."""
    height, width, _ = pixels.shape
    lines = np.zeros((height, 1 + 3 * width), np.uint8)
    lines[:, 1:] = pixels.reshape(height, -1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(lines.tobytes(), 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )
