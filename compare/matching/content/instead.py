"""What the records of a doubtful pair are instead: an engine may mean something else by a name.

Only a record without a partner, of the same layer, counts. Equal to another layer's, or to one that
is paired, it would be a fault: records that were mixed up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import prod

from ....capture.records import Record
from ...aligned import Aligned
from ...model import Row
from ..names.canonical import layer_number
from .equal import distance_through, limit_of
from .layouts import in_one_order
from .sketch import FEWEST, sketch_of

_MOST = 200  # pairs of records that are read


def what_instead(aligned: Aligned, doubtful: Iterable[Row]) -> dict[int, str]:
    """By row, in words, which record of the other side a record of the pair equals; nothing where
    none does, or more than one. Reads records.
    """
    alone = [row for row in aligned.rows if row.kind != "pair"]
    found: dict[int, str] = {}
    tried = 0
    for row in doubtful:
        equal: list[str] = []
        for own, other in _candidates(row, alone):
            tried += 1
            if tried > _MOST:
                return found
            if _are_equal(own, other):
                equal.append(f"{own.name} equals the other side's {other.name}")
        if len(equal) == 1:
            found[row.index] = equal[0]
    return found


def _candidates(row: Row, alone: Iterable[Row]) -> Iterator[tuple[Record, Record]]:
    """A record of the pair, and one of the other side that has no partner in the same layer."""
    layer = layer_number(row.canonical)
    for gap in alone:
        own = row.candidate if gap.reference is not None else row.reference
        other = gap.reference or gap.candidate
        if (
            own is not None and other is not None
            and gap.step == row.step and layer_number(gap.canonical) == layer
            and own.locator is not None and other.locator is not None
            and prod(own.shape or ()) == prod(other.shape or ()) >= FEWEST
        ):  # fmt: skip
            yield own, other


def _are_equal(own: Record, other: Record) -> bool:
    try:
        sketches = sketch_of(own), sketch_of(other)
    except (OSError, ValueError, MemoryError):
        return False
    if sketches[0] is None or sketches[1] is None or not sketches[0].telling:
        return False
    recipes = in_one_order(own.shape or (), other.shape or ())
    return distance_through(own, other, recipes) <= limit_of(*(s.coarse for s in sketches if s))
