"""Pairs by values, as the alignment makes them."""

from __future__ import annotations

from collections.abc import Iterator

from ...recipes.common_view import CommonView
from ...recipes.parse import parse_recipe
from ..call_match import Match, join
from ..named_records import Side
from .found import Content


def content_matches(ref: Side, cand: Side, content: Content) -> Iterator[Match]:
    """Matches of what was found, of records that have no partner by now."""
    ours = {item.position: item for item in ref.items}
    theirs = {item.position: item for item in cand.items}
    used: set[int] = set()
    for pair in content.pairs:
        first, second = ours.get(pair.reference), theirs.get(pair.candidate)
        if first is None or second is None:
            continue
        view = CommonView(parse_recipe(pair.recipe_reference), parse_recipe(pair.recipe_candidate))
        if any(item.matches and id(item) not in used for item in (first, second)):
            continue
        used |= {id(first), id(second)}
        how = f"by values: {pair.how}" if pair.by == "content" else f"by order: {pair.how}"
        match = join(first, second, view, pair.by, how)
        match.sure = pair.sure
        if pair.part == "candidate":
            match.part = second
        yield match


def without_refused(matches: list[Match], content: Content) -> list[Match]:
    """The matches without those by place of two records that are not the same by their values."""
    left = [frozenset(places) for places in content.left]
    kept: list[Match] = []
    for match in matches:
        first, second = match.reference, match.candidate
        if (
            match.matched_by == "order" and match.sure is None and first.module != second.module
            and first.position in left[0] and second.position in left[1]
        ):  # fmt: skip
            first.matches -= 1
            second.matches -= 1
        else:
            kept.append(match)
    return kept
