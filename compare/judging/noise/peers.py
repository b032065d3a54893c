"""What is typical of the records of one kind: the same slot of the same module in every layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from ...limits import (
    ADDS,
    AFTER,
    ALONE,
    BEFORE,
    FEW,
    LEAST,
    LEAST_OF_SOME,
    MANY,
    NARROWEST,
    NEVER,
    NOTHING,
    SOME,
    SPREADS,
    STEP,
    WIDEST,
)
from ..row_facts import Facts
from .middle import middle_of


@dataclass(frozen=True, slots=True)
class Typical:
    """A number's median and robust spread among peers, in logarithms."""

    middle: float
    spread: float
    count: int


@dataclass(frozen=True, slots=True)
class Change:
    """From row `index` on every peer amplifies by at least `after`; the `count` before it do by
    at most `before`.
    """

    index: int
    before: float
    after: float
    count: int


Number = Callable[[Facts], float | None]


def log_median_mad(values: Sequence[float | None]) -> Typical | None:
    """Median and 1.4826 x median absolute deviation of the logarithms (Hampel, 1974). Zeros count:
    among peers without an error one that has some stands out.
    """
    logs = [math.log(max(value, NOTHING)) for value in values if value is not None]
    if len(logs) < 2:
        return None
    middle = middle_of(logs)
    spread = 1.4826 * middle_of([abs(value - middle) for value in logs])
    return Typical(math.exp(middle), spread, len(logs))


class LayerPeers:
    """All records of one kind in execution order, and what is typical among them.

    Of few peers the one in question is left out; among many it makes no difference, and
    each number is computed once. `family` are the records of like modules (norms, projections),
    which stand in for the amplification where there are no peers.
    """

    def __init__(self, members: Sequence[Facts], family: LayerPeers | None = None) -> None:
        self.members = members
        self.family = family
        self._place = {facts.index: at for at, facts in enumerate(members)}
        self._values: dict[str, list[float | None]] = {}
        self._medians: dict[str, float | None] = {}
        self._typical: dict[tuple[str, int], Typical | None] = {}
        self._lesser: dict[tuple[str, int], Typical | None] = {}

    def median_of_others(self, name: str, of: Number, facts: Facts) -> float | None:
        """The median of a number among the others; None where fewer than two have it."""
        if len(self.members) > MANY:
            if name not in self._medians:
                self._medians[name] = _median(self._all(name, of))
            return self._medians[name]
        return _median(self._others(name, of, facts))

    def typical(self, name: str, of: Number, facts: Facts) -> Typical | None:
        """What is typical of the others, or of those before where that is less: a fault in every
        layer from some layer on must not count as typical.
        """
        at = self._place[facts.index]
        values = self._all(name, of)
        if len(values) > MANY:
            found = self._of_many(name, values, at.bit_length() if at >= 4 else 0)
        else:
            others = log_median_mad(self._others(name, of, facts))
            found = _lesser(others, log_median_mad(values[:at]) if at >= 3 else None)
        if found is None and self.family is not None and facts.index in self.family._place:
            return self.family.typical(name, of, facts)
        return found

    @cached_property
    def change(self) -> Change | None:
        """Where the amplification, of either error, steps up for good: in every layer from there on
        it is greater, by a gap, than in any before. None where it does not.
        """
        known = [
            f for f in self.members
            if f.error > 0 and not (f.exact or f.is_same or f.alone is not None)
        ]  # fmt: skip
        places = [f.index for f in known]
        found = [
            change
            for steps in ([f.amplification for f in known], [f.plain_step for f in known])
            if (change := change_of(places, steps)) is not None
        ]
        return max(found, key=lambda change: change.after / change.before, default=None)

    def _of_many(self, name: str, values: list[float | None], bits: int) -> Typical | None:
        """The same among many, for all places that are numbers of so many `bits`: all are others,
        and those before the least of these places come before; none do where `bits` are 0.
        """
        key = name, bits
        if key not in self._lesser:
            earlier = self._upto(name, values, 1 << (bits - 1)) if bits else None
            self._lesser[key] = _lesser(self._upto(name, values, len(values)), earlier)
        return self._lesser[key]

    def _upto(self, name: str, values: list[float | None], count: int) -> Typical | None:
        if (name, count) not in self._typical:
            self._typical[name, count] = log_median_mad(values[:count])
        return self._typical[name, count]

    def _all(self, name: str, of: Number) -> list[float | None]:
        if name not in self._values:
            self._values[name] = [of(member) for member in self.members]
        return self._values[name]

    def _others(self, name: str, of: Number, facts: Facts) -> list[float | None]:
        at, values = self._place[facts.index], self._all(name, of)
        return values[:at] + values[at + 1 :]


def _lesser(others: Typical | None, earlier: Typical | None) -> Typical | None:
    """What is typical of the others, or of those before where that is less."""
    if others is None or earlier is None:
        return others
    return min(others, earlier, key=lambda found: found.middle)


def change_of(places: Sequence[int], steps: Sequence[float]) -> Change | None:
    """Where steps become greater for good, by a gap; None where they do not."""
    if len(steps) < BEFORE + AFTER:
        return None
    least = list(accumulate(reversed(steps), min))[::-1]  # from each one on
    best, greatest = None, max(steps[: BEFORE - 1])
    for at in range(BEFORE, len(steps) - AFTER + 1):
        greatest = max(greatest, steps[at - 1])
        gap = least[at] / greatest if greatest > 0 else 0.0
        if gap >= STEP and least[at] >= ADDS and (best is None or gap > best[0]):
            best = gap, Change(places[at], greatest, least[at], at)
    return None if best is None else best[1]


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return middle_of(known) if len(known) >= 2 else None


def limit_of(found: Typical | None) -> float:
    """The amplification that is still noise."""
    if found is None:
        return ALONE
    factor = WIDEST
    if found.count >= FEW:
        factor = min(WIDEST, max(NARROWEST, math.exp(SPREADS * found.spread)))
    least = LEAST_OF_SOME if found.count >= SOME else LEAST
    return min(max(least, factor * found.middle), NEVER)
