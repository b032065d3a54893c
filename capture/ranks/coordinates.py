"""Where ranks stand among each other, by kind of parallelism, as far as that is told, and in which
order the kinds are undone.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from ..records import Record
from .labels import DATA, KINDS, RANK, Kinds

_PLACE = re.compile(rf"(?:^|-)({KINDS}|{RANK})(\d{{1,6}})(?=-|$)")
STAGE = "pp"  # ranks that have other layers
# The inner kinds first. Ranks whose kind is not told hold parts of what a rank has whose context or
# data is told, and stand outside of those that are told to hold parts.
_ORDER = ("tp", "sp", "ep", RANK, "cp", DATA)

Places = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Axes:
    """`kinds` are undone one after the other. `missing` are ranks that should be there, and are
    not: then parts of what the others have make no whole.
    """

    kinds: tuple[str, ...]
    places: Places
    missing: tuple[str, ...] = ()

    @property
    def alone(self) -> tuple[tuple[str, int], ...]:
        """Kinds of parallelism that hold parts, and that all ranks have the same place in."""
        found = {kind: {own.get(kind, -1) for own in self.places.values()} for kind in _ORDER[:3]}
        return tuple(
            (kind, next(iter(numbers))) for kind, numbers in found.items()
            if len(numbers) == 1 and -1 not in numbers
        )  # fmt: skip

    def label(self, rank: str, undone: Sequence[str]) -> str:
        """What to call the ranks that are left when these kinds are undone."""
        places = self.places.get(rank, {})
        left = [kind for kind in (*self.kinds, STAGE) if kind in places and kind not in undone]
        return "-".join(f"{kind}{places[kind]}" for kind in left)


def places_of_ranks(records: Sequence[Record], told: Mapping[str, Kinds]) -> Places:
    """By rank and kind: what the recording says, what files are called (`told`), or what the rank
    is called.
    """
    found: dict[str, dict[str, int]] = {}
    for record in records:
        if record.rank is None or (record.rank in found and record.placement is None):
            continue
        if record.placement is not None:
            found[record.rank] = {kind: place for kind, place, _ in record.placement.coordinates}
        elif record.rank in told:
            found[record.rank] = dict(told[record.rank])
        else:
            found[record.rank] = {k: int(n) for k, n in _PLACE.findall(record.rank)}
    return found


def counts_of_places(records: Sequence[Record], told: Mapping[str, int]) -> dict[str, int]:
    """By kind, the number of places in all: what names and rules tell, and what the recording says;
    not of ranks that have other inputs, which are captures of their own.
    """
    found = dict(told)
    for record in records:
        if record.placement is not None:
            found.update({kind: count for kind, _, count in record.placement.coordinates})
    return {kind: count for kind, count in found.items() if kind != DATA}


def axes_of(
    ranks: Sequence[str], places: Places, counts: Mapping[str, int] | None = None
) -> Axes:  # fmt: skip
    """The kinds of parallelism that these ranks differ in, without those that follow of others;
    stages of a pipeline are none. `counts` are numbers of places in all, as far as they are told.
    """
    known = [places.get(rank, {}) for rank in ranks]
    counts = counts_told(known, counts or {})
    kinds = [k for k in _ORDER if all(k in own for own in known)
             and (len({own[k] for own in known}) > 1 or counts.get(k, 1) > 1)]  # fmt: skip
    if RANK in kinds and len(kinds) > 1:
        if _tell_apart(known, [kind for kind in kinds if kind != RANK]):
            kinds.remove(RANK)
        else:
            known = _counted_inside(known, [kind for kind in kinds if kind != RANK])
    for kind in reversed(_ORDER[1:]):
        rest = [other for other in kinds if other != kind]
        if kind in kinds and rest and _tell_apart(known, rest):
            kinds = rest
    found = dict(zip(ranks, known, strict=True))
    stages = sorted({own.get(STAGE, 0) for own in known})
    if not kinds or (len(kinds) == 1 and (len(stages) == 1 or kinds[0] == RANK)):
        return Axes(tuple(kinds), found, _left_out(kinds, known, counts))
    numbers = [
        list(expected(kind, known, counts)) if kind in counts or len(kinds) == 1
        else sorted({own[kind] for own in known}) for kind in kinds
    ]  # fmt: skip
    if prod(map(len, numbers)) * len(stages) == len(ranks) and _tell_apart(known, kinds):
        return Axes(tuple(kinds), found)
    there = {(*(own[kind] for kind in kinds), own.get(STAGE, 0)) for own in known}
    named = [*kinds, STAGE] if len(stages) > 1 else kinds
    missing = [
        "-".join(f"{kind}{number}" for kind, number in zip(named, place, strict=False))
        for place in product(*numbers, stages) if place not in there
    ]  # fmt: skip
    return Axes(tuple(kinds) if len(kinds) == 1 else (), found, tuple(missing))


def counts_told(
    places: Sequence[Mapping[str, int]], counts: Mapping[str, int]
) -> dict[str, int]:  # fmt: skip
    """Without the number of all processes where ranks stand in kinds of parallelism, too: they may
    be those of one place of another kind.
    """
    plain = all(list(own) == [RANK] for own in places)
    return {kind: count for kind, count in counts.items() if plain or kind != RANK}


def expected(
    kind: str, places: Sequence[Mapping[str, int]], counts: Mapping[str, int]
) -> range:  # fmt: skip
    """The numbers that there should be: as many as are told, from 0 on, or from 1 where the last
    number is that of all; else those from the first to the last.
    """
    numbers = {own[kind] for own in places}
    first, last, count = min(numbers), max(numbers), counts.get(kind, 0)
    if last < count:
        return range(count)
    return range(1, count + 1) if first > 0 and last == count else range(first, last + 1)


def _left_out(
    kinds: Sequence[str], places: Sequence[Mapping[str, int]], counts: Mapping[str, int]
) -> tuple[str, ...]:
    """Numbers that should be there; those before the first and behind the last where it is told how
    many there are.
    """
    if not kinds:
        return ()
    (kind,) = kinds
    numbers = {own[kind] for own in places}
    return tuple(f"{kind}{n}" for n in expected(kind, places, counts) if n not in numbers)


def _tell_apart(places: Sequence[Mapping[str, int]], kinds: Sequence[str]) -> bool:
    keys = {(own.get(STAGE, 0), *(own[kind] for kind in kinds)) for own in places}
    return len(keys) == len(places)


def _counted_inside(
    places: Sequence[Mapping[str, int]], kinds: Sequence[str]
) -> list[Mapping[str, int]]:
    """Numbers of processes, counted from 0 among those that are the same in everything else."""
    alike: dict[tuple[int, ...], list[int]] = defaultdict(list)
    keys = [tuple(own.get(kind, 0) for kind in (STAGE, *kinds)) for own in places]
    for key, own in zip(keys, places, strict=True):
        alike[key].append(own[RANK])
    if len({len(numbers) for numbers in alike.values()}) > 1:
        return list(places)
    return [
        {**own, RANK: sorted(alike[key]).index(own[RANK])}
        for key, own in zip(keys, places, strict=True)
    ]
