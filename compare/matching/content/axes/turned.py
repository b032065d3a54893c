"""Heads before tokens on one side only, where there are as many of the one as of the other: the
sizes do not tell which way round the axes stand, the values do (`find_turned`). No values here.

`[batch, heads, tokens, size]` against `[batch, tokens, heads, size]`, or batch and sequence of
`[batch, tokens, features]`. Other sizes are told apart by `recipes.common_view`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import prod

from ....model import Row
from ....recipes.common_view import CommonView
from ....recipes.errors import Shape
from ....recipes.recipe import Recipe
from ....recipes.steps import Transpose
from ...call_match import Match
from ..found import Content

TURNS = re.compile(r"transpose\(|permute\(|rearrange\(")
_NUMBERS = re.compile(r"\d+")


def kind_of_row(row: Row) -> str:
    """Its label without numbers: the same in every layer."""
    return _NUMBERS.sub("N", row.label)


def may_be_turned(row: Row) -> bool:
    """Whether the two axes before the last are of one size on a side of a pair of equally many
    elements, and nothing has put them in an order.
    """
    first, second = row.reference, row.candidate
    if row.kind != "pair" or row.problem_level is not None or first is None or second is None:
        return False
    shapes = first.shape, second.shape
    if shapes[0] is None or shapes[1] is None or prod(shapes[0]) != prod(shapes[1]):
        return False
    if TURNS.search(row.recipe_reference + row.recipe_candidate):
        return False
    return first.dtype is not None and any(map(_square, shapes))


def with_turned(matches: Iterable[Match], content: Content) -> list[Match]:
    """The matches, with the axes of those that values show to be turned put in one order."""
    places = set(content.turned)
    return [
        _turn(match) if (match.reference.position, match.candidate.position) in places else match
        for match in matches
    ]


def _turn(match: Match) -> Match:
    view, first, second = match.view, match.reference, match.candidate
    if match.problem is not None or first.before.steps or second.before.steps:
        return match
    sides = turned_recipes((view.reference, view.candidate), (first.shape, second.shape))
    match.view = CommonView(*sides, how="heads moved behind tokens")
    match.how = f"{match.how}; heads moved behind tokens: by values, the sizes do not tell"
    return match


def turned_recipes(
    recipes: tuple[Recipe, Recipe], shapes: tuple[Shape, Shape]
) -> tuple[Recipe, Recipe]:  # fmt: skip
    """The recipes with the two axes of the first square side put in the other order before."""
    which = 0 if _square(shapes[0]) else 1
    last = len(shapes[which]) - 1
    turned = Recipe((Transpose(last - 2, last - 1), *recipes[which].steps))
    return (turned, recipes[1]) if which == 0 else (recipes[0], turned)


def _square(shape: Shape | None) -> bool:
    return shape is not None and len(shape) >= 3 and shape[-3] == shape[-2] > 1
