"""What records and recipes say of a scene before anything is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...compare.comparison import Comparison
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


def guess_heads(comparison: Comparison | None) -> int | None:
    """How many heads the model has, where a record of queries has them on an axis of their own."""
    from ...compare.matching.names.roles import query_heads_axis

    for row in comparison.rows if comparison is not None else ():
        axis = query_heads_axis(row.canonical)
        if axis is None or row.role != "output":
            continue
        for record in (row.reference, row.candidate):
            shape = record.shape if record is not None else None
            if shape is not None and len(shape) == 4:
                return shape[axis]
    return None
