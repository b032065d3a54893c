"""Finding partners by values for what names left over.

Everything before the first fault is equal on both sides up to rounding. What is equal, and nothing
else is nearly so, is a pair (`equal_pairs`). What else there is, is looked for in other layouts and
as a part of wider records; behind the last equal pair, where values differ, `behind` goes on.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import prod

import numpy as np

from ....capture.values import Array
from ...aligned import Aligned
from ...measuring.pair_reader import CancelledError
from ..contradictions import contradict, contradict_layers
from ..named_records import Side
from .axes.find_turned import find_turned
from .behind import pair_behind
from .equal import limit_of
from .equal_pairs import find_equal, tell_apart
from .found import Content, ContentPair
from .layouts import Both, layouts
from .parts import Part, column_parts, filling, last_rows
from .reading import distance_of, entries_of, in_memory, levels
from .sides import loose_records
from .sketch import WHOLE
from .state import Search, Stop
from .values import Entry, Values, together

_FEWEST_EQUAL = 4  # pairs of equal values from which on the others are expected to be equal, too
_OF_A_DRAW = 3.0  # times as far apart may sorted values be that are drawn from larger records
_NEAREST = 4  # records that are tried as the other layout of one
_MOST_READ = 4000  # pairs of records that are read to look for another layout
_ROWS = 128  # of a table of distances at a time


def find_content(aligned: Aligned, cancelled: Stop = lambda: False) -> Content:
    """What the values say about pairs. Reads records; raises `CancelledError`."""
    loose = loose_records(aligned)
    with np.errstate(all="ignore"):
        turned = find_turned(aligned, cancelled)
        if not loose.worth_a_look():
            return Content(turned=turned)
        sizes = loose.sizes()
        sides = [
            _entries(side, left, sizes, cancelled)
            for side, left in zip(loose.sides, loose.left, strict=True)
        ]
        search = Search(loose, sides[0], sides[1], cancelled)
        equal = find_equal(search)
        _in_other_layouts(search)
        _as_parts(search)
        tell_apart(search, equal)
        pair_behind(search)
        unlike = _unlike(search) if search.pairs else 0
        pairs, offers = tuple(search.pairs), tuple(search.offers)
        return Content(pairs, offers, _left(search), unlike, turned=turned)


def _left(search: Search) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Records without a partner up to the last pair of equal values, or anywhere where the order is
    not known; none where too few pairs are equal to expect it of others.
    """
    if len(search.equal) < _FEWEST_EQUAL:
        return (), ()
    last = None if search.order is None else search.order.last_of(search.equal)
    found: list[tuple[int, ...]] = []
    for number, side in enumerate((search.reference, search.candidate)):
        free = [entry for entry in search.free(side, number) if entry.sketch.telling]
        found.append(
            tuple(entry.index for entry in free if last is None or entry.index <= last[number])
        )
    return found[0], found[1]


def _unlike(search: Search) -> int:
    """How many records of either side have equal sizes and no equal values."""
    sizes = [
        Counter((entry.sketch.kind, entry.sketch.count) for entry in search.unknown(side, number)
                if entry.sketch.telling)
        for number, side in enumerate((search.reference, search.candidate))
    ]  # fmt: skip
    return (sizes[0] & sizes[1]).total()


def _entries(
    side: Side, left: set[int], sizes: set[int], cancelled: Stop
) -> list[Entry]:  # fmt: skip
    """Sketches of the records of a side that may have to do with what is left over, by their
    `sizes`; what cannot be read has none.
    """
    items = (item for item in side.items if prod(item.shape) in sizes)
    return entries_of(items, left, cancelled)


# Other layouts


def _in_other_layouts(search: Search) -> None:
    """Records whose elements stand in another order: equal once their axes are moved."""
    ours = together(search.unknown(search.reference, 0))
    theirs = together(search.unknown(search.candidate, 1))
    reads = 0
    found: dict[tuple[int, int], list[tuple[float, Entry, Entry, Both]]] = defaultdict(list)
    for group in ours.keys() & theirs.keys():
        if group[0] == "exact":
            continue
        sides = [_with_levels(side[group], search.cancelled) for side in (ours, theirs)]
        for pair in _alike(*sides):
            if search.cancelled():
                raise CancelledError
            reads += not all(map(in_memory, pair))
            if reads > _MOST_READ:
                return
            equal = _layout_of(*pair)
            if equal is not None:
                apart, recipes = equal
                for side, entry in enumerate(pair):
                    found[side, entry.index].append((apart, *pair, recipes))
    _add_layouts(search, found)


