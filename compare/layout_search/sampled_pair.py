"""A pair's values at sampled places of its view, whatever the recipes.

Small views are looked at whole, large ones in small boxes spread over all of it, a third of them
where the reference varies most. Recipes are walked backwards from there, so that of a record of
gigabytes only these places are read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from ...capture.values import Array
from ..matching.named_records import kind_of
from ..measuring.blocks import Source
from ..measuring.pair_reader import (
    CancelledError,
    Opened,
    PairReader,
    PairTask,
    SideName,
    SideTask,
    blaming,
    numbers,
    open_source,
)
from ..recipes.element_source import Index, origin, ravel, unravel
from ..recipes.errors import RecipeError, Shape
from ..recipes.recipe import Recipe, views
from ..recipes.steps import Shift

SAMPLE = 1 << 15  # elements of a view that are looked at; smaller views are looked at whole
_WHOLE = 1 << 22  # elements of a record that is read whole; of greater ones only the sample is
_BOX = 256  # elements of a box
_LINE = 64  # of them along the last axis, where there are as many
_MORE = 2  # boxes to choose from, for each that is taken
_MOST_MORE = 32  # the same where the reference seems to be constant

Stop = Callable[[], bool] | None
Recipes = tuple[Recipe, Recipe]


def reals(values: Array) -> Array:
    """Numbers as float64; complex ones as pairs of them along the last axis."""
    if values.dtype.kind == "c":
        return np.ascontiguousarray(values, np.complex128).view(np.float64)
    return values.astype(np.float64)


def constant(values: Array) -> bool:
    """True when all finite values are the same one."""
    finite = values[np.isfinite(values)]
    return bool(finite.size == 0 or (finite == finite[0]).all())


@dataclass(slots=True)
class SideValues:
    """The elements of one side, by their index in the record."""

    name: SideName
    task: SideTask
    source: Source
    array: Array | None = None  # None where the file is read in parts
    shown: Array | None = None

    @property
    def shape(self) -> Shape:
        return self.task.locator.shape

    def open(self, partial: bool) -> None:
        self.shown = open_source(self.name, self.task, self.source, partial)
        if not self.source.in_parts:
            self.array = self.source.array
        elif self.task.locator.count <= _WHOLE:
            with blaming(self.name, self.task):
                self.array = self.source.load()

    def at(self, recipe: Recipe, index: Index, other: Recipe) -> Array:
        """The numbers at places of the view that `recipe` makes: `index` has one flat array of
        whole numbers an axis. `other` is the other side's recipe.
        """
        count = index[0].size if index else 1
        found = tuple(
            np.broadcast_to(axis, count) for axis in origin(recipe, self.shape, index, other)
        )
        if self.array is not None:
            raw = self.array[found] if found else np.full(count, self.array)
        else:
            with blaming(self.name, self.task):
                raw = self.source.pick(self._places(found))
        return numbers(raw, self.task.locator.dtype, recipe.casts)

    def _places(self, index: Index) -> Array:
        """Where elements lie in the file, in elements from the record's first."""
        steps = self.task.locator.strides
        if steps is None:
            return ravel(index, self.shape)
        return np.add.reduce([axis * step for axis, step in zip(index, steps, strict=True)])


@dataclass(frozen=True, slots=True)
class Sample:
    """Places of a view (one flat array of whole numbers an axis) and the reference's numbers."""

    index: Index
    reference: Array


