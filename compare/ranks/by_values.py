"""Which of several ways to join the parts of ranks gives the values that the other capture has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from ...capture.dtypes import DTYPES
from ...capture.errors import RecordError
from ...capture.ranks.join_tree import Leaf, Node, locator_of
from ...capture.ranks.joined_file import JoinedFile
from ...capture.ranks.way import Way
from ...capture.records import Locator
from ...capture.values import Array, upcast

_ROWS = 16  # rows that are looked at, spread evenly
_MOST_ROW = 1 << 20  # elements of a row that is looked at
# Relative L2 to the other capture's values. A tensor joined in a wrong order is at about 1.4 (the
# square root of two: values of other places), one that is right is far below, also in bfloat16.
FITS, DIFFERS = 0.3, 0.7


@dataclass(frozen=True, slots=True)
class Joining:
    """A way to join parts, and the whole that it gives."""

    way: Way
    node: Node


def best_fit(joinings: Sequence[Joining], wholes: Sequence[Locator]) -> Joining | None:
    """The one that gives the values of the other side's tensors, side by side along their last
    axis; None where none does, or more than one.
    """
    errors = [distance(joining.node, wholes) for joining in joinings]
    order = sorted(range(len(errors)), key=errors.__getitem__)
    if not order or errors[order[0]] > FITS:
        return None
    first = joinings[order[0]]
    rivals = [errors[n] for n in order[1:] if joinings[n].node != first.node]
    return first if all(error > DIFFERS for error in rivals) else None


def fits(node: Node, wholes: Sequence[Locator]) -> bool:
    """Whether a whole has the values of the other side's tensors."""
    return distance(node, wholes) <= FITS


def distance(node: Node, wholes: Sequence[Locator]) -> float:
    """The relative L2 of some rows; infinite where shapes differ or something cannot be read."""
    width = sum(whole.shape[-1] for whole in wholes if whole.shape)
    counts = {prod(whole.shape[:-1]) for whole in wholes}
    if len(counts) != 1 or not node.shape or node.shape[-1] != width or width > _MOST_ROW:
        return float("inf")
    (count,) = counts
    if prod(node.shape[:-1]) != count or not count:
        return float("inf")
    rows = sorted({int(n) for n in np.linspace(0, count - 1, min(count, _ROWS))})
    try:
        ours = _rows(locator_of(node), rows)
        theirs = np.concatenate([_rows(whole, rows) for whole in wholes], -1)
    except (RecordError, OSError, TypeError, ValueError):
        return float("inf")
    norm = float(np.linalg.norm(theirs))
    error = float(np.linalg.norm(ours - theirs)) / norm if norm else float("inf")
    return error if error == error else float("inf")


def _rows(locator: Locator, rows: Sequence[int]) -> Array:
    """Rows along the last axis as float64."""
    plain = locator if locator.reader == "ranks" else locator_of(Leaf(locator))
    width = locator.shape[-1]
    item = DTYPES[locator.dtype].itemsize
    storage = np.dtype(DTYPES[locator.dtype].storage)
    with JoinedFile(plain) as file, np.errstate(all="ignore"):
        raw = b"".join(file.read_at(row * width * item, width * item) for row in rows)
        values = upcast(np.frombuffer(raw, storage), locator.dtype).astype(np.float64)
    return values.reshape(len(rows), width)
