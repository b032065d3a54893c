"""What is wrong with a recipe, and shapes that no array can have."""

from __future__ import annotations

from math import prod

Shape = tuple[int, ...]
_MOST_AXES = 64  # numpy's own limit
_MOST_ELEMENTS = 2**60


class RecipeError(Exception):
    """A recipe that cannot be read or does not fit a shape; the message says it in words."""


def axis_of(dim: int, rank: int, step: str) -> int:
    if not -rank <= dim < rank:
        raise RecipeError(f"{step}: no axis {dim} in a tensor of {rank} axes")
    return dim % rank


def possible_shape(shape: Shape, step: str) -> Shape:
    """`shape`, unless no array can have it."""
    if len(shape) > _MOST_AXES:
        raise RecipeError(f"{step}: more than {_MOST_AXES} axes")
    if prod(max(size, 1) for size in shape) > _MOST_ELEMENTS:
        raise RecipeError(f"{step}: {list(shape)} is too large")
    return shape
