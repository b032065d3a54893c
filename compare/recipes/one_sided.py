"""A recipe for one side of a pair, and what the other side's must then be.

The built-in rules give both sides a recipe; who writes one for a single side means the other record
as it is, or as the built-in rules show it, whichever fits.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from .common_view import CommonView, common_view
from .errors import RecipeError, Shape
from .recipe import Recipe, view_shapes
from .steps import Reshape, Squeeze, Transpose, Unsqueeze


def completed(
    reference: Recipe | None, candidate: Recipe | None, built_in: CommonView,
    shapes: tuple[Shape, Shape],
) -> CommonView:  # fmt: skip
    """The recipes of both sides, of which one is given, or both, or none; `shapes` are those of
    the two records. Where nothing for the other side fits, its built-in recipe stays.
    """
    given = candidate if reference is None else reference
    if given is None:
        return built_in
    if reference is not None and candidate is not None:
        return CommonView(reference, candidate, built_in.how)
    for other in _choices(given, built_in, shapes, reference is None):
        pair = (other, given) if reference is None else (given, other)
        try:
            left, right = view_shapes(*pair, *shapes)
        except RecipeError:
            continue
        if left == right:
            return CommonView(*pair, built_in.how)
    return CommonView(
        built_in.reference if reference is None else reference,
        built_in.candidate if candidate is None else candidate, built_in.how,
    )  # fmt: skip


def _choices(
    given: Recipe, built_in: CommonView, shapes: tuple[Shape, Shape], for_reference: bool
) -> Iterator[Recipe]:
    """Recipes for the side without one: the built-in one, none, and what brings the record to the
    given side's shape.
    """
    own, other = shapes if for_reference else shapes[::-1]
    yield built_in.reference if for_reference else built_in.candidate
    yield Recipe()
    try:
        wanted = given.shape(other)
        view = common_view(own, wanted)
    except RecipeError:
        return
    if prod(own) == prod(wanted) and view is not None and _moves(view) and _in_order(built_in):
        yield Recipe((Reshape(wanted),))
    if view is not None and not view.candidate.steps:
        yield view.reference


def _moves(view: CommonView) -> bool:
    return any(isinstance(step, Transpose) for step in view.reference.steps)


def _in_order(built_in: CommonView) -> bool:
    """Whether the built-in recipes say that both sides have their elements in one order."""
    steps = (*built_in.reference.steps, *built_in.candidate.steps)
    return bool(steps) and all(isinstance(step, Reshape | Squeeze | Unsqueeze) for step in steps)
