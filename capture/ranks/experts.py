"""Experts that every rank counts from 0 get the numbers that they have in the whole model, and
ranks are missing where the router gives scores for experts that no rank has.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..names import natural_key
from ..plurals import counted
from ..records import Record
from .coordinates import Places
from .labels import RANK
from .numbers_in_names import add_to_number

_EXPERT = re.compile(r"(?<=[./])(?:local_)?experts[./](\d{1,6})(?=$|[./(-])")
_EXPERTS = "ep"  # the kind of parallelism in which ranks have other experts
_ROUTERS = ("gate", "router", "gate_linear")


@dataclass(slots=True)
class _Mixture:
    """The experts of one layer, by rank, and what its router gives on every rank."""

    experts: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    routers: list[Record] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Spread:
    """`size` experts on each of `count` places, and the place of each rank. `local` where every
    rank counts them from 0.
    """

    places: dict[str, int]
    size: int
    count: int
    local: bool

    @property
    def all_there(self) -> bool:
        return len(set(self.places.values())) == self.count


def number_experts(records: Sequence[Record], places: Places) -> list[str]:
    """Renumber records in place; what was done, in words."""
    spread = {
        parent: found for parent, found in _spreads(records, places).items() if found.local
    }  # fmt: skip
    for record in records:
        expert = _EXPERT.search(record.module)
        if expert is not None and record.rank is not None:
            own = spread.get(_parent(record, expert))
            if own is not None:
                add_to_number(_EXPERT, record, own.places[record.rank] * own.size)
    if not spread:
        return []
    layers = counted(len(spread), "layer")
    return [f"experts of {layers} count from 0 on every rank, and are numbered through"]


def lost_experts(records: Sequence[Record], places: Places) -> list[str]:
    """`ep3`, `rank0`: places whose experts are on no rank."""
    spreads = _spreads(records, places)
    lost: set[int] = set()
    for found in spreads.values():
        lost |= set(range(found.count)) - set(found.places.values())
    told = all(_EXPERTS in places.get(record.rank or "", {}) for record in records if record.rank)
    return [f"{_EXPERTS if told else RANK}{number}" for number in sorted(lost)]


def _spreads(records: Sequence[Record], places: Places) -> dict[str, _Spread]:
    """By layer, where it is known on which rank which experts are."""
    mixtures = _mixtures(records)
    found = _of_all_chosen(mixtures, places)
    usual = {(s.size, s.count, s.local) for s in found.values()}
    pattern = next(iter(found.values())) if len(usual) == 1 else None
    if not found:
        pattern = _counted_from_0(mixtures, places)
    if pattern is not None and pattern.all_there:
        for parent, mixture in mixtures.items():
            if parent not in found and _fits(mixture, pattern):
                found[parent] = pattern
    return found


def _of_all_chosen(mixtures: dict[str, _Mixture], places: Places) -> dict[str, _Spread]:
    """Of layers whose experts were all chosen by some token, and are all there."""
    found = {
        parent: spread for parent, mixture in mixtures.items()
        if (spread := _spread(mixture, places)) is not None
    }  # fmt: skip
    # Experts that every rank has a part of count beyond one rank's share in some layer.
    most = max((n for m in mixtures.values() for own in m.experts.values() for n in own), default=0)
    found = {p: spread for p, spread in found.items() if not spread.local or most < spread.size}
    short = [spread for spread in found.values() if not spread.all_there]
    # Of one layer alone the experts may be those that the tokens chose.
    sure = all(set(s.places.values()) != set(range(len(s.places))) for s in short)
    alike = len({(s.size, s.count) for s in found.values()}) == 1
    if short and not (alike and (sure or len(found) > 1)):
        return {parent: spread for parent, spread in found.items() if spread.all_there}
    return found


def _counted_from_0(mixtures: dict[str, _Mixture], places: Places) -> _Spread | None:
    """Where no layer has all experts, since tokens chose others: ranks that have other experts than
    each other, none of which has a number beyond its share.
    """
    several = [m for m in mixtures.values() if len({r.rank for r in m.routers}) > 1]
    widths = {r.shape[-1] for m in several for r in m.routers if r.shape}
    own: dict[str, set[int]] = {str(r.rank): set() for m in several for r in m.routers}
    for mixture in several:
        for rank, numbers in mixture.experts.items():
            own.setdefault(rank, set()).update(numbers)
    if len(widths) != 1 or not several:
        return None
    width = widths.pop()
    told = {at[_EXPERTS] for rank in own if _EXPERTS in (at := places.get(rank, {}))}
    count = len(told) or len(own)
    size, rest = divmod(width, count)
    at = _numbers(own, places, count)
    if rest or count < 2 or set(at.values()) != set(range(count)):
        return None
    beyond = any(number >= size for numbers in own.values() for number in numbers)
    others = any(
        len({frozenset(m.experts.get(rank, ())) for rank in own}) > 1 for m in several
    )  # fmt: skip
    return None if beyond or not others else _Spread(at, size, count, True)


def _fits(mixture: _Mixture, spread: _Spread) -> bool:
    """Whether the experts that tokens chose are some of those of their ranks."""
    widths = {record.shape[-1] for record in mixture.routers if record.shape}
    ranks = {record.rank for record in mixture.routers} | set(mixture.experts)
    if widths != {spread.size * spread.count} or not ranks <= set(spread.places):
        return False
    first = {r: 0 if spread.local else n * spread.size for r, n in spread.places.items()}
    return all(
        first[rank] <= number < first[rank] + spread.size
        for rank, numbers in mixture.experts.items() for number in numbers
    )  # fmt: skip


def _mixtures(records: Sequence[Record]) -> dict[str, _Mixture]:
    mixtures: dict[str, _Mixture] = defaultdict(_Mixture)
    for record in records:
        expert = _EXPERT.search(record.module)
        if record.rank is None:
            continue
        if expert is not None:
            mixtures[_parent(record, expert)].experts[record.rank].add(int(expert[1]))
        elif record.module.rpartition(".")[2] in _ROUTERS and not record.slot.startswith("input"):
            mixtures[record.module.rpartition(".")[0]].routers.append(record)
    return mixtures


def _parent(record: Record, expert: re.Match[str]) -> str:
    return record.module[: expert.start()].rstrip("./")


def _spread(mixture: _Mixture, places: Places) -> _Spread | None:
    """Where the router gives a score for as many experts as there are on all places, and those of
    each rank are all there; None where that is not known.
    """
    own = mixture.experts
    sizes = {len(numbers) for numbers in own.values()}
    widths = {record.shape[-1] for record in mixture.routers if record.shape}
    if len(sizes) != 1 or len(widths) != 1 or set(own) != {r.rank for r in mixture.routers}:
        return None
    size, width = sizes.pop(), widths.pop()
    count, rest = divmod(width, size)
    at = _numbers(own, places, count)
    if rest or count < 2 or not at or not set(at.values()) <= set(range(count)):
        return None
    if all(numbers == set(range(size)) for numbers in own.values()):
        return _Spread(at, size, count, True)
    through = all(own[rank] == set(range(n * size, (n + 1) * size)) for rank, n in at.items())
    return _Spread(at, size, count, False) if through else None


def _numbers(own: dict[str, set[int]], places: Places, count: int) -> dict[str, int]:
    """The place of each rank, from 0 on; in the order of the ranks where it is not told."""
    for kind in (_EXPERTS, RANK):
        told = {rank: at[kind] for rank in own if kind in (at := places.get(rank, {}))}
        only = kind == _EXPERTS or all(list(places[rank]) == [RANK] for rank in told)
        if len(told) == len(own) and only:
            first_is_1 = set(told.values()) == set(range(1, count + 1))
            return {rank: number - 1 for rank, number in told.items()} if first_is_1 else told
    ranks = sorted(own, key=natural_key)
    return {rank: place for place, rank in enumerate(ranks)} if len(ranks) == count else {}
