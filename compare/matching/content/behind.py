"""Pairs behind the last equal one, where a fault has changed the values.

First what is still alike: much nearer to each other than to anything else, and in order. Then,
where both captures agreed record by record up to there and go on with the same sequence of sizes
and the same repetitions of values, what stands at the same place.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from math import prod

from ..call_match import shapes_view
from ..contradictions import contradict, other_slots
from ..named_records import Item
from .equal_pairs import by_regions
from .found import ContentPair
from .layouts import Both, in_one_order
from .order import Order
from .state import Search
from .values import Entry, Near, nearest, together

_ALIKE = 0.5  # the relative distance up to which values are still alike
_MARGIN = 0.5  # the next best must be so much farther away
_SURE = 0.8  # of values that are alike, at best
_SURE_BY_ORDER = 0.5


def pair_behind(search: Search) -> None:
    """Go on behind the last pair of equal values, where the order is known."""
    order = search.order
    last = None if order is None else order.last_of(search.equal)
    if order is None or last is None:
        return
    order = _pair_alike(search, order, last)
    _pair_by_order(search, order, last)


# What is alike


def _pair_alike(search: Search, order: Order, last: tuple[int, int]) -> Order:
    """Pair what is nearest and in order; the order with those pairs."""
    rest = [
        together(entry for entry in side if entry.index > end)
        for side, end in zip((search.reference, search.candidate), last, strict=True)
    ]
    found: list[Near] = []
    for group, references in rest[0].items():
        if group[0] != "exact" and group in rest[1]:
            for near in nearest(references, rest[1][group], search.cancelled):
                if near.distance <= _ALIKE and near.distance < _MARGIN * near.second:
                    found.append(near)
    single = [
        (near.reference.entries[0].index, near.candidate.entries[0].index)
        for near in found
        if near.lone
        and order.keeps((near.reference.entries[0].index, near.candidate.entries[0].index))
    ]
    search.order = order = order.with_more(single)
    for near in found:
        for number, values in enumerate((near.reference, near.candidate)):
            search.known[number].update(entry.index for entry in values.entries)
    search.note_open_ends()
    for near in found:
        free = search.free(near.reference.entries, 0), search.free(near.candidate.entries, 1)
        if len(free[0]) != len(near.reference.entries) or len(free[1]) != len(
            near.candidate.entries
        ):
            continue
        for ours, theirs in by_regions(search, order, *free):
            search.add(_alike(ours, theirs, near.distance))
    return order


def _alike(ours: Entry, theirs: Entry, distance: float) -> ContentPair:
    recipes = in_one_order(ours.item.shape, theirs.item.shape)
    words = "much nearer to each other than to anything else, and in order"
    return ContentPair(
        ours.index, theirs.index, str(recipes[0]), str(recipes[1]), "content", words,
        round(_SURE * (1.0 - distance), 3),
    )  # fmt: skip


# What stands at the same place


def _pair_by_order(search: Search, order: Order, last: tuple[int, int]) -> None:
    """Pair what is left region by region, where both sides have the same sequence there; nothing
    where up to `last` they have not.
    """
    repeats = _Repeats.of(search)
    lefts, rights = (_left(search, order, number) for number in (0, 1))
    end = order.region(last[0], True)
    alike: list[int] = []
    for region in sorted(lefts.keys() | rights.keys()):
        if repeats.looks(lefts.get(region, ()), 0) == repeats.looks(rights.get(region, ()), 1):
            alike.append(region)
        elif region <= end:
            return
    for region in alike:
        pairs = list(zip(lefts[region], rights[region], strict=True))
        views = [_view(*pair) for pair in pairs]
        if None in views:
            continue
        for (first, second), view in zip(pairs, views, strict=True):
            assert view is not None
            words = "at the same position between pairs found by values"
            search.add(ContentPair(
                first.position, second.position, str(view[0]), str(view[1]), "order", words,
                _SURE_BY_ORDER,
            ))  # fmt: skip


def _left(search: Search, order: Order, number: int) -> dict[int, list[Item]]:
    """Items without a partner, by region."""
    found: dict[int, list[Item]] = defaultdict(list)
    left, taken = search.loose.left[number], search.taken[number]
    for item in search.loose.sides[number].items:
        if item.position in search.left_out[number]:
            continue
        if item.position in left and item.position not in taken:
            found[order.region(item.position, number == 0)].append(item)
    return found


def _view(first: Item, second: Item) -> Both | None:
    """The view of two records at the same place; None where they cannot be a pair."""
    if first.unreadable or second.unreadable or contradict(first, second):
        return None
    view = shapes_view(first.shape, second.shape, False)
    if view is None or other_slots(first, second):
        return None
    return view.reference, view.candidate


class _Repeats:
    """Which records of a side repeat others. A fault changes values, not what repeats what."""

    def __init__(self, bits: tuple[dict[int, bytes], ...], known: tuple[dict[bytes, int], ...]):
        self._bits, self._known = bits, known

    @staticmethod
    def of(search: Search) -> _Repeats:
        """Values that have a partner are called by the first of their pairs."""
        sides = search.reference, search.candidate
        bits = tuple({entry.index: entry.sketch.bits for entry in side} for side in sides)
        known: tuple[dict[bytes, int], ...] = ({}, {})
        places = [*search.loose.named, *((p.reference, p.candidate) for p in search.pairs)]
        for number, place in enumerate(sorted(places)):
            for side, index in enumerate(place):
                if index in bits[side]:
                    known[side].setdefault(bits[side][index], number)
        return _Repeats(bits, known)

    def looks(self, items: Sequence[Item], side: int) -> list[tuple[str, int, str]]:
        """What a sequence is known by: kinds, sizes and repetitions."""
        return list(self._looks(items, side))

    def _looks(self, items: Sequence[Item], side: int) -> Iterator[tuple[str, int, str]]:
        here: dict[bytes, int] = {}
        for number, item in enumerate(items):
            bits = self._bits[side].get(item.position)
            repeats = "nothing"
            if bits is not None:
                first = self._known[side].get(bits)
                if first is not None:
                    repeats = f"pair {first}"
                else:
                    repeats = f"record {here.setdefault(bits, number)}"
            yield item.kind, prod(item.shape), repeats
