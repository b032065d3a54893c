"""Records that have the same numbers, known by their statistics.

Counts and extremes of equal numbers are equal. Their sums need not be: numbers that lie in another
order, or are read in other parts, by other arithmetic, are added up in another order.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from dataclasses import dataclass, field
from typing import NamedTuple

from ..model import Measurement

_FEWEST = 8  # elements: of fewer ones statistics tell too little
# Sums in float32 lanes differ by roundings of 2^-24, which even out: of 320 numbers their mean, as
# a part of their size, by 6e-9. Layers whose records have the same count and extremes (attention's
# probabilities, whose means are the same, too) differ by a thousandth.
_ROUNDINGS = 2.0**-21


class Numbers(NamedTuple):
    """What is known of the numbers of a reference. `room` is how far the mean and the standard
    deviation of the same numbers may lie apart.
    """

    exact: tuple[object, ...]
    mean: float
    std: float
    room: float

    @classmethod
    def of(cls, result: Measurement) -> Numbers | None:
        """None where statistics cannot tell."""
        side = result.reference
        if side is None or not side.l2 or result.partial or result.count < _FEWEST:
            return None
        if side.min == side.max or side.mean is None or side.std is None:
            return None
        exact = result.count, side.min, side.max, side.nan, side.inf, side.zeros
        room = _ROUNDINGS / math.sqrt(result.count) * math.hypot(side.mean, side.std)
        return cls(exact, side.mean, side.std, room)

    def same(self, other: Numbers) -> bool:
        """Whether these are the numbers of another record, in whatever order."""
        if self.exact != other.exact or abs(self.mean - other.mean) > self.room:
            return False
        return abs(self.std - other.std) <= self.room


@dataclass(slots=True)
class SeenNumbers:
    """Rows by their numbers."""

    _seen: dict[tuple[str, tuple[object, ...]], list[tuple[float, int, Numbers]]] = field(
        default_factory=dict
    )

    def first(self, index: int, numbers: Numbers, kind: str = "") -> int | None:
        """The first row of this `kind` that had the same numbers; where there was none, row `index`
        is the first from now on.
        """
        key = kind, numbers.exact
        known = self._seen.get(key)
        if known is None:  # nearly always
            self._seen[key] = [(numbers.std, index, numbers)]
            return None
        at, end = bisect_left(known, (numbers.std - numbers.room, -1)), numbers.std + numbers.room
        found = []
        while at < len(known) and known[at][0] <= end:
            if numbers.same(known[at][2]):
                found.append(known[at][1])
            at += 1
        if not found:
            insort(known, (numbers.std, index, numbers))
        return min(found, default=None)

    def leavings(self) -> list[object]:
        """What was remembered, some objects for each row."""
        return [*self._seen.values()]