def _with_levels(side: list[Values], cancelled: Stop) -> list[tuple[Entry, Array]]:
    """Records whose values no other record of the side has, with their sorted values."""
    lone = (values.entries[0] for values in side if len(values.entries) == 1)
    return levels(lone, cancelled)


def _alike(
    ours: list[tuple[Entry, Array]], theirs: list[tuple[Entry, Array]]
) -> Iterator[tuple[Entry, Entry]]:
    """Pairs of records of equally many elements whose sorted values are near, each with the nearest
    of them: sorting brings no values farther apart.
    """
    if not ours or not theirs:
        return
    every = np.stack([row for _, row in theirs]).astype(np.float64)
    coarse = np.array([entry.sketch.coarse for entry, _ in theirs])
    times = 1.0 if ours[0][0].sketch.count <= WHOLE else _OF_A_DRAW
    for start in range(0, len(ours), _ROWS):
        part = ours[start : start + _ROWS]
        own = np.stack([row for _, row in part]).astype(np.float64)
        size = np.einsum("ij,ij->i", own, own)[:, None]
        squares = np.einsum("ij,ij->i", every, every) + size - 2 * (own @ every.T)
        both = coarse | np.array([[entry.sketch.coarse] for entry, _ in part])
        limits = (times * np.where(both, limit_of(True), limit_of(False))) ** 2 * size
        near = (squares <= limits) & (size > 0)
        for row in np.flatnonzero(near.any(axis=1)).tolist():
            at = np.flatnonzero(near[row])
            for number in at[np.argsort(squares[row, at])[:_NEAREST]].tolist():
                yield part[row][0], theirs[number][0]


def _layout_of(ours: Entry, theirs: Entry) -> tuple[float, Both] | None:
    """The layout in which two records are equal, and their distance in it."""
    limit = limit_of(ours.sketch.coarse, theirs.sketch.coarse)
    best: tuple[float, Both] | None = None
    for recipes in layouts(ours.item.shape, theirs.item.shape):
        apart = distance_of(ours, theirs, recipes)
        if apart <= limit and (best is None or apart < best[0]):
            best = apart, recipes
    return best


def _add_layouts(
    search: Search, found: dict[tuple[int, int], list[tuple[float, Entry, Entry, Both]]]
) -> None:
    """Pairs that are the only ones for both of their records."""
    for (side, _), entries in found.items():
        if side == 1 or len(entries) != 1:
            continue
        apart, ours, theirs, recipes = entries[0]
        if len(found[1, theirs.index]) == 1 and not contradict(ours.item, theirs.item):
            words = "equal values once axes are moved"
            search.add(_pair(ours, theirs, recipes, words, apart))
            search.equal.add((ours.index, theirs.index))


def _pair(ours: Entry, theirs: Entry, recipes: Both, words: str, apart: float) -> ContentPair:
    limit = limit_of(ours.sketch.coarse, theirs.sketch.coarse)
    return ContentPair(
        ours.index, theirs.index, str(recipes[0]), str(recipes[1]), "content", words,
        round(1.0 - 0.2 * apart / limit, 3),
    )  # fmt: skip


# Parts


def _as_parts(search: Search) -> None:
    """Records that are columns, or the last rows, of the other side's."""
    for finder in (column_parts, last_rows):
        for number in (0, 1):
            parts = search.unknown(search.side(number), number)
            wholes = search.unknown(search.side(1 - number), 1 - number)
            found = _of_one_kind(search, finder(parts, wholes, search.cancelled), number)
            _add_parts(search, filling(found) if finder is column_parts else found, number)


def _of_one_kind(search: Search, found: Iterable[Part], number: int) -> list[Part]:
    """Parts of which there is no other record with the same values."""
    times = Counter(entry.sketch.bits for entry in search.side(number))
    return [
        part for part in found
        if times[part.part.sketch.bits] == 1
        and not contradict_layers(part.part.item, part.whole.item)
    ]  # fmt: skip


def _add_parts(search: Search, found: Iterable[Part], number: int) -> None:
    """Pairs of parts; `number` is 0 where the reference has the parts, 1 where the candidate."""
    for part in found:
        first, second = part.recipes
        if number == 0:
            made = _pair(part.part, part.whole, (first, second), part.words, part.distance)
        else:
            made = _pair(part.whole, part.part, (second, first), part.words, part.distance)
        search.add(replace(made, part="candidate" if number else "reference"))
        search.equal.add((made.reference, made.candidate))
