"""Which pairs stand the other way round on one side, by their values."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable

from ....aligned import Aligned
from ....measuring.pair_reader import CancelledError
from ....model import Row
from ....recipes.parse import parse_recipe
from ..equal import MARGIN, distance_through, limit_of
from .turned import kind_of_row, may_be_turned, turned_recipes

_MOST_LAYERS = 8  # of a kind that are read, the first of them
_LIKE = 0.7  # relative L2 from which on values have nothing in common
_LETTER = re.compile(r"(?<![a-z])[qkv](?=_)")


def find_turned(
    aligned: Aligned, cancelled: Callable[[], bool] = lambda: False
) -> tuple[tuple[int, int], ...]:  # fmt: skip
    """The places, in both captures, of pairs whose axes stand the other way round on one side: of
    all layers alike. Reads records; raises `CancelledError`.
    """
    kinds: dict[str, list[Row]] = defaultdict(list)
    families: dict[str, set[bool]] = defaultdict(set)  # of queries, keys and values together
    for row in aligned.rows:
        if may_be_turned(row):
            kinds[kind_of_row(row)].append(row)
        elif row.kind == "pair" and "transpose(" in row.recipe_reference + row.recipe_candidate:
            families[_family(kind_of_row(row))].add(True)
    said: dict[str, bool | None] = {}
    for kind, rows in kinds.items():
        said[kind] = found = _said(rows, cancelled)
        if found is not None:
            families[_family(kind)].add(found)
    turned = [
        row
        for kind, rows in kinds.items()
        if said[kind] or (said[kind] is None and families[_family(kind)] == {True})
        for row in rows
    ]
    ours, theirs = aligned.places()
    return tuple((ours[id(row.reference)], theirs[id(row.candidate)]) for row in turned)


def _family(kind: str) -> str:
    return _LETTER.sub("?", kind)


def _said(rows: list[Row], cancelled: Callable[[], bool]) -> bool | None:
    """Whether the pairs of a kind are turned; None where their values do not say. One that is not
    is enough: a layer that has the axes the other way round than the rest is wrong.
    """
    turned: bool | None = None
    for row in rows[:_MOST_LAYERS]:
        if cancelled():
            raise CancelledError
        found = _row_said(row)
        if found is False:
            return False
        turned = turned or found
    return turned


def _row_said(row: Row) -> bool | None:
    first, second = row.reference, row.candidate
    assert first is not None and second is not None
    recipes = parse_recipe(row.recipe_reference), parse_recipe(row.recipe_candidate)
    straight = distance_through(first, second, recipes)
    coarse = [record.dtype != "float32" for record in (first, second)]
    if straight <= limit_of(*coarse):
        return False
    shapes = first.shape or (), second.shape or ()
    turned = distance_through(first, second, turned_recipes(recipes, shapes))
    if turned <= MARGIN * straight and turned < _LIKE:
        return True
    return False if straight <= MARGIN * turned and straight < _LIKE else None
