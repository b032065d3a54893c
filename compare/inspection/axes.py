"""The difference ranked along every axis of the view: which token, channel or head is worst.

For an index i of an axis, rms(i) is the root mean square of d over all elements with that index;
elements that are not finite on both sides are left out and, where they are not alike, counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...capture.values import Array
from ..measuring.pair_reader import Block
from ..recipes.errors import Shape
from .elements import difference

MOST_PLACES = 1 << 16  # places kept along an axis; a longer axis is cut into ranges of equal length


@dataclass(frozen=True, slots=True)
class AxisRanking:
    """One axis of `size` indices, each place standing for `step` of them. `axis` is the view's;
    `groups` is set for heads: equal parts of the last axis.

    `rms` and `odd` (elements not finite alike) have one entry a place; `order` ranks places, worst
    first.
    """

    axis: int
    size: int
    step: int
    rms: tuple[float, ...]
    odd: tuple[int, ...]
    order: tuple[int, ...]
    groups: int | None = None

    def label(self, place: int) -> str:
        """`7`, or `512:1024` where a place stands for several indices."""
        if self.step == 1:
            return str(place)
        return f"{place * self.step}:{min(self.size, (place + 1) * self.step)}"

    @property
    def title(self) -> str:
        """`axis 1 (10)`, `8 heads of axis 2`."""
        if self.groups is not None:
            return f"{self.groups} heads of axis {self.axis}"
        return f"axis {self.axis} ({self.size})"

    @property
    def concentration(self) -> tuple[int, float] | None:
        """The worst place and its share of all squared differences; None without a difference, and
        where the squares leave the range of float64.
        """
        squares = [value * value for value in self.rms]
        total = sum(squares)
        if not 0 < total < math.inf or not self.order:
            return None
        worst = self.order[0]
        return worst, squares[worst] / total


class AxesAnalysis:
    """Sums squares along all axes in one pass; see `running.Analysis`."""

    def __init__(self, shape: Shape, heads: int | None = None) -> None:
        self._shape = shape
        self._heads = heads if heads and shape and shape[-1] % heads == 0 else None
        self._steps = [max(1, -(-size // MOST_PLACES)) for size in shape]
        lengths = [-(-size // step) for size, step in zip(shape, self._steps, strict=True)]
        self._squares = [np.zeros(length) for length in lengths]
        self._counts = [np.zeros(length) for length in lengths]
        self._odd = [np.zeros(length, np.int64) for length in lengths]
        width = self._heads or 0
        self._head_sums = (np.zeros(width), np.zeros(width), np.zeros(width, np.int64))

    def add(self, block: Block) -> None:
        assert block.x is not None and block.y is not None
        x, y = block.x, block.y
        d = np.abs(difference(x, y))
        fine = np.isfinite(d)
        odd = ~fine & ~((x == y) | (np.isnan(x) & np.isnan(y)))
        if block.shown is not None:
            fine &= block.shown
            odd &= block.shown
        squares = np.where(fine, d, 0.0) ** 2
        for axis in range(len(self._shape)):
            others = tuple(other for other in range(squares.ndim) if other != axis)
            low, _ = block.ranges[axis]
            sums = (squares.sum(axis=others), fine.sum(axis=others), odd.sum(axis=others))
            step = self._steps[axis]
            self._take(axis, low, step, sums)
            if self._heads and axis == len(self._shape) - 1:
                self._take_heads(low, sums)

    def _take(self, axis: int, low: int, step: int, sums: tuple[Array, Array, Array]) -> None:
        places = (low + np.arange(sums[0].size)) // step
        first = int(places[0])
        length = int(places[-1]) - first + 1
        targets = (self._squares[axis], self._counts[axis], self._odd[axis])
        for target, part in zip(targets, sums, strict=True):
            found = part if step == 1 else np.bincount(places - first, part, length)
            target[first : first + length] += found.astype(target.dtype)

    def _take_heads(self, low: int, sums: tuple[Array, Array, Array]) -> None:
        assert self._heads is not None
        size = self._shape[-1] // self._heads
        places = (low + np.arange(sums[0].size)) // size
        for target, part in zip(self._head_sums, sums, strict=True):
            target += np.bincount(places, part, self._heads).astype(target.dtype)

    def result(self) -> tuple[AxisRanking, ...]:
        found = [
            _ranking(axis, size, self._steps[axis], self._squares[axis], self._counts[axis],
                     self._odd[axis])
            for axis, size in enumerate(self._shape)
        ]  # fmt: skip
        if self._heads:
            axis, size = len(self._shape) - 1, self._shape[-1]
            step = size // self._heads
            found.append(_ranking(axis, size, step, *self._head_sums, groups=self._heads))
        return tuple(found)


def _ranking(
    axis: int, size: int, step: int, squares: Array, counts: Array, odd: Array,
    groups: int | None = None,
) -> AxisRanking:  # fmt: skip
    with np.errstate(all="ignore"):
        rms = np.sqrt(np.where(counts > 0, squares / np.maximum(counts, 1), 0.0))
    order = np.lexsort((np.arange(rms.size), -rms, -odd))
    if groups is not None:
        return AxisRanking(
            axis, size, step, tuple(rms.tolist()), tuple(odd.tolist()), tuple(order.tolist()),
            groups,
        )  # fmt: skip
    return AxisRanking(
        axis, size, step, tuple(rms.tolist()), tuple(odd.tolist()), tuple(order.tolist())
    )
