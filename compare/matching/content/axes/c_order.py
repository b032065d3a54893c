"""Pairs whose axes a rule moves by their sizes, though their elements are in the same order as
they stand: `[2, 10, 64]` against `[10, 2, 64]` is a transpose or a plain reshape, and values tell.

Only where all pairs with these numbers of axes say so: one kind of record that alone has its
elements in another order than the rest is a mistake to be shown (a view instead of a transpose).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from math import prod

from ....aligned import Aligned
from ....model import Row
from ....recipes.common_view import bare
from ....recipes.parse import parse_recipe
from ..found import ContentPair
from ..layouts import in_one_order
from .turned import TURNS, kind_of_row

_MOST_LAYERS = 4  # of a kind that are read, the first of them
WORDS = "elements in C order, no axes moved"


def moved_by_size(aligned: Aligned) -> Iterator[Row]:
    """Pairs by name of equally many elements whose axes are moved because of their sizes."""
    for row in aligned.rows:
        first, second = row.reference, row.candidate
        if row.kind != "pair" or row.problem_level is not None or row.matched_by != "name":
            continue
        if first is None or second is None or first.locator is None or second.locator is None:
            continue
        left, right = first.shape or (), second.shape or ()
        moved = TURNS.search(row.recipe_reference + row.recipe_candidate) is not None
        if moved and prod(left) == prod(right) and bare(left) != bare(right):
            yield row


def in_c_order(aligned: Aligned, cancelled: Callable[[], bool]) -> tuple[ContentPair, ...]:
    """Those that are equal as they are and not with their axes moved. Reads records; raises
    `CancelledError`.
    """
    groups: dict[tuple[int, int], list[Row]] = defaultdict(list)
    for row in moved_by_size(aligned):
        assert row.reference is not None and row.candidate is not None
        axes = len(row.reference.shape or ()), len(row.candidate.shape or ())
        groups[axes].append(row)
    places = aligned.places()
    found: list[ContentPair] = []
    for rows in groups.values():
        if not _all_say_so(rows, cancelled):
            continue
        for row in rows:
            assert row.reference is not None and row.candidate is not None
            place = places[0][id(row.reference)], places[1][id(row.candidate)]
            recipes = in_one_order(row.reference.shape or (), row.candidate.shape or ())
            ours, theirs = (str(recipe) for recipe in recipes)
            found.append(ContentPair(*place, ours, theirs, "content", WORDS, 0.9))
    return tuple(found)


def _all_say_so(rows: list[Row], cancelled: Callable[[], bool]) -> bool:
    """Whether some pairs are equal in C order, and none is so with its axes moved."""
    from ....measuring.pair_reader import CancelledError

    kinds: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        kinds[kind_of_row(row)].append(row)
    says_so = False
    for same in kinds.values():
        if cancelled():
            raise CancelledError
        for row in same[:_MOST_LAYERS]:
            found = _says(row)
            if found is False:
                return False
            says_so = says_so or found is True
    return says_so


def _says(row: Row) -> bool | None:
    """Whether a pair is equal in C order; None where it is equal in neither order."""
    from ..equal import distance_through, limit_of

    first, second = row.reference, row.candidate
    assert first is not None and second is not None
    limit = limit_of(*(record.dtype != "float32" for record in (first, second)))
    moved = parse_recipe(row.recipe_reference), parse_recipe(row.recipe_candidate)
    if distance_through(first, second, moved) <= limit:
        return False
    plain = in_one_order(first.shape or (), second.shape or ())
    return True if distance_through(first, second, plain) <= limit else None
