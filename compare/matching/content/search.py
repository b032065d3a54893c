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

from ....capture.errors import RecordError
from ....capture.values import Array
from ...aligned import Aligned
from ...measuring.pair_reader import CancelledError
from ..named_records import Side
from .axes.find_turned import find_turned
from .behind import pair_behind
from .equal import distance_through, limit_of
from .equal_pairs import find_equal, tell_apart
from .found import Content, ContentPair
from .layouts import Both, layouts
from .names import contradict, contradict_layers
from .parts import Part, column_parts, filling, last_rows
from .sides import loose_records
from .sketch import WHOLE, levels_of, sketch_of
from .state import Search, Stop
from .values import Entry, Values, together

_FEWEST_EQUAL = 4  # pairs of equal values from which on the others are expected to be equal, too
_OF_A_DRAW = 3.0  # times as far apart may sorted values be that are drawn from larger records
_NEAREST = 4  # records that are tried as the other layout of one
_MOST_LAYOUTS = 4000  # pairs of records that are read to look for another layout


def find_content(aligned: Aligned, cancelled: Stop = lambda: False) -> Content:
    """What the values say about pairs. Reads records; raises `CancelledError`."""
    loose = loose_records(aligned)
    with np.errstate(all="ignore"):
        turned = find_turned(aligned, cancelled)
        if not loose.worth_a_look():
            return Content(turned=turned)
        sizes = loose.sizes()
        sides = [
            list(_entries(side, left, sizes, cancelled))
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
) -> Iterator[Entry]:  # fmt: skip
    """Sketches of the records of a side that may have to do with what is left over, by their
    `sizes`; what cannot be read has none.
    """
    for item in side.items:
        if cancelled():
            raise CancelledError
        if prod(item.shape) not in sizes:
            continue
        try:
            sketch = sketch_of(item.record)
        except (RecordError, OSError, MemoryError):
            continue
        if sketch is not None:
            yield Entry(item, sketch, item.position in left)


# Other layouts


def _in_other_layouts(search: Search) -> None:
    """Records whose elements stand in another order: equal once their axes are moved."""
    ours = together(search.unknown(search.reference, 0))
    theirs = together(search.unknown(search.candidate, 1))
    tries = 0
    found: dict[tuple[int, int], list[tuple[float, Entry, Entry, Both]]] = defaultdict(list)
    for group in ours.keys() & theirs.keys():
        if group[0] == "exact":
            continue
        candidates = _with_levels(theirs[group], search.cancelled)
        table = np.stack([levels for _, levels in candidates]) if candidates else None
        coarse = np.array([entry.sketch.coarse for entry, _ in candidates])
        for ours_one, levels in _with_levels(ours[group], search.cancelled) if candidates else ():
            assert table is not None
            for number in _alike(ours_one, levels, table, coarse):
                if search.cancelled():
                    raise CancelledError
                tries += 1
                if tries > _MOST_LAYOUTS:
                    return
                pair = ours_one, candidates[number][0]
                equal = _layout_of(*pair)
                if equal is not None:
                    apart, recipes = equal
                    for side, entry in enumerate(pair):
                        found[side, entry.index].append((apart, *pair, recipes))
    _add_layouts(search, found)


def _with_levels(side: list[Values], cancelled: Stop) -> list[tuple[Entry, Array]]:
    """Records whose values no other record of the side has, with their sorted values."""
    found: list[tuple[Entry, Array]] = []
    for values in side:
        if cancelled():
            raise CancelledError
        if len(values.entries) != 1:
            continue
        try:
            levels = levels_of(values.entries[0].item.record)
        except (RecordError, OSError, MemoryError):
            continue
        if levels is not None:
            found.append((values.entries[0], levels))
    return found


def _alike(entry: Entry, own: Array, table: Array, coarse: Array) -> list[int]:
    """The candidates with the nearest sorted values: sorting brings no values farther apart."""
    size = float(np.linalg.norm(own))
    if not size > 0:
        return []
    apart = np.linalg.norm(table - own, axis=1) / size
    limits = np.where(coarse, limit_of(True), limit_of(entry.sketch.coarse))
    times = 1.0 if entry.sketch.count <= WHOLE else _OF_A_DRAW
    near = np.flatnonzero(apart <= times * limits)
    return near[np.argsort(apart[near])[:_NEAREST]].tolist()


def _layout_of(ours: Entry, theirs: Entry) -> tuple[float, Both] | None:
    """The layout in which two records are equal, and their distance in it."""
    limit = limit_of(ours.sketch.coarse, theirs.sketch.coarse)
    best: tuple[float, Both] | None = None
    for recipes in layouts(ours.item.shape, theirs.item.shape):
        apart = distance_through(ours.item.record, theirs.item.record, recipes)
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
