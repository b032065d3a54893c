"""How many ranks there must be, by how wide the other capture's tensors are, and which of them are
there, by its values.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from math import prod

from ...capture.ranks import names_of_parts as names
from ...capture.ranks.extent import Extent
from ...capture.ranks.facts import Facts
from ...capture.ranks.groups import Group
from ...capture.ranks.join_tree import Cut, Node, Piece, as_node, concat
from ...capture.records import Locator
from .by_values import DIFFERS, FITS, distance

_MOST_LOOKED = 12  # records whose values are looked at
# As wide on each rank as their proportion of the whole, whatever number of ranks has them.
_PROPORTIONAL = (names.COLUMN - names.KEYS_AND_VALUES) | names.GATE_UP | names.MAYBE_GATED
# Proportional too where neighbours have no copies of heads, and vocabularies no padding.
_PERHAPS = names.KEYS_AND_VALUES | names.QKV | names.GROUPED_QKV | names.UNTOLD_QKV | names.HEAD

_Found = tuple[Group, list[Locator]]


def shown_extent(
    facts: Facts, numbers: Sequence[int], wholes_of: Callable[[Group], list[Locator]]
) -> Extent | None:
    """The ranks in all, where every part of a projection has the same proportion of the other
    capture's tensor, what is the same on all ranks is as wide there, and some values are found at
    the places of these ranks, and of no others. `numbers` are those of the groups' ranks.
    """
    by_count: dict[int, list[_Found]] = defaultdict(list)
    perhaps: dict[int, list[_Found]] = defaultdict(list)
    for group in facts.groups:
        wholes = wholes_of(group)
        if not _comparable(group, wholes):
            continue
        whole, part = sum(one.shape[-1] for one in wholes), (group.alike or (0,))[-1]
        if group.agree:
            if whole != part and not group.is_constant and group.last not in names.SPLIT:
                return None  # another model
            continue
        if not _is_part(group):
            continue
        count, rest = divmod(whole, part)
        fits = rest == 0 and count >= len(numbers)
        certain = not group.is_output or group.last not in _PERHAPS
        if fits:
            (by_count if certain else perhaps)[count].append((group, wholes))
        elif certain:
            return None
    by_count = by_count or perhaps
    if len(by_count) != 1:
        return None
    ((count, found),) = by_count.items()
    found = [*found, *perhaps.get(count, ())] if by_count is not perhaps else found
    if count == len(numbers) == max(numbers) - min(numbers) + 1:
        return None  # all of them
    first = _first_place(found, facts, _slots(numbers, count))
    if first is None:
        return None
    shown = (
        f"parts of {len(numbers)} ranks are {len(numbers)}/{count} as wide as in the other capture"
    )
    return Extent(count, first, shown)


def _comparable(group: Group, wholes: Sequence[Locator]) -> bool:
    shape = group.alike
    if not shape or not wholes or not group.is_float or not all(one.shape for one in wholes):
        return False
    return bool(shape[-1]) and {prod(one.shape[:-1]) for one in wholes} == {prod(shape[:-1])}


def _is_part(group: Group) -> bool:
    if names.takes_parts(group):
        return True
    return group.is_output and group.last in _PROPORTIONAL | _PERHAPS | names.BETWEEN


def _slots(numbers: Sequence[int], count: int) -> dict[int, tuple[int, ...]]:
    """Where the ranks may stand among all, by the place of the lowest number."""
    if count == len(numbers):
        order = sorted(numbers)
        return {0: tuple(order.index(n) for n in numbers)}
    lowest, span = min(numbers), max(numbers) - min(numbers) + 1
    return {
        first: tuple(n - lowest + first for n in numbers)
        for first in range(min(lowest, count - span) + 1)
    }


def _first_place(
    found: Sequence[_Found], facts: Facts, slots: dict[int, tuple[int, ...]]
) -> int | None:
    """The place of the lowest number that values show, and no other one."""
    shown: set[int] = set()
    step = -(-len(found) // _MOST_LOOKED)
    for group, wholes in found[::step]:
        for shares in _layouts(group, wholes, facts):
            errors = {
                first: _error(group, wholes, shares, places) for first, places in slots.items()
            }
            best = min(errors, key=errors.__getitem__, default=None)
            if best is None or errors[best] > FITS:
                continue
            if all(error > DIFFERS for first, error in errors.items() if first != best):
                shown.add(best)
    return next(iter(shown)) if len(shown) == 1 else None


def _layouts(
    group: Group, wholes: Sequence[Locator], facts: Facts
) -> Iterator[tuple[int, ...]]:  # fmt: skip
    """Sizes of the quantities that each part may hold, one behind the other."""
    width = (group.alike or (0,))[-1]
    yield (width,)
    if group.last in names.GATE_UP | names.MAYBE_GATED and width % 2 == 0:
        yield (width // 2, width // 2)
    sizes = (
        facts.qkv_sizes(group, equal=True) if group.last in names.QKV | names.UNTOLD_QKV else None
    )
    if sizes is not None:
        yield sizes
    whole = sum(one.shape[-1] for one in wholes)
    if len(wholes) == 3 and all(one.shape[-1] * width % whole == 0 for one in wholes):
        yield tuple(one.shape[-1] * width // whole for one in wholes)


def _error(
    group: Group, wholes: Sequence[Locator], shares: tuple[int, ...], places: tuple[int, ...]
) -> float:
    """The greatest relative L2 of a rank's part to what the other capture has at its place."""
    nodes = [as_node(one) for one in wholes]
    whole = nodes[0] if len(nodes) == 1 else concat(nodes, -1)
    if whole is None:
        return float("inf")
    parts = [record.locator for record in group.records]
    return max(
        float("inf") if part is None else distance(_at(whole, shares, place), (part,))
        for part, place in zip(parts, places, strict=True)
    )


def _at(whole: Node, shares: tuple[int, ...], place: int) -> Node:
    """The part of a whole that the rank at a place has."""
    axis = len(whole.shape) - 1
    count = whole.shape[axis] // sum(shares)
    pieces: list[Piece] = []
    begin = 0
    for share in shares:
        pieces.append((0, begin + place * share, share))
        begin += count * share
    return Cut(axis, tuple(pieces), (whole,))
