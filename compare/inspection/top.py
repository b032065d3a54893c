"""The greatest differences of a pair, by absolute, relative or ULP distance.

Elements that are not finite alike come first, whatever the order: no number tells how far NaN is
from anything. relative = |d| / max(|x|, 1e-8), as `measuring.sums` has it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...capture.dtypes import DTYPES
from ...capture.values import Array
from ..measuring.pair_reader import Block
from ..measuring.sums import RELATIVE_FLOOR
from ..measuring.ulp import distances
from ..recipes.element_source import origin, unravel
from ..recipes.errors import RecipeError, Shape
from ..recipes.parse import parse_recipe
from ..recipes.recipe import Recipe
from .elements import elements, sizes
from .subject import Subject

Order = Literal["abs", "rel", "ulp"]
ORDERS: tuple[Order, ...] = ("abs", "rel", "ulp")
MOST = 100_000
Number = float | complex | int | bool
Index = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """One element. The indices of the sides are in their records' own shapes, None where the
    element comes from another record. `abs`, `rel` are Inf where the two are not finite alike;
    `ulp` is None for types without a last place.
    """

    index: Index
    reference_index: Index | None
    candidate_index: Index | None
    reference: Number
    candidate: Number
    abs: float
    rel: float
    ulp: float | None


@dataclass(frozen=True, slots=True)
class Top:
    """The greatest first. `differing` counts all elements that differ at all."""

    order: Order
    shape: Shape
    differences: tuple[Difference, ...]
    differing: int
    compared: int


class TopAnalysis:
    """Gathers the `count` greatest differences; see `running.Analysis`."""

    def __init__(self, subject: Subject, shape: Shape, order: Order, count: int) -> None:
        kinds = {DTYPES[side.effective_dtype].kind for side in subject.sides}
        self._ulp_dtype = subject.dtype if kinds == {"float"} else None
        self._order: Order = order if order != "ulp" or self._ulp_dtype else "abs"
        self._subject, self._shape, self._count = subject, shape, max(1, min(count, MOST))
        self._keys = np.empty(0)
        self._positions = np.empty(0, np.int64)
        self._x: list[Number] = []
        self._y: list[Number] = []
        self._differing = self._compared = 0

    def add(self, block: Block) -> None:
        e = elements(block)
        self._compared += e.x.size
        size = np.abs(e.d)
        size[e.odd] = np.inf
        size[~e.finite & ~e.odd] = 0.0
        differing = np.flatnonzero(size)
        self._differing += differing.size
        if differing.size == 0:
            return
        keys = self._keyed(e.x[differing], e.y[differing], size[differing], e.odd[differing])
        least = self._keys[-1] if self._keys.size >= self._count else -1.0
        better = np.flatnonzero(keys > least)
        if better.size > self._count:
            better = _greatest(keys, self._count)
        if better.size:
            where = differing[better]
            self._merge(keys[better], e.positions_of(where), e.x[where], e.y[where])

    def _keyed(self, x: Array, y: Array, size: Array, odd: Array) -> Array:
        if self._order == "abs":
            return size
        if self._order == "rel":
            keys = size / np.maximum(sizes(x), RELATIVE_FLOOR)
            keys[np.isinf(size)] = np.inf
        else:
            assert self._ulp_dtype is not None
            keys = distances(x, y, self._ulp_dtype).astype(np.float64)
        keys[odd] = np.inf
        return keys

    def _merge(self, keys: Array, positions: Array, x: Array, y: Array) -> None:
        """Greatest first; of equal ones the first in the tensor."""
        all_keys = np.concatenate([self._keys, keys])
        all_positions = np.concatenate([self._positions, positions])
        order = np.lexsort((all_positions, -all_keys))[: self._count]
        xs, ys = self._x + list(x.tolist()), self._y + list(y.tolist())
        self._keys, self._positions = all_keys[order], all_positions[order]
        self._x, self._y = [xs[i] for i in order], [ys[i] for i in order]

    def result(self) -> Top:
        places = unravel(self._positions, self._shape)
        count = self._positions.size
        ours, theirs = own_indices(self._subject, places, count)
        found = tuple(
            _difference(*one)
            for one in zip(
                _tuples(places, count), ours, theirs, self._x, self._y, self._ulps(), strict=True
            )
        )
        return Top(self._order, self._shape, found, self._differing, self._compared)

    def _ulps(self) -> list[float | None]:
        """Distances where both are finite, None elsewhere and for types without a last place."""
        if self._ulp_dtype is None:
            return [None] * len(self._x)
        x, y = np.array(self._x, np.float64), np.array(self._y, np.float64)
        fine = np.isfinite(x) & np.isfinite(y)
        steps = distances(np.where(fine, x, 0.0), np.where(fine, y, 0.0), self._ulp_dtype)
        pairs = zip(steps.tolist(), fine.tolist(), strict=True)
        return [float(step) if known else None for step, known in pairs]


def _difference(
    index: Index, ours: Index | None, theirs: Index | None, x: Number, y: Number, ulp: float | None
) -> Difference:
    size = _distance(x, y)
    rel = size / max(_size(x), RELATIVE_FLOOR) if math.isfinite(size) else math.inf
    return Difference(index, ours, theirs, x, y, size, rel, ulp)


def _greatest(keys: Array, count: int) -> Array:
    """Places of the `count` greatest, of equal ones the first."""
    least = np.partition(keys, keys.size - count)[keys.size - count]
    above, at_least = np.flatnonzero(keys > least), np.flatnonzero(keys == least)
    return np.sort(np.concatenate([above, at_least[: count - above.size]]))


def _size(value: Number) -> float:
    """|value|; Inf where that leaves the range of float64."""
    try:
        return float(abs(value))
    except OverflowError:  # only complex numbers
        return math.inf


def _distance(x: Number, y: Number) -> float:
    """|y - x|, exact for whole numbers; Inf where the two are not finite."""
    if isinstance(x, int) and isinstance(y, int):
        return float(abs(int(y) - int(x)))
    size = _size(y - x)
    return size if math.isfinite(size) else math.inf


def own_indices(
    subject: Subject, places: tuple[Array, ...], count: int
) -> tuple[list[Index | None], list[Index | None]]:
    """`count` places of the view (an array of indices an axis) in either record's own shape; None
    where a side has no such element.
    """
    sides = (subject.reference, subject.candidate)
    recipes = [parse_recipe(side.recipe) if side is not None else None for side in sides]
    found: list[list[Index | None]] = []
    for side, recipe, other in zip(sides, recipes, reversed(recipes), strict=True):
        if side is None or recipe is None:
            found.append([None] * count)
            continue
        shape = side.locator.shape
        try:
            found.append([*_tuples(origin(recipe, shape, places, other), count)])
        except RecipeError:  # some are of another record: one by one
            each = _tuples(places, count)
            found.append([_traced(recipe, shape, index, other) for index in each])
    return found[0], found[1]


def _traced(recipe: Recipe, shape: Shape, index: Index, other: Recipe | None) -> Index | None:
    try:
        return origin(recipe, shape, index, other)
    except RecipeError:
        return None


def _tuples(places: tuple[Array, ...], count: int) -> list[Index]:
    """An array an axis as an index an element."""
    if not places:
        return [()] * count
    return list(zip(*(np.broadcast_to(axis, count).tolist() for axis in places), strict=True))
