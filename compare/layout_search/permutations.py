"""Orders that no list of recipes could name, found by comparing slices: heads shuffled at will."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from ...capture.values import Array
from ..recipes.element_source import Index, ravel, unravel
from ..recipes.errors import RecipeError, Shape
from ..recipes.parse import parse_recipe
from ..recipes.recipe import Recipe, view_shapes
from ..recipes.steps import IndexSelect, Reshape, Shift, Step
from .candidates import AS_IT_IS, Proposal
from .hints import Hints, head_counts
from .sampled_pair import Recipes, SampledPair, reals

_MOST_ORDER = 256  # indices of an axis whose order is looked for
_POINTS = 512  # elements of each of them that are compared
_LEAST_POINTS = 8  # with fewer, any two sets of numbers can be put in a like order
_CLEARLY = 0.1  # an order is proposed when it leaves at most this share of the squared error
_LISTED = 8  # indices named in a title


def orders(pair: SampledPair, ground: Proposal, hints: Hints) -> list[Proposal]:
    """Proposals that put the heads, or the indices of another axis, of the candidate into the
    reference's order.
    """
    recipes = parse_recipe(ground.reference), parse_recipe(ground.candidate)
    try:
        pair.check_kinds(recipes)
        shape, other = view_shapes(*recipes, pair.left.shape, pair.right.shape)
    except RecipeError:
        return []
    moves = any(isinstance(step, Shift) for step in recipes[1].steps)  # must stand last
    if shape != other or prod(shape) == 0 or pair.left.shown is not None or moves:
        return []
    found: list[Proposal] = []
    for words, parts, axis in _axes_in_parts(shape, hints, pair):
        pair.check_stop()
        order = _order(pair, recipes, shape, parts, axis)
        if order is None:
            continue
        steps: tuple[Step, ...] = (IndexSelect(axis, order),)
        if parts != shape:
            steps = (Reshape(parts), *steps, Reshape(shape))
        listed = ", ".join(map(str, order[:_LISTED])) + (", ..." if len(order) > _LISTED else "")
        title = f"{words} in the order {listed}"
        if ground.title != AS_IT_IS:
            title = f"{ground.title}, {title}"
        candidate = str(Recipe((*recipes[1].steps, *steps)))
        found.append(Proposal(title, ground.reference, candidate))
    return found


def _axes_in_parts(
    shape: Shape, hints: Hints, pair: SampledPair
) -> Iterator[tuple[str, Shape, int]]:
    """Shapes to look at a view in, and the axis whose order may be another."""
    for axis, size in enumerate(shape):
        if 2 <= size <= _MOST_ORDER:
            yield f"axis {axis}", shape, axis
    if not shape:
        return
    for heads in head_counts(shape[-1], hints, pair.left.shape, pair.right.shape):
        if heads <= _MOST_ORDER:
            parts = (*shape[:-1], heads, shape[-1] // heads)
            yield f"{heads} heads", parts, len(shape) - 1


def _order(
    pair: SampledPair, recipes: Recipes, shape: Shape, parts: Shape, axis: int
) -> tuple[int, ...] | None:
    """For each index of `axis` of the view (seen as `parts`) in the reference, the index of the
    candidate that is most like it; None where that is no better than the order they have.
    """
    size = parts[axis]
    if prod(parts) < _LEAST_POINTS * size:
        return None
    index = _slices(parts, axis)
    view = index if parts == shape else unravel(ravel(index, parts), shape)
    flat = tuple(axis_index.reshape(-1) for axis_index in view)
    x = pair.left.at(recipes[0], flat, recipes[1])
    y = pair.right.at(recipes[1], flat, recipes[0])
    left, right = (_finite_rows(side, size) for side in (x, y))
    largest = max(np.abs(left).max(initial=0.0), np.abs(right).max(initial=0.0))
    if largest == 0:
        return None
    left, right = left / largest, right / largest
    far = np.square(left).sum(1)[:, None] + np.square(right).sum(1)[None, :]
    error = np.maximum(far - 2 * (left @ right.T), 0.0)
    order = _assigned(error, 1e-12 * float(far.max()))
    now, then = float(np.trace(error)), float(error[np.arange(size), order].sum())
    if (order == np.arange(size)).all() or then > _CLEARLY * now:
        return None
    return tuple(order.tolist())


def _slices(shape: Shape, axis: int) -> Index:
    """The same places in every index of `axis`: index arrays of shape `[shape[axis], places]`."""
    inner = len(shape) - 1 if axis != len(shape) - 1 else None
    width = 1 if inner is None else min(shape[inner], 32)
    outer = [at for at in range(len(shape)) if at not in (axis, inner)]
    rows = prod(shape[at] for at in outer)
    wanted = min(rows, max(1, _POINTS // width))
    lines = np.linspace(0, rows - 1, wanted).astype(np.int64)
    places: dict[int, Array] = {}
    for at, row in zip(outer, unravel(lines, tuple(shape[at] for at in outer)), strict=True):
        places[at] = np.repeat(row, width)
    if inner is not None:
        columns = np.linspace(0, shape[inner] - 1, width).astype(np.int64)
        places[inner] = np.tile(columns, wanted)
    count = wanted * width
    return tuple(
        np.broadcast_to(
            np.arange(size)[:, None] if at == axis else places[at][None, :], (shape[axis], count)
        )
        for at, size in enumerate(shape)
    )


def _finite_rows(values: Array, rows: int) -> Array:
    found = reals(values).reshape(rows, -1)
    return np.where(np.isfinite(found), found, 0.0)


def _assigned(error: Array, equal: float) -> Array:
    """A partner for every row, the most alike first; of equally good ones (within `equal`) the one
    that stays where it is.
    """
    size = len(error)
    away = np.abs(np.arange(size)[:, None] - np.arange(size)[None, :])
    ranked = np.lexsort((away.reshape(-1), np.round(error.reshape(-1) / max(equal, 1e-300))))
    order = np.full(size, -1)
    taken = np.zeros(size, np.bool_)
    open_rows = size
    for at in ranked.tolist():
        row, column = divmod(at, size)
        if order[row] < 0 and not taken[column]:
            order[row], taken[column] = column, True
            open_rows -= 1
            if open_rows == 0:
                break
    return order
