"""Which records names left over, and which they paired."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import prod

from ...aligned import Aligned
from ...model import Row
from ..named_records import Item, Side, same_base, sides_of
from .order import Place
from .sketch import FEWEST

# Steps after which a record has other elements than before.
_CHANGING = re.compile(r"(?:add|concat|select|shift|roll|cast)\(|\[[^]]*:")


@dataclass(frozen=True, slots=True)
class Loose:
    """Both sides' items by their names. `left` are the places of the items that names left over, of
    each side; `named` the places of pairs by name, and `changed` those of their records, of
    each side, that are compared in part, in sum or rounded.
    """

    sides: tuple[Side, Side]
    left: tuple[set[int], set[int]]
    named: set[Place] = field(default_factory=set)
    changed: tuple[set[int], set[int]] = field(default_factory=lambda: (set(), set()))

    @property
    def order_known(self) -> bool:
        """Whether both captures say that they are in order."""
        return all(side.capture.order_known for side in self.sides)

    def sizes(self) -> set[int]:
        """The numbers of elements of what is left over on either side."""
        return {
            prod(item.shape) for side, left in zip(self.sides, self.left, strict=True)
            for item in side.items if item.position in left
        }  # fmt: skip

    def worth_a_look(self) -> bool:
        """Whether both sides have something left that can be read."""
        return all(
            any(item.position in left and _readable(item) for item in side.items)
            for side, left in zip(self.sides, self.left, strict=True)
        )


def _readable(item: Item) -> bool:
    locator = item.record.locator
    return locator is not None and locator.count >= FEWEST and item.record.partial is None


def loose_records(aligned: Aligned) -> Loose:
    """What names left over. A pair by order alone counts as left over, unless both records are of
    the same module.
    """
    rules = aligned.rules
    ref, cand = sides_of(aligned.reference, aligned.candidate, rules, aligned.names)
    same_base(ref, cand)
    ours = {id(item.record): item for item in ref.items}
    theirs = {id(item.record): item for item in cand.items}
    loose = Loose((ref, cand), (set(), set()))
    for row in aligned.rows:
        first, second = ours.get(id(row.reference)), theirs.get(id(row.candidate))
        if first is not None and second is not None and not _by_place(row, first, second):
            loose.named.add((first.position, second.position))
            if _CHANGING.search(f"{row.recipe_reference} | {row.recipe_candidate}"):
                loose.changed[0].add(first.position)
                loose.changed[1].add(second.position)
            continue
        for item, left in zip((first, second), loose.left, strict=True):
            if item is not None:
                left.add(item.position)
    for first, second in loose.named:  # a record may be on several rows
        loose.left[0].discard(first)
        loose.left[1].discard(second)
    return loose


def _by_place(row: Row, first: Item, second: Item) -> bool:
    return row.matched_by in ("order", "content") and first.module != second.module
