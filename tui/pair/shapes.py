"""What records and recipes say of a scene before anything is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...compare.inspection.subject import Subject
    from ..scene import Scene


def subject_of(scene: Scene | None) -> Subject | None:
    """What there is to read; None where there is nothing."""
    from ...compare.inspection.subject import NothingToInspectError

    try:
        return scene.subject() if scene is not None else None
    except NothingToInspectError:
        return None


def shape_of(scene: Scene) -> tuple[int, ...] | None:
    """The shape of a scene that is not measured; None where recipes or records do not say."""
    from ...compare.recipes.errors import RecipeError
    from ...compare.recipes.parse import parse_recipe
    from ...compare.recipes.recipe import view_shapes

    row = scene.row
    left, right = row.reference, row.candidate
    try:
        recipes = parse_recipe(row.recipe_reference), parse_recipe(row.recipe_candidate)
        if left is not None and right is not None:
            if left.shape is None or right.shape is None:
                return None
            ours, theirs = view_shapes(*recipes, left.shape, right.shape)
            return ours if ours == theirs else None
        record, recipe = (left, recipes[0]) if left is not None else (right, recipes[1])
        if record is None or record.shape is None:
            return None
        return recipe.shape(record.shape)
    except RecipeError:
        return None


def element_at(
    scene: Scene, shape: tuple[int, ...] | None, axis: int, place: int
) -> tuple[int, ...] | None:
    """An element at a place of an axis: that of the greatest difference moved there, else the
    first; None for a shape that is not known, or has no elements.
    """
    if shape is None or 0 in shape:
        return None
    known = scene.numbers.max_abs_index if scene.numbers is not None else None
    index = list(known or (0,) * len(shape))
    index[axis] = min(place, shape[axis] - 1)
    return tuple(index)
