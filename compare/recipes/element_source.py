"""Where elements of a pair's view come from: a recipe walked backwards.

No data is touched, so that places in a view of gigabytes can be told in the record's own shape. An
index has whole numbers, one an axis, or for many elements at once arrays of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .adding import Add
from .errors import RecipeError, Shape
from .ranges import Ranges
from .rearrange import Rearrange
from .recipe import Recipe, trailing_shifts
from .steps import (
    Cast,
    Concat,
    Flip,
    IndexSelect,
    Permute,
    Reshape,
    Roll,
    Select,
    Shift,
    Slice,
    Squeeze,
    Step,
    Transpose,
    Unsqueeze,
)

Index = tuple[Any, ...]  # of int, or of arrays of int64 of one shape


def origin(recipe: Recipe, shape: Shape, index: Index, other: Recipe | None = None) -> Index:
    """The index in a record of `shape` that is at `index` of the view that `recipe` makes.

    `other` is the other side's recipe, whose shifts cut this side too. Raises `RecipeError` where
    the element comes from another record (`concat`).
    """
    shapes = [shape]
    steps = recipe.layout.steps
    for step in steps[:-1]:
        shapes.append(step.shape(shapes[-1]))
    for shift in reversed(trailing_shifts(other) if other is not None else []):
        index = _moved(index, shift.dim, max(-shift.amount, 0))
    for step, before in zip(reversed(steps), reversed(shapes), strict=False):
        index = _BACK[type(step)](step, before, index)
    return index


def unravel(position: Any, shape: Shape) -> Index:
    """The index of a flat position in C order."""
    index: list[Any] = []
    for size in reversed(shape):
        position, rest = divmod(position, size)
        index.append(rest)
    return tuple(reversed(index))


def ravel(index: Index, shape: Shape) -> Any:
    """The flat position of an index in C order."""
    position = 0
    for at, size in zip(index, shape, strict=True):
        position = position * size + at
    return position


def _moved(index: Index, dim: int, by: int) -> Index:
    axis = dim % len(index)
    return (*index[:axis], index[axis] + by, *index[axis + 1 :])


def _squeeze(step: Squeeze, before: Shape, index: Index) -> Index:
    axis = step.dim % len(before)
    return (*index[:axis], 0, *index[axis:])


def _unsqueeze(step: Unsqueeze, before: Shape, index: Index) -> Index:
    axis = step.dim % (len(before) + 1)
    return (*index[:axis], *index[axis + 1 :])


def _reshape(step: Reshape, before: Shape, index: Index) -> Index:
    return unravel(ravel(index, step.shape(before)), before)


def _permute(step: Transpose | Permute, before: Shape, index: Index) -> Index:
    order = step.order(len(before))
    return tuple(index[order.index(axis)] for axis in range(len(before)))


def _flip(step: Flip, before: Shape, index: Index) -> Index:
    axis = step.dim % len(before)
    return (*index[:axis], before[axis] - 1 - index[axis], *index[axis + 1 :])


def _roll(step: Roll, before: Shape, index: Index) -> Index:
    axis = step.dim % len(before)
    return (*index[:axis], (index[axis] - step.amount) % before[axis], *index[axis + 1 :])


def _shift(step: Shift, before: Shape, index: Index) -> Index:
    return _moved(index, step.dim, max(step.amount, 0))


def _select(step: Select, before: Shape, index: Index) -> Index:
    axis = step.dim % len(before)
    return (*index[:axis], step.index % before[axis], *index[axis:])


def _slice(step: Slice, before: Shape, index: Index) -> Index:
    rest = iter(index)
    found: list[Any] = []
    for size, entry in zip(before, step.key(), strict=False):
        if isinstance(entry, slice):
            start, _, by = entry.indices(size)
            found.append(start + by * next(rest))
        else:
            found.append(entry % size)
    return (*found, *rest)


def _index_select(step: IndexSelect, before: Shape, index: Index) -> Index:
    axis = step.dim % len(before)
    at = _looked_up(step.indices, index[axis]) % before[axis]
    return (*index[:axis], at, *index[axis + 1 :])


def _looked_up(indices: tuple[int, ...], at: Any) -> Any:
    if isinstance(at, int):
        return indices[at]
    import numpy as np

    return np.array(indices, np.int64)[at]


def _ranges(step: Ranges, before: Shape, index: Index) -> Index:
    axis = step.dim % len(before)
    at = index[axis]
    if isinstance(at, int):
        place: Any = step.place(at)
    else:
        import numpy as np

        place = np.concatenate([np.arange(*part) for part in step.parts])[at]
    return (*index[:axis], place, *index[axis + 1 :])


def _concat(step: Concat, before: Shape, index: Index) -> Index:
    axis = step.dim % len(before)
    foreign = index[axis] >= before[axis]
    if foreign if isinstance(foreign, bool) else foreign.any():
        raise RecipeError(f"{step}: this element comes from another record")
    return index


def _rearrange(step: Rearrange, before: Shape, index: Index) -> Index:
    left, right = step.sides()
    sizes = step.axes(before)
    at: dict[str, int] = {}
    for group, position in zip(right, index, strict=True):
        names = [name for name in group if name != "1"]
        at.update(zip(names, unravel(position, tuple(sizes[n] for n in names)), strict=True))
    found: list[Any] = []
    for group in left:
        names = [name for name in group if name != "1"]
        found.append(ravel(tuple(at[n] for n in names), tuple(sizes[n] for n in names)))
    return tuple(found)


def _same(step: Cast | Add, before: Shape, index: Index) -> Index:
    return index


_BACK: dict[type[Step], Callable[[Any, Shape, Index], Index]] = {
    Squeeze: _squeeze, Unsqueeze: _unsqueeze, Reshape: _reshape, Transpose: _permute,
    Permute: _permute, Flip: _flip, Roll: _roll, Shift: _shift, Select: _select, Slice: _slice,
    IndexSelect: _index_select, Ranges: _ranges, Concat: _concat, Rearrange: _rearrange,
    Cast: _same, Add: _same,
}  # fmt: skip
