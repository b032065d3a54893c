"""Which rank an error comes from, where it lies in the part of one rank alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...capture.ranks.join_tree import READER, Cut, leaves, node_of
from ..recipes.element_source import origin, unravel
from ..recipes.errors import RecipeError
from ..recipes.parse import parse_recipe

if TYPE_CHECKING:
    from ...capture.records import Capture, Locator
    from ...capture.values import Array
    from ..aligned import Aligned
    from ..measuring.pair_reader import PairReader

_MOST = 1 << 24  # elements that are looked at
# Of the squared error: one rank has nearly all, and the others together hardly any. What a fault
# in one rank's weights leaves elsewhere in the same output is rounding.
_SHARE = 0.99


def rank_to_blame(aligned: Aligned, index: int) -> str:
    """`rank5 of the candidate: its part has all of the error`; empty where a pair is not put
    together from parts side by side, or the error lies in several.
    """
    from ..measuring.bounded_sample import UNREADABLE

    row = aligned.rows[index]
    sides = (("candidate", row.candidate), ("reference", row.reference))
    joined = [
        side for side, record in sides
        if record is not None and record.locator is not None and record.locator.reader == READER
    ]  # fmt: skip
    if not joined or not aligned.measurable(index):
        return ""
    for side in joined:
        try:
            said = _rank_of(aligned, index, side)
        except (*UNREADABLE, RecipeError):
            continue
        if said:
            return said
    return ""


def _rank_of(aligned: Aligned, index: int, side: str) -> str:
    import numpy as np

    from ..measuring.pair_reader import PairReader

    task = aligned.task(index)
    own, other = (task.candidate, task.reference)
    capture = aligned.candidate
    if side == "reference":
        own, other, capture = other, own, aligned.reference
    node = node_of(own.locator)
    if not isinstance(node, Cut):
        return ""
    starts = np.cumsum([0, *(length for _, _, length in node.pieces)])
    numbers = np.array([number for number, _, _ in node.pieces])
    recipe, theirs = parse_recipe(own.recipe), parse_recipe(other.recipe)
    errors = np.zeros(len(node.nodes))
    with PairReader(task.reference, task.candidate) as reader:
        for squared, place in _errors(reader):
            at = origin(recipe, node.shape, place, theirs)[node.axis]
            part = numbers[np.searchsorted(starts, at, side="right") - 1]
            errors += np.bincount(np.broadcast_to(part, squared.shape).reshape(-1),
                                  squared.reshape(-1), len(errors))  # fmt: skip
    worst = int(errors.argmax())
    if len(errors) < 2 or not errors[worst] or errors[worst] < _SHARE * errors.sum():
        return ""
    ranks = _names(capture, [leaf.locator for leaf in leaves(node.nodes[worst])])
    if not ranks:
        return ""
    share = "all" if errors[worst] >= 0.99995 * errors.sum() else "nearly all"
    return f"{' and '.join(ranks)} of the {side}: {share} of the error is in its part"


def _errors(reader: PairReader) -> Iterator[tuple[Array, tuple[Array, ...]]]:
    """Squared errors, and the place of each in the pair's view, block by block."""
    import numpy as np

    shape, seen = reader.shape, 0
    for block in reader.blocks():
        if block.x is None or block.y is None or seen > _MOST:
            break
        with np.errstate(all="ignore"):
            squared = np.square(block.x.astype(np.float64) - block.y.astype(np.float64)).reshape(-1)
        squared = np.nan_to_num(squared, nan=0.0, posinf=0.0)
        places = np.arange(block.start, block.start + squared.size)
        yield squared, unravel(places, shape)
        seen += squared.size


def _names(capture: Capture, parts: list[Locator]) -> list[str]:
    """The ranks that have these parts."""
    known = capture.of_ranks
    wanted = {(part.path, part.offset, part.key) for part in parts}
    names = [
        record.rank for record in (known.records if known is not None else ())
        if record.rank is not None and record.locator is not None
        and (record.locator.path, record.locator.offset, record.locator.key) in wanted
    ]  # fmt: skip
    return list(dict.fromkeys(names))
