"""What the search for pairs by values knows as it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from .found import ContentOffer, ContentPair
from .order import Order, Place
from .sides import Loose
from .values import Entry

Stop = Callable[[], bool]


@dataclass(slots=True)
class Search:
    """`order` is what pairs show of both captures' order, and `open_ends` which of its ends are
    not the same on both sides. `equal` are the places of pairs with equal values, whoever made
    them; `taken` the places of records that have a partner by now, `known` those of records whose
    values the other side has, too.
    """

    loose: Loose
    reference: list[Entry]
    candidate: list[Entry]
    cancelled: Stop
    order: Order | None = None
    equal: set[Place] = field(default_factory=set)
    pairs: list[ContentPair] = field(default_factory=list)
    offers: list[ContentOffer] = field(default_factory=list)
    taken: tuple[set[int], set[int]] = field(default_factory=lambda: (set(), set()))
    known: tuple[set[int], set[int]] = field(default_factory=lambda: (set(), set()))

    left_out: tuple[set[int], set[int]] = field(default_factory=lambda: (set(), set()))
    open_ends: set[int] = field(default_factory=set)
    partners: tuple[dict[int, set[int]], dict[int, set[int]]] = field(init=False)

    def __post_init__(self) -> None:
        """Partners by name, from either side's places."""
        self.partners = {}, {}
        for place in self.loose.named:
            for number, own in enumerate(place):
                self.partners[number].setdefault(own, set()).add(place[1 - number])

    def look_only_at(self, entries: list[Entry], number: int) -> None:
        """Leave all other records of a side out of the search."""
        kept = {entry.index for entry in entries}
        self.left_out[number].update(e.index for e in self.side(number) if e.index not in kept)
        if number:
            self.candidate = entries
        else:
            self.reference = entries

    def free(self, entries: Iterable[Entry], number: int) -> list[Entry]:
        """Those without a partner; `number` is 0 for the reference's, 1 for the candidate's."""
        return [each for each in entries if each.loose and each.index not in self.taken[number]]

    def unknown(self, entries: Iterable[Entry], number: int) -> list[Entry]:
        """Those without a partner whose values the other side has not."""
        return [each for each in self.free(entries, number) if each.index not in self.known[number]]

    def side(self, number: int) -> list[Entry]:
        """The records of the reference (0) or the candidate (1)."""
        return self.candidate if number else self.reference

    def _have(self, number: int) -> set[int]:
        return self.known[number] | self.taken[number] | self.partners[number].keys()

    def note_open_ends(self) -> None:
        """Keep in `open_ends` which of the first and the last region of the order have records that
        the other side has not: only pairs on both ends of a region hold it together.
        """
        self.open_ends = set()
        if self.order is None:
            return
        ends = {0, len(self.order.references)}
        for number in (0, 1):
            have = self._have(number)
            for entry in self.side(number):
                if entry.sketch.telling and entry.index not in have:
                    region = self.order.region(entry.index, number == 0)
                    self.open_ends |= {region} & ends

    def odd(self, number: int) -> float:
        """The share of a side's records, of those that values can tell apart, that the other side
        has not, up to the last that it has.
        """
        side, have = self.side(number), self._have(number)
        end = max((place[number] for place in self.equal), default=-1)
        before = [entry for entry in side if entry.sketch.telling and entry.index <= end]
        return sum(entry.index not in have for entry in before) / max(1, len(before))

    def add(self, pair: ContentPair) -> None:
        """Keep a pair."""
        self.pairs.append(pair)
        self.taken[0].add(pair.reference)
        self.taken[1].add(pair.candidate)
