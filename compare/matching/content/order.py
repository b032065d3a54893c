"""The order of both captures, as far as records that are paired for certain keep to it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

from ..row_order import longest_run

# Pairs from which on an order can be seen: where both captures say theirs, and where not.
_FEWEST_KNOWN, _FEWEST = 4, 8
# Share of the pairs that must keep to one order: where both captures say theirs, and where the
# order in which records are listed is only seen to be one.
_KNOWN, _SEEN = 0.85, 0.95

Place = tuple[int, int]  # of a reference record and a candidate record in their captures


@dataclass(frozen=True, slots=True)
class Order:
    """Pairs in one order on both sides; they cut the captures into regions."""

    references: tuple[int, ...]
    candidates: tuple[int, ...]

    def region(self, place: int, of_reference: bool) -> int:
        """The region of a place: how many pairs stand before it."""
        return bisect_left(self.references if of_reference else self.candidates, place)

    def last_of(self, places: Iterable[Place]) -> Place | None:
        """The last of some pairs, of those that keep to the order."""
        kept = set(zip(self.references, self.candidates, strict=True))
        return max((place for place in places if place in kept), default=None)

    def with_more(self, places: Iterable[Place]) -> Order:
        """The order with more pairs, of which some may not keep to it."""
        return _of([*zip(self.references, self.candidates, strict=True), *places])

    def keeps(self, place: Place) -> bool:
        """Whether a pair stands in the same region on both sides."""
        return self.region(place[0], True) == self.region(place[1], False)


def order_of(places: Iterable[Place], known: bool) -> Order | None:
    """The order that pairs show; None where they show none. `known`: both captures say that they
    are in order.
    """
    found = sorted(set(places))
    order = _of(found)
    wanted = (_KNOWN if known else _SEEN) * len(found)
    fewest = _FEWEST_KNOWN if known else _FEWEST
    return order if len(found) >= fewest and len(order.references) >= wanted else None


def _of(places: Iterable[Place]) -> Order:
    found = sorted(set(places))
    kept = sorted(longest_run([candidate for _, candidate in found]))
    return Order(tuple(found[index][0] for index in kept), tuple(found[index][1] for index in kept))
