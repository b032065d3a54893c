"""Which rank an error comes from, where it lies in the part of one rank alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ...capture.ranks.join_tree import Cut, Node, leaves, node_of
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
_NOT_FINITE = 1e200  # the squared error of NaN or Inf on one side: more than that of all numbers
_Part = tuple[int, ...]  # the number of a node in each cut, the outer one first


def rank_to_blame(aligned: Aligned, index: int) -> str:
    """`rank5 of the candidate: its part has all of the error`; empty where a pair is not put
    together from parts side by side, or the error lies in several.
    """
    from ..measuring.bounded_sample import UNREADABLE

    row = aligned.rows[index]
    sides = (("candidate", row.candidate), ("reference", row.reference))
    joined = [
        side for side, record in sides
        if record is not None and record.locator is not None and record.locator.of_ranks
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
    recipe, theirs = parse_recipe(own.recipe), parse_recipe(other.recipe)
    errors: dict[_Part, float] = defaultdict(float)
    with PairReader(task.reference, task.candidate) as reader:
        for squared, place in _errors(reader):
            at = origin(recipe, node.shape, place, theirs)
            at = [np.broadcast_to(one, squared.shape) for one in at]
            _add(errors, node, at, squared, ())
    worst, share = _worst(errors)
    ranks = _names(capture, [
        leaf.locator for part in worst for leaf in leaves(_inside(node, part))
    ])  # fmt: skip
    if not ranks:
        return ""
    much = "all" if share >= 0.99995 else "nearly all"
    whose = "its part" if len(ranks) == 1 else "their parts"
    return f"{' and '.join(ranks)} of the {side}: {much} of the error is in {whose}"


def _add(
    errors: dict[_Part, float], node: Node, at: Sequence[Array], squared: Array, path: _Part
) -> None:
    """Squared errors at these places of a node, by the parts that they lie in, the inner ones."""
    import numpy as np

    if not isinstance(node, Cut):
        errors[path] += float(squared.sum())
        return
    starts = np.cumsum([0, *(length for _, _, length in node.pieces)])
    piece = np.searchsorted(starts, at[node.axis], side="right") - 1
    numbers = np.array([number for number, _, _ in node.pieces])[piece]
    firsts = np.array([first for _, first, _ in node.pieces])[piece]
    inside = list(at)
    inside[node.axis] = at[node.axis] - starts[piece] + firsts
    for number, inner in enumerate(node.nodes):
        here = numbers == number
        _add(errors, inner, [one[here] for one in inside], squared[here], (*path, number))


def _worst(errors: dict[_Part, float]) -> tuple[list[_Part], float]:
    """The parts that have all of the error: of each kind of parallelism one rank, or all, but not
    all of every kind. And the share of the error that they have.
    """
    whole = sum(errors.values())
    kept = list(errors)
    for depth in range(max(map(len, errors), default=0)):
        by_number: dict[int, float] = defaultdict(float)
        for part, error in errors.items():
            by_number[part[depth] if depth < len(part) else -1] += error
        most = max(by_number, key=by_number.__getitem__)
        if len(by_number) > 1 and most >= 0 and whole and by_number[most] >= _SHARE * whole:
            kept = [part for part in kept if len(part) > depth and part[depth] == most]
    if len(kept) == len(errors):
        return [], 0.0
    return kept, sum(errors[part] for part in kept) / whole


def _inside(node: Node, part: _Part) -> Node:
    for number in part:
        assert isinstance(node, Cut)
        node = node.nodes[number]
    return node


def _errors(reader: PairReader) -> Iterator[tuple[Array, tuple[Array, ...]]]:
    """Squared errors, and the place of each in the pair's view, block by block."""
    import numpy as np

    shape, seen = reader.shape, 0
    for block in reader.blocks():
        if block.x is None or block.y is None or seen > _MOST:
            break
        with np.errstate(all="ignore"):
            squared = np.square(block.x.astype(np.float64) - block.y.astype(np.float64)).reshape(-1)
            alike = (block.x == block.y) | (np.isnan(block.x) & np.isnan(block.y))
            finite = np.isfinite(block.x) & np.isfinite(block.y)
        squared = np.nan_to_num(squared, nan=0.0, posinf=0.0)
        squared = np.where(finite | alike, squared.reshape(finite.shape), _NOT_FINITE).reshape(-1)
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
