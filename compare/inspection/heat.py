"""A tensor as a picture: two axes as rows and columns, the others sliced or pooled.

A cell shows the extreme of all elements that fall into it (the greatest, the one farthest from
zero): the mean would hide the one bad element. Cells with elements that are not finite alike (or,
for one side's values, not finite) are marked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...capture.values import Array
from ..measuring.pair_reader import Block
from ..recipes.errors import Shape
from .elements import difference, magnitude

Quantity = Literal["difference", "signed", "ratio", "reference", "candidate"]
QUANTITIES: tuple[Quantity, ...] = ("difference", "reference", "candidate", "signed", "ratio")
QUANTITY_WORDS: dict[Quantity, str] = {
    "difference": "|difference|", "signed": "candidate - reference", "ratio": "candidate/reference",
    "reference": "reference", "candidate": "candidate",
}  # fmt: skip
_GREATEST = float(np.finfo(np.float64).max)
Range = tuple[int, int]
Region = tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class HeatPlan:
    """What is drawn: a quantity over a region (a range an axis), on `height` by `width` cells at
    most. `rows` is None for a tensor of one axis, both for a scalar.
    """

    quantity: Quantity
    region: Region
    rows: int | None
    columns: int | None
    height: int
    width: int

    def key(self) -> tuple[slice, ...]:
        """The region as slices."""
        return tuple(slice(low, high) for low, high in self.region)

    def edges(self) -> tuple[Array, Array]:
        """Where cells begin, and the end, counted from the region's first index."""
        return _edges(self.region, self.rows, self.height), _edges(
            self.region, self.columns, self.width
        )


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Cells, rows first. `values` are the extremes (0 where nothing finite is in a cell), `odd`
    marks cells as above, `filled` those that have been read at all.
    """

    plan: HeatPlan
    values: Array
    odd: Array
    filled: Array

    @property
    def shape(self) -> tuple[int, int]:
        return self.values.shape[0], self.values.shape[1]

    def cell(self, row: int, column: int) -> tuple[Range, Range]:
        """The ranges of indices (along rows, along columns) that a cell stands for."""
        found: list[Range] = []
        for edges, axis, at in zip(
            self.plan.edges(), (self.plan.rows, self.plan.columns), (row, column), strict=True
        ):
            first = self.plan.region[axis][0] if axis is not None else 0
            found.append((first + int(edges[at]), first + int(edges[at + 1])))
        return found[0], found[1]

    @property
    def peak(self) -> tuple[int, int] | None:
        """The cell that stands out most: one with NaN first, else the greatest size."""
        if self.values.size == 0 or not self.filled.any():
            return None
        found = np.where(self.odd, np.inf, distance_from_rest(self.values, self.plan.quantity))
        row, column = np.unravel_index(int(np.argmax(found)), self.values.shape)
        return int(row), int(column)


def distance_from_rest(values: Array, quantity: Quantity) -> Array:
    """How much a value stands out: its size; for a ratio, how far it is from 1 either way."""
    if quantity != "ratio":
        return np.abs(values)
    with np.errstate(all="ignore"):
        return np.where(values > 0, np.abs(np.log2(np.where(values > 0, values, 1.0))), 64.0)


def default_axes(shape: Shape) -> tuple[int | None, int | None]:
    """The two longest axes, in their order; axes of size 1 only where there are no others."""
    if not shape:
        return None, None
    if len(shape) == 1:
        return None, 0
    longest = sorted(range(len(shape)), key=lambda axis: (-shape[axis], -axis))[:2]
    return min(longest), max(longest)


class HeatAnalysis:
    """Pools the blocks of a region; see `running.Analysis`. Blocks count from the region on."""

    def __init__(self, plan: HeatPlan) -> None:
        self._plan = plan
        self._row_edges, self._column_edges = plan.edges()
        size = (self._row_edges.size - 1, self._column_edges.size - 1)
        self._high = np.full(size, -np.inf)
        self._low = np.full(size, np.inf)
        self._odd = np.zeros(size, np.bool_)

    def add(self, block: Block) -> None:
        values, odd = _quantity(self._plan.quantity, block)
        fine = np.isfinite(values)
        if block.shown is not None:
            fine &= block.shown
            odd = odd & block.shown
        rows, row_starts = self._places(block, self._plan.rows, self._row_edges)
        columns, column_starts = self._places(block, self._plan.columns, self._column_edges)
        window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))

        def pooled(array: Array, how: np.ufunc) -> Array:
            flat = self._two_axes(array, how)
            return how.reduceat(how.reduceat(flat, row_starts, 0), column_starts, 1)

        high, low = np.where(fine, values, -np.inf), np.where(fine, values, np.inf)
        np.maximum(self._high[window], pooled(high, np.maximum), out=self._high[window])
        np.minimum(self._low[window], pooled(low, np.minimum), out=self._low[window])
        if odd.any():
            self._odd[window] |= pooled(odd, np.logical_or)

    def _places(self, block: Block, axis: int | None, edges: Array) -> tuple[Array, Array]:
        """The cells that a block touches along an axis, and where each begins inside it."""
        low, high = block.ranges[axis] if axis is not None else (0, 1)
        first = int(np.searchsorted(edges, low, "right")) - 1
        last = int(np.searchsorted(edges, high - 1, "right")) - 1
        cells = np.arange(first, last + 1)
        return cells, np.maximum(edges[first : last + 1] - low, 0)

    def _two_axes(self, array: Array, how: np.ufunc) -> Array:
        """The block reduced to rows by columns."""
        rows, columns = self._plan.rows, self._plan.columns
        others = tuple(axis for axis in range(array.ndim) if axis not in (rows, columns))
        reduced = how.reduce(array, axis=others) if others else array
        if rows is None:
            return reduced.reshape(1, -1)
        assert columns is not None
        return reduced if rows < columns else reduced.T

    def result(self) -> HeatMap:
        filled = (self._high >= self._low) | self._odd
        if self._plan.quantity == "ratio":
            pull = distance_from_rest(self._high, "ratio") >= distance_from_rest(self._low, "ratio")
        else:
            pull = np.abs(self._high) >= np.abs(self._low)
        values = np.where(pull, self._high, self._low)
        values = np.where(np.isfinite(values), values, 0.0)
        return HeatMap(self._plan, values, self._odd.copy(), filled)


def _quantity(quantity: Quantity, block: Block) -> tuple[Array, Array]:
    """The quantity as float64, shaped like the block, and which elements are not to be drawn."""
    x, y = block.x, block.y
    if quantity in ("reference", "candidate"):
        values = x if quantity == "reference" else y
        assert values is not None
        real = magnitude(values).astype(np.float64)
        return real, ~np.isfinite(real)
    assert x is not None and y is not None
    d = difference(x, y)
    odd = np.zeros(d.shape, np.bool_)
    if not np.isfinite(d).all():
        fine = np.isfinite(x) & np.isfinite(y)
        odd = ~fine & ~((x == y) | (np.isnan(x) & np.isnan(y)))
        d = np.where(fine | odd, d, 0.0)
    if quantity == "ratio":
        return _ratio(x, y), odd
    if quantity == "difference" or d.dtype.kind == "c":
        d = np.abs(d)
    # What is Inf only because float64 ends is drawn all the same.
    return np.where(odd, d, np.clip(d, -_GREATEST, _GREATEST)), odd


def _ratio(x: Array, y: Array) -> Array:
    """y / x; 1 where both are zero, NaN (nothing to draw) where only x is."""
    left, right = magnitude(x).astype(np.float64), magnitude(y).astype(np.float64)
    with np.errstate(all="ignore"):
        found = right / left
    return np.where(left == right, 1.0, np.where(left == 0, np.nan, found))


def _edges(region: Region, axis: int | None, cells: int) -> Array:
    """The edges of at most `cells` cells along an axis; whole numbers, from 0 to its length."""
    length = region[axis][1] - region[axis][0] if axis is not None else 1
    count = max(1, min(cells, length)) if length else 0
    return np.arange(count + 1, dtype=np.int64) * length // max(count, 1)
