"""Recipes: the layout steps that bring a record into its pair's common view.

Text form, steps joined by `|`, applied left to right:

    squeeze(0) | reshape(10, 4, 16) | transpose(0, 1)
    [:, 0:64]        index_select(0, [2, 0, 1])      rearrange("t (h d) -> h t d", h=4)
    ranges(0, "0:5", "8:16")
    shift(1, 0)      concat(-1, "layers.0.k_proj-output")      add("layers.0/1")
    cast(bfloat16)

One parser, one printer: `parse_recipe(str(recipe)) == recipe`. Every step can say what shape it
makes without touching data, and, where it has one, give its inverse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .adding import Add
from .errors import RecipeError
from .steps import Cast, Concat, Shift, _sliced

if TYPE_CHECKING:
    from ...capture.values import Array
    from .errors import Shape
    from .steps import Resolver, Step


@dataclass(frozen=True, slots=True)
class Recipe:
    """A sequence of steps; empty leaves the record as it is."""

    steps: tuple[Step, ...] = ()

    def __str__(self) -> str:
        return " | ".join(map(str, self.steps))

    def shape(self, shape: Shape) -> Shape:
        """The shape that the steps make of `shape`; raises `RecipeError` where they do not fit."""
        for step in self.steps:
            shape = step.shape(shape)
        return shape

    def apply(self, array: Array, resolve: Resolver | None = None) -> Array:
        """The array in the pair's view, without copying where the steps allow it."""
        for step in self.steps:
            try:
                array = step.apply(array, resolve)
            except ValueError as error:
                raise RecipeError(f"{step}: {error}") from error
        return array

    def inverse(self, shape: Shape) -> Recipe:
        """The recipe back to a record of `shape`; raises `RecipeError` when a step has none."""
        undo: list[Step] = []
        for step in self.steps:
            undo.insert(0, step.inverse(shape))
            shape = step.shape(shape)
        return Recipe(tuple(undo))

    @property
    def layout(self) -> Recipe:
        """The steps that move elements. They may be applied to raw bits, before any `cast`, since
        rounding an element does not depend on where it stands.
        """
        return Recipe(tuple(step for step in self.steps if not isinstance(step, Cast)))

    @property
    def others(self) -> tuple[str, ...]:
        """The names of further records of the same side that steps take in."""
        found: list[str] = []
        for step in self.steps:
            if isinstance(step, Concat):
                found += step.names
            elif isinstance(step, Add):
                found.append(step.name)
        return tuple(found)

    @property
    def casts(self) -> tuple[str, ...]:
        """The dtypes that elements are rounded to, in order."""
        return tuple(step.dtype for step in self.steps if isinstance(step, Cast))


def views(
    reference: Recipe, candidate: Recipe, ref: Array, cand: Array,
    resolve_ref: Resolver | None = None, resolve_cand: Resolver | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    """Both sides in the pair's view; a shift on one side takes the other end off the other."""
    left = reference.apply(ref, resolve_ref)
    right = candidate.apply(cand, resolve_cand)
    for step in trailing_shifts(reference):
        right = right[step.cut(right.shape, -step.amount)]
    for step in trailing_shifts(candidate):
        left = left[step.cut(left.shape, -step.amount)]
    return left, right


def view_shapes(
    reference: Recipe, candidate: Recipe, ref: Shape, cand: Shape
) -> tuple[Shape, Shape]:
    """The shapes that `views` makes of two shapes. Raises `RecipeError`."""
    left, right = reference.shape(ref), candidate.shape(cand)
    for step in trailing_shifts(reference):
        right = _sliced(right, step.cut(right, -step.amount), str(step))
    for step in trailing_shifts(candidate):
        left = _sliced(left, step.cut(left, -step.amount), str(step))
    return left, right


def trailing_shifts(recipe: Recipe) -> list[Shift]:
    """The shifts of a recipe. They must be its last layout steps: the other side is cut in the
    pair's view, where steps behind a shift would have moved its axis elsewhere.
    """
    steps = recipe.layout.steps
    shifts = [step for step in steps if isinstance(step, Shift)]
    if list(steps[len(steps) - len(shifts) :]) != shifts:
        raise RecipeError("shift: must come after all other layout steps")
    return shifts
