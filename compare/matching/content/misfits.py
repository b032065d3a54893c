"""Pairs by name whose shapes no rule brings together: values may tell the layout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod

from ...aligned import Aligned
from ...model import Row
from ...recipes.common_view import CommonView
from ...recipes.parse import parse_recipe
from ..call_match import Match
from .axes.c_order import WORDS as C_ORDER
from .found import Content, ContentPair

_MOST = 200  # pairs that are read
_WORDS = "equal values once axes are moved"


def misfits(aligned: Aligned) -> Iterator[Row]:
    """Pairs of as many elements on both sides whose shapes do not go together."""
    for row in aligned.rows:
        records = row.reference, row.candidate
        if row.kind == "pair" and row.problem_level == "shape" and row.matched_by != "fused":
            sizes = {prod(record.shape or ()) for record in records if record is not None}
            located = all(record is not None and record.locator is not None for record in records)
            if located and len(sizes) == 1:
                yield row


def fitted(aligned: Aligned, cancelled: Callable[[], bool]) -> tuple[ContentPair, ...]:
    """Those that are equal in a layout. Reads them."""
    from .equal import distance_through, limit_of
    from .layouts import layouts
    from .sketch import sketch_of

    places = aligned.places()
    found: list[ContentPair] = []
    for tried, row in enumerate(misfits(aligned)):
        if tried >= _MOST or cancelled():
            break
        first, second = row.reference, row.candidate
        assert first is not None and second is not None
        try:
            sketches = sketch_of(first), sketch_of(second)
        except (OSError, ValueError, MemoryError):
            continue
        if sketches[0] is None or sketches[1] is None or not sketches[0].telling:
            continue
        limit = limit_of(sketches[0].coarse, sketches[1].coarse)
        for recipes in layouts(first.shape or (), second.shape or ()):
            if distance_through(first, second, recipes) <= limit:
                place = places[0][id(first)], places[1][id(second)]
                ours, theirs = (str(recipe) for recipe in recipes)
                found.append(ContentPair(*place, ours, theirs, "content", _WORDS, 0.9))
                break
    return tuple(found)


def with_layouts(matches: list[Match], content: Content) -> list[Match]:
    """The matches, those by name whose shapes did not fit in the layout that values show."""
    known = {(pair.reference, pair.candidate): pair for pair in content.pairs}
    for match in matches:
        if match.matched_by == "fused" or match.problem_level not in ("shape", None):
            continue
        pair = known.get((match.reference.position, match.candidate.position))
        if pair is not None and (match.problem_level is not None or pair.how == C_ORDER):
            recipes = parse_recipe(pair.recipe_reference), parse_recipe(pair.recipe_candidate)
            by_size = f"; {match.view.how}"  # what the sizes alone said
            match.view, match.problem, match.problem_level = CommonView(*recipes), None, None
            match.how = f"{match.how.removesuffix(by_size)}; by values: {pair.how}"
    return matches
