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
    """What is known of the numbers of a reference: how many `elements`; `exact`, what equal numbers
    have in common to the last bit.
    """

    elements: int
    exact: tuple[object, ...]
    mean: float
    std: float

    @classmethod
    def of(cls, result: Measurement) -> Numbers | None:
        """None where statistics cannot tell."""
        side = result.reference
        if side is None or not side.l2 or result.partial or result.count < _FEWEST:
            return None
        if side.min == side.max or side.mean is None or side.std is None:
            return None
        exact = result.count, side.min, side.max, side.nan, side.inf, side.zeros
        return cls(result.count, exact, side.mean, side.std)

    @property
    def room(self) -> float:
        """How far the mean and the standard deviation of the same numbers may lie apart."""
        return _ROUNDINGS / math.sqrt(self.elements) * math.hypot(self.mean, self.std)

    def same(self, other: Numbers) -> bool:
        """Whether these are the numbers of another record, in whatever order."""
        return self.exact == other.exact and self.is_near(other.mean, other.std)

    def is_near(self, mean: float, std: float) -> bool:
        """Whether numbers of this mean and standard deviation can be the same ones."""
        room = self.room
        return abs(self.mean - mean) <= room and abs(self.std - std) <= room


@dataclass(slots=True)
class SeenNumbers:
    """Rows by their numbers: by kind, then by what is exact of them, the standard deviation, row
    and mean of each, in order.
    """

    _seen: dict[str, dict[tuple[object, ...], list[tuple[float, int, float]]]] = field(
        default_factory=dict
    )

    def first(self, index: int, numbers: Numbers, kind: str = "") -> int | None:
        """The first row of this `kind` that had the same numbers; where there was none, row `index`
        is the first from now on.
        """
        of_kind = self._seen.setdefault(kind, {})
        known = of_kind.get(numbers.exact)
        if known is None:  # nearly always
            of_kind[numbers.exact] = [(numbers.std, index, numbers.mean)]
            return None
        room, found = numbers.room, []
        at, end = bisect_left(known, (numbers.std - room, -1)), numbers.std + room
        while at < len(known) and known[at][0] <= end:
            std, row, mean = known[at]
            if numbers.is_near(mean, std):
                found.append(row)
            at += 1
        if not found:
            insort(known, (numbers.std, index, numbers.mean))
        return min(found, default=None)

    def leavings(self) -> list[object]:
        """What was remembered, some objects for each row."""
        return [rows for of_kind in self._seen.values() for rows in of_kind.values()]
