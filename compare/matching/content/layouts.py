"""Records whose elements stand in another order: which steps make them equal.

Only axes are moved, split and joined. What stands inside an axis is never put in another order:
permuted heads and channels are a difference to be shown. For the same reason nothing is tried where
both shapes are equal but for axes of size 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, permutations
from math import prod

from ...recipes.common_view import bare, squeezes
from ...recipes.errors import Shape
from ...recipes.recipe import Recipe
from ...recipes.steps import Permute, Reshape, Squeeze, Step, Transpose, Unsqueeze
from ..call_match import shapes_view

_MOST_AXES = 5
_MOST = 24  # layouts to try for one pair
Both = tuple[Recipe, Recipe]


def in_one_order(reference: Shape, candidate: Shape) -> Both:
    """The recipes of two records whose elements stand in the same order."""
    view = shapes_view(reference, candidate, False)
    if view is not None:
        steps = (*view.reference.steps, *view.candidate.steps)
        if all(isinstance(step, Squeeze | Unsqueeze | Reshape) for step in steps):
            return view.reference, view.candidate
    if len(reference) <= len(candidate):
        return Recipe(), Recipe((Reshape(reference),))
    return Recipe((Reshape(candidate),)), Recipe()


def layouts(reference: Shape, candidate: Shape) -> Iterator[Both]:
    """Recipes that bring two shapes of equally many elements together by moving axes."""
    left, right = bare(reference), bare(candidate)
    if left == right or prod(left) != prod(right) or max(len(left), len(right)) > _MOST_AXES:
        return
    if len(left) >= len(right):
        for steps in islice(_moved(left, right), _MOST):
            yield Recipe((*squeezes(reference), *steps)), Recipe(squeezes(candidate))
    if len(right) >= len(left):
        for steps in islice(_moved(right, left), _MOST):
            yield Recipe(squeezes(reference)), Recipe((*squeezes(candidate), *steps))


def _moved(shape: Shape, wanted: Shape) -> Iterator[tuple[Step, ...]]:
    """Axes in another order, then neighbours joined."""
    for order in islice(permutations(range(len(shape))), 1, None):
        moved = tuple(shape[axis] for axis in order)
        if not _joins(moved, wanted):
            continue
        apart = [axis for axis, place in enumerate(order) if axis != place]
        step = Transpose(*apart) if len(apart) == 2 else Permute(order)
        yield (step,) if moved == wanted else (step, Reshape(wanted))


def _joins(shape: Shape, wanted: Shape) -> bool:
    """Whether neighbouring axes of `shape` joined make `wanted`."""
    axis = 0
    for size in wanted:
        part = 1
        while axis < len(shape) and part < size:
            part *= shape[axis]
            axis += 1
        if part != size:
            return False
    return axis == len(shape)
