"""Which recipes can be tried on a scene, and what is wrong with those that cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..present.text import shape_text
from ..scene import Scene, Trial

if TYPE_CHECKING:
    from ...capture.records import Record
    from ...compare.layout_search.ranking import Proposal


def proposals_of(scene: Scene) -> list[Proposal]:
    """Likely recipes of a pair, by its shapes; none where there is nothing to read."""
    from ...compare.layout_search.ranking import prepare, propose

    row, aligned = scene.row, scene.aligned
    left, right = row.reference, row.candidate
    if left is None or right is None or left.locator is None or right.locator is None:
        return []
    _, hints = prepare(scene.comparison, row)
    return propose(
        left.locator.shape, right.locator.shape, aligned.recipe_reference,
        aligned.recipe_candidate, hints,
    )  # fmt: skip


def trial_with(scene: Scene, record: Record) -> tuple[Trial, bool]:
    """The record of a gap against any of the other side, with recipes that bring both into one
    shape where there are some; and whether there are.
    """
    from ...compare.recipes.common_view import common_view

    row = scene.aligned
    own = row.reference or row.candidate
    view = None
    if own is not None and own.shape is not None and record.shape is not None:
        pair = (own.shape, record.shape)
        view = common_view(*(pair if row.reference is not None else reversed(pair)))
    left, right = ("", "") if view is None else (str(view.reference), str(view.candidate))
    return Trial(left, right, record), view is not None


def problem_of(scene: Scene, trial: Trial) -> str | None:
    """What is wrong with recipes, in words, with both shapes; None when they fit."""
    from ...compare.recipes.errors import RecipeError
    from ...compare.recipes.parse import parse_recipe
    from ...compare.recipes.recipe import view_shapes

    row = Scene(scene.comparison, scene.index, trial).row
    sides = (row.reference, row.candidate)
    shapes = [record.shape if record is not None else None for record in sides]
    try:
        recipes = parse_recipe(trial.reference), parse_recipe(trial.candidate)
        if "concat(" in f"{trial.reference}{trial.candidate}":
            return None  # its shape shows when it is measured
        if shapes[0] is None or shapes[1] is None:
            for recipe, shape in zip(recipes, shapes, strict=True):
                if shape is not None:
                    recipe.shape(shape)
            return None
        ours, theirs = view_shapes(*recipes, shapes[0], shapes[1])
    except RecipeError as error:
        return str(error)
    if ours != theirs:
        return f"shapes differ: reference {list(ours)}, candidate {list(theirs)}"
    return None


def shape_after(record: Record, text: str) -> str:
    """The shape that a recipe gives; `?` where it does not fit."""
    from ...compare.recipes.errors import RecipeError
    from ...compare.recipes.parse import parse_recipe

    try:
        return shape_text(parse_recipe(text).shape(record.shape or ()))
    except RecipeError:
        return "?"
