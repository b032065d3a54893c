"""Pairs of records with equal values, and which of several equal ones belongs to which."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from ..contradictions import contradict, contradict_layers, other_slots
from ..names.canonical import layer_number
from .equal import MARGIN, limit_of
from .found import ContentOffer, ContentPair
from .layouts import in_one_order
from .order import Order, order_of
from .outputs_only import without_inputs
from .state import Search
from .values import Entry, Near, Values, nearest, together

_SUREST = 0.99
_MOST_ODD = 0.05  # share of a side's records that the other may not have, for places to tell
_BY_PLACE = 0.9  # as sure as this, of what the place alone tells apart from equal values


def find_equal(search: Search) -> list[Near]:
    """Values that are equal on both sides; those of which there is one record a side are paired."""
    found = without_inputs(search, list(_equal_values(search)))
    for near in found:
        for number, values in enumerate((near.reference, near.candidate)):
            search.known[number].update(entry.index for entry in values.entries)
        if near.lone:
            ours, theirs = near.reference.entries[0], near.candidate.entries[0]
            _take(search, near, ours, theirs, False)
    return found


def tell_apart(search: Search, found: list[Near]) -> None:
    """Pair records of which several have equal values, as far as the others' order tells them
    apart; say what is paired otherwise by name.
    """
    places = [*search.equal, *search.loose.named]
    search.order = order_of(places, search.loose.order_known)
    search.note_open_ends()
    whole = min(search.odd(0), search.odd(1)) <= _MOST_ODD
    for near in found:
        if not near.lone:
            told = list(_told_apart(search, near, whole)) or _the_output(near)
            for ours, theirs in told:
                if (ours.index, theirs.index) not in search.equal:
                    _take(search, near, ours, theirs, True)
        _offer(search, near)


def _take(search: Search, near: Near, ours: Entry, theirs: Entry, by_place: bool) -> None:
    """Keep a pair, unless names speak against it."""
    if ours.loose and theirs.loose:
        if contradict_layers(ours.item, theirs.item):
            return
        search.add(_pair(ours, theirs, near, by_place))
    elif (ours.index, theirs.index) not in search.loose.named:
        return
    search.equal.add((ours.index, theirs.index))


def _equal_values(search: Search) -> Iterator[Near]:
    """Values that are equal on both sides, and nothing else nearly so."""
    ours, theirs = together(search.reference), together(search.candidate)
    for group, references in ours.items():
        candidates = theirs.get(group)
        if not candidates:
            continue
        by_bits = {values.sketch.bits: values for values in candidates}
        same = {values.sketch.bits for values in references} & by_bits.keys()
        for values in references:
            if values.sketch.bits in same:
                yield Near(values, by_bits[values.sketch.bits], 0.0, 1.0)
        if group[0] == "exact":
            continue
        for near in nearest(references, candidates, search.cancelled):
            if near.reference.sketch.bits in same or near.candidate.sketch.bits in same:
                continue
            limit = limit_of(near.reference.sketch.coarse, near.candidate.sketch.coarse)
            if near.distance <= limit and near.distance < MARGIN * near.second:
                yield near


def _told_apart(search: Search, near: Near, whole: bool) -> Iterator[tuple[Entry, Entry]]:
    """Which record of one side is which of the other, where that can be told. `whole`: nearly all
    that one side has the other has, too; where both have lost records, places tell nothing.
    """
    ours, theirs = near.reference.entries, near.candidate.entries
    if search.order is not None and whole:
        yield from by_regions(search, search.order, ours, theirs)
    else:
        yield from _only_loose_ones(search, near)


def by_regions(
    search: Search, order: Order, ours: Sequence[Entry], theirs: Sequence[Entry]
) -> Iterator[tuple[Entry, Entry]]:
    """Equal values between the same two pairs, equally often on both sides: one after the other.
    Nothing at an end where either side has what the other has not.
    """
    regions: dict[int, tuple[list[Entry], list[Entry]]] = defaultdict(lambda: ([], []))
    for number, entries in enumerate((ours, theirs)):
        for entry in entries:
            regions[order.region(entry.index, number == 0)][number].append(entry)
    for region, (lefts, rights) in regions.items():
        if region in search.open_ends:
            continue
        pairs = list(zip(lefts, rights, strict=False))
        if len(lefts) == len(rights) and all(_may_be(search, *pair) for pair in pairs):
            yield from pairs


def _may_be(search: Search, ours: Entry, theirs: Entry) -> bool:
    """Whether two records of equal values may be a pair: one by name, or neither has a partner by
    name and the names do not speak against it.
    """
    if not ours.loose or not theirs.loose:
        return (ours.index, theirs.index) in search.loose.named
    return not contradict(ours.item, theirs.item) and not other_slots(ours.item, theirs.item)


def _only_loose_ones(search: Search, near: Near) -> Iterator[tuple[Entry, Entry]]:
    """Where no order is known: what is left when names have paired all others with one another, or
    the only input or output, where names say of all what they are.
    """
    ours, theirs = near.reference.entries, near.candidate.entries
    paired = [
        (a, b) for a in ours for b in theirs if (a.index, b.index) in search.loose.named
    ]  # fmt: skip
    yield from paired
    left = [a for a in ours if a.loose], [b for b in theirs if b.loose]
    if len(ours) - len(left[0]) != len(paired) or len(theirs) - len(left[1]) != len(paired):
        return
    known = all(entry.item.role in ("input", "output") for side in left for entry in side)
    for role in ("input", "output") if known else ("",):
        first, second = ([e for e in side if role in ("", e.item.role)] for side in left)
        if len(first) == len(second) == 1 and _may_be(search, first[0], second[0]):
            yield first[0], second[0]


def _the_output(near: Near) -> list[tuple[Entry, Entry]]:
    """A record that names its layer, but not whether it is an input, belongs to the only output of
    that layer among the other side's records of these values: the others are it, handed on.
    """
    sides = near.reference.entries, near.candidate.entries
    for number, (own, other) in enumerate((sides, sides[::-1])):
        outputs = [entry for entry in other if entry.item.role == "output"]
        if len(own) == len(outputs) == 1 and own[0].loose and outputs[0].loose:
            one, output = own[0], outputs[0]
            layer = layer_number(one.item.module)
            if layer is None or layer != layer_number(output.item.module):
                continue
            if one.item.role == "input" or contradict(one.item, output.item):
                continue
            return [(output, one) if number else (one, output)]
    return []


def _pair(ours: Entry, theirs: Entry, near: Near, by_place: bool) -> ContentPair:
    recipes = in_one_order(ours.item.shape, theirs.item.shape)
    share = min(1.0, near.distance / (MARGIN * near.second)) if near.second > 0 else 1.0
    sure = _SUREST * (1.0 - 0.5 * share)
    words = "equal values"
    if by_place:
        sure *= _BY_PLACE
        words = "equal values, distinguished from equal others by their position"
    return ContentPair(
        ours.index, theirs.index, str(recipes[0]), str(recipes[1]), "content", words,
        round(sure, 3),
    )  # fmt: skip


def _offer(search: Search, near: Near) -> None:
    """Say that equal values are not a pair by name: one record a side that is paired with something
    else, or with nothing.
    """
    ours = _astray(search, near.reference, near.candidate, 0)
    theirs = _astray(search, near.candidate, near.reference, 1)
    if len(ours) != 1 or len(theirs) != 1 or (ours[0].loose and theirs[0].loose):
        return
    sure = _pair(ours[0], theirs[0], near, False).sure
    search.offers.append(ContentOffer(ours[0].index, theirs[0].index, sure))


def _astray(search: Search, own: Values, other: Values, number: int) -> list[Entry]:
    """Records that have no partner among `other`, which has the same values. Those that names
    pair in part or in sum have their reasons.
    """
    partners = search.partners[number]
    there = {entry.index for entry in other.entries}
    return [
        entry for entry in own.entries
        if entry.index not in search.taken[number]
        and entry.index not in search.loose.changed[number]
        and not (partners.get(entry.index, set()) & there)
    ]  # fmt: skip