class SampledPair(Opened):
    """Both sides of a pair, opened, and the samples taken so far. Use it as a context manager."""

    def __init__(self, task: PairTask, cancelled: Stop) -> None:
        self.task = task
        self.left = SideValues("reference", task.reference, Source(task.reference.locator))
        self.right = SideValues("candidate", task.candidate, Source(task.candidate.locator))
        self._cancelled = cancelled
        self._samples: dict[tuple[str, tuple[Shift, ...], Shape], Sample] = {}

    def _open(self) -> None:
        partial = any(side.task.partial for side in (self.left, self.right))
        for side in (self.left, self.right):
            self.check_stop()
            side.open(partial)

    def _close(self) -> None:
        for side in (self.left, self.right):
            side.array = None
            side.source.__exit__()

    def check_stop(self) -> None:
        """Raises `CancelledError`."""
        if self._cancelled is not None and self._cancelled():
            raise CancelledError

    def check_kinds(self, recipes: Recipes) -> None:
        """Raises `RecipeError` for numbers that are not compared with one another."""
        dtypes = [
            (side.task.dtype, *recipe.casts)[-1]
            for side, recipe in zip((self.left, self.right), recipes, strict=True)
        ]
        if kind_of(dtypes[0]) != kind_of(dtypes[1]):
            words = f"dtypes {dtypes[0]} and {dtypes[1]} cannot be compared: a cast is needed"
            raise RecipeError(words)

    def sample(self, recipes: Recipes, shape: Shape) -> Sample:
        """Where to look in a view of `shape`, and what the reference has there. Proposals that
        leave the reference alike get the same places.
        """
        if self.left.shown is not None:
            return self._shown_by_both(recipes)
        key = (str(recipes[0]), _shifts_of(recipes[1]), shape)
        if key not in self._samples:
            self._samples[key] = self._taken(recipes, shape)
        return self._samples[key]

    def candidate(self, recipes: Recipes, sample: Sample) -> Array:
        """What the candidate has there."""
        self.check_stop()
        values = self.right.at(recipes[1], sample.index, recipes[0])
        return values[: sample.reference.size]  # a place without axes is one element, always

    def _taken(self, recipes: Recipes, shape: Shape) -> Sample:
        self.check_stop()
        count = prod(shape)
        if count <= SAMPLE:
            index = unravel(np.arange(count), shape)
            return Sample(index, self.left.at(recipes[0], index, recipes[1]))
        wanted = SAMPLE // _BOX
        for more in (_MORE, _MOST_MORE):
            boxes = _boxes(shape, wanted * more)
            index = tuple(axis.reshape(-1) for axis in boxes)
            values = self.left.at(recipes[0], index, recipes[1])
            self.check_stop()
            if not constant(values):
                break
        chosen = _chosen(_energy(values, len(boxes[0])), wanted)
        kept = (axis[chosen].reshape(-1) for axis in boxes)
        return Sample(tuple(kept), values.reshape(len(boxes[0]), -1)[chosen].reshape(-1))

    def _shown_by_both(self, recipes: Recipes) -> Sample:
        """Dumps of some elements: those that both have."""
        assert self.left.shown is not None and self.right.shown is not None
        layouts = recipes[0].layout, recipes[1].layout
        shown = np.logical_and(*views(*layouts, self.left.shown, self.right.shown))
        found = np.flatnonzero(shown)
        if found.size > SAMPLE:
            found = found[np.linspace(0, found.size - 1, SAMPLE).astype(np.int64)]
        index = unravel(found, shown.shape)
        return Sample(index, self.left.at(recipes[0], index, recipes[1])[: found.size])

    def joined(self, reference: str, candidate: str) -> tuple[Array, Array, int]:
        """All numbers of both sides for recipes that join records. Raises `RecipeError`."""
        sides = [
            replace(self.left.task, recipe=reference),
            replace(self.right.task, recipe=candidate),
        ]
        places = [place for side in sides for place in (side.locator, *dict(side.others).values())]
        most = max(place.count for place in places)
        if most > _WHOLE:
            raise RecipeError(f"not tried: joins records of up to {most} elements")
        with PairReader(*sides) as reader:
            parts = [
                (block.x[block.shown], block.y[block.shown]) if block.shown is not None
                else (block.x.reshape(-1), block.y.reshape(-1))
                for block in reader.blocks(cancelled=self._cancelled)
                if block.x is not None and block.y is not None
            ]  # fmt: skip
            count = prod(reader.shape)
        if not parts:
            return np.empty(0), np.empty(0), count
        x, y = (np.concatenate(side) for side in zip(*parts, strict=True))
        return x, y, count


def _shifts_of(recipe: Recipe) -> tuple[Shift, ...]:
    return tuple(step for step in recipe.steps if isinstance(step, Shift))


def _boxes(shape: Shape, count: int) -> Index:
    """`count` boxes of about `_BOX` elements, spread over a view: one index array an axis, of shape
    `[count, elements of a box]`. Always the same ones.
    """
    extents, left = [1] * len(shape), _BOX
    for most in (_LINE, _BOX):
        for axis in range(len(shape) - 1, -1, -1):
            extents[axis] = min(shape[axis], most, extents[axis] * left)
            left = _BOX // prod(extents)
    total = prod(shape)
    drawn = np.random.default_rng(0).random(count)
    starts = ((np.arange(count) + drawn) * (total / count)).astype(np.int64)
    corner = unravel(np.minimum(starts, total - 1), shape)
    inside = unravel(np.arange(prod(extents)), tuple(extents))
    return tuple(
        np.minimum(first, size - extent)[:, None] + step[None, :]
        for first, size, extent, step in zip(corner, shape, extents, inside, strict=True)
    )


def _energy(values: Array, boxes: int) -> Array:
    """How much the values of each box differ from what is usual."""
    rows = reals(values).reshape(boxes, -1)
    finite = np.isfinite(rows)
    rows = np.where(finite, rows, 0.0)
    size = np.abs(rows).max(initial=0.0)
    if size == 0:
        return np.zeros(boxes)
    rows = rows / size
    return np.square(rows - np.median(rows)).sum(axis=1)


def _chosen(energy: Array, count: int) -> Array:
    """Which boxes to take: two of three evenly, the others where the values vary most."""
    even = np.linspace(0, len(energy) - 1, count * 2 // 3).astype(np.int64)
    rest = np.setdiff1d(np.argsort(-energy, kind="stable"), even, assume_unique=False)
    most = rest[np.argsort(-energy[rest], kind="stable")][: count - len(even)]
    return np.sort(np.concatenate([even, most]))
