"""How many ranks there must be, by how wide the other capture's tensors are, and which of them are
there, by its values.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import TypeVar

from ...capture.ranks import names_of_parts as names
from ...capture.ranks.extent import Extent
from ...capture.ranks.facts import Facts
from ...capture.ranks.groups import Group
from ...capture.ranks.join_tree import Cut, Node, Piece, as_node, concat, locator_of
from ...capture.records import Locator
from .by_values import DIFFERS, FITS, distance

# Relative L2: ranks add up in another order and in a narrow type, which leaves less than this.
_SAME = 0.1
_MOST_LOOKED = 12  # records whose values are looked at
# As wide on each rank as their proportion of the whole, whatever number of ranks has them.
_PROPORTIONAL = (names.COLUMN - names.KEYS_AND_VALUES) | names.GATE_UP | names.MAYBE_GATED
# Proportional too where neighbours have no copies of heads, and vocabularies no padding.
_PERHAPS = names.KEYS_AND_VALUES | names.QKV | names.GROUPED_QKV | names.UNTOLD_QKV | names.HEAD

_Found = tuple[Group, list[Locator]]
_WholesOf = Callable[[Group], list[Locator]]
_At = Callable[[Node, int], Node]  # the part of a whole that the rank at a place would have
_Tried = tuple[Group, list[Locator], _At]
_T = TypeVar("_T")


def shown_extent(
    facts: Facts, numbers: Sequence[int], wholes_of: _WholesOf
) -> Extent | None:  # fmt: skip
    """The ranks in all, where every part of a projection has the same proportion of the other
    capture's tensor, what is the same on all ranks is as wide there, and some values are found at
    the places of these ranks, and of no others. `numbers` are those of the groups' ranks; where
    there is one, what it has may be the whole or a part.
    """
    found = _proportions(facts, len(numbers), wholes_of)
    if found is None:
        return None
    if not found.certain and not found.perhaps:
        return _by_tokens(facts, numbers, wholes_of)
    counts = found.certain or found.perhaps
    if len(counts) != 1:
        return None
    (count,) = counts
    if _are_all(numbers, count):
        return None
    parts = [*found.certain.get(count, ()), *found.perhaps.get(count, ())]
    parts = [one for one in parts if _makes_the_same(one[0], facts, wholes_of)]
    tried = [
        (group, wholes, partial(_at, shares=shares)) for group, wholes in _some(parts)
        for shares in _layouts(group, wholes, facts)
    ]  # fmt: skip
    return _placed(tried, numbers, count, "as wide as")


@dataclass(slots=True)
class _Proportions:
    """Parts by the number of them that make the other capture's tensor: those that are certain to
    be proportional, and those that may be.
    """

    certain: dict[int, list[_Found]] = field(default_factory=lambda: defaultdict(list))
    perhaps: dict[int, list[_Found]] = field(default_factory=lambda: defaultdict(list))


def _proportions(facts: Facts, ranks: int, wholes_of: _WholesOf) -> _Proportions | None:
    """None where something speaks against parts of the other capture's tensors."""
    found = _Proportions()
    for group in facts.groups:
        wholes = wholes_of(group)
        if not _comparable(group, wholes) or group.alike is None:
            continue
        whole, part = sum(one.shape[-1] for one in wholes), group.alike[-1]
        some_tokens = prod(wholes[0].shape[:-1]) != prod(group.alike[:-1])
        if whole == part and (some_tokens or ranks == 1):
            continue
        if not _is_part(group) if ranks == 1 else group.agree:
            if whole != part and group.last not in names.SPLIT and not group.is_constant:
                return None  # another model
            continue
        if not _is_part(group):
            continue
        count, rest = divmod(whole, part)
        certain = not group.is_output or group.last not in _PERHAPS
        if rest == 0 and count >= ranks:
            (found.certain if certain else found.perhaps)[count].append((group, wholes))
        elif certain:
            return None
    return found


def _makes_the_same(
    group: Group, facts: Facts, wholes_of: _WholesOf
) -> bool:  # fmt: skip
    """Whether what all ranks compute of their parts is what the other capture has, if it is
    recorded; a narrower model makes something else.
    """
    for other in facts.closers(group):
        whole = _whole_of(wholes_of(other)) if other.agree and other.leaves else None
        if whole is not None:
            return _apart(other.leaves[0], whole) <= _SAME
    return True


def _by_tokens(
    facts: Facts, numbers: Sequence[int], wholes_of: _WholesOf
) -> Extent | None:  # fmt: skip
    """The same of context parallelism: every rank has as many tokens of everything, one behind the
    other or by zigzag.
    """
    by_count: dict[int, list[tuple[Group, list[Locator], int]]] = defaultdict(list)
    for group in facts.groups:
        wholes = wholes_of(group)
        if group.agree or not group.is_float or not group.alike or len(wholes) != 1:
            continue
        part, whole = group.alike, wholes[0].shape
        axes = [axis for axis, (a, b) in enumerate(zip(part, whole, strict=False)) if a != b]
        if len(part) != len(whole) or len(axes) != 1 or axes[0] == len(part) - 1:
            return None
        count, rest = divmod(whole[axes[0]], part[axes[0]] or whole[axes[0]] + 1)
        if rest:
            return None
        by_count[count].append((group, wholes, axes[0]))
    if len(by_count) != 1:
        return None
    ((count, found),) = by_count.items()
    tried = [
        (group, wholes, partial(_tokens_at, axis=axis, count=count, folded=folded))
        for group, wholes, axis in _some(found) for folded in (False, True)
    ]  # fmt: skip
    return _placed(tried, numbers, count, "as long as")


def _placed(
    tried: Sequence[_Tried], numbers: Sequence[int], count: int, words: str
) -> Extent | None:  # fmt: skip
    """The extent where values show where the ranks stand; None where they do not, or all ranks are
    there.
    """
    here = len(numbers)
    if count < here or _are_all(numbers, count):
        return None
    first = _first_place(tried, _slots(numbers, count))
    parts = "parts of 1 rank are" if here == 1 else f"parts of {here} ranks are"
    shown = f"{parts} {here}/{count} {words} in the other capture"
    return None if first is None else Extent(count, first, shown)


def _are_all(numbers: Sequence[int], count: int) -> bool:
    return count == len(numbers) == max(numbers) - min(numbers) + 1


def _some(found: Sequence[_T]) -> Sequence[_T]:
    return found[:: max(1, -(-len(found) // _MOST_LOOKED))]


def _comparable(group: Group, wholes: Sequence[Locator]) -> bool:
    shape = group.alike
    if not shape or not wholes or not group.is_float or not all(one.shape for one in wholes):
        return False
    if not shape[-1] or len({one.shape[:-1] for one in wholes}) > 1:
        return False
    rows = wholes[0].shape[:-1]
    return prod(rows) == prod(shape[:-1]) or _token_axis(shape, wholes[0].shape) is not None


def _token_axis(part: Sequence[int], whole: Sequence[int]) -> int | None:
    """The axis before the last along which a part has some of the tokens of a whole; None where
    that is not the only difference of their rows.
    """
    if len(part) != len(whole):
        return None
    axes = [n for n, (a, b) in enumerate(zip(part[:-1], whole[:-1], strict=True)) if a != b]
    if len(axes) != 1 or not part[axes[0]] or whole[axes[0]] % part[axes[0]]:
        return None
    return axes[0]


def _apart(part: Node, whole: Node) -> float:
    """The relative L2 of a part to a whole that is as wide. Where it has some of the tokens, that
    of its first ones to the first of all: those of the first context-parallel rank.
    """
    axis = _token_axis(part.shape, whole.shape)
    if axis is not None:
        pieces = ((0, 0, max(1, part.shape[axis] // 2)),)
        part, whole = Cut(axis, pieces, (part,)), Cut(axis, pieces, (whole,))
    return distance(part, (locator_of(whole),))


def _whole_of(wholes: Sequence[Locator]) -> Node | None:
    """The other capture's tensors as one; None where there is none."""
    nodes = [as_node(one) for one in wholes]
    return nodes[0] if len(nodes) == 1 else concat(nodes, -1) if nodes else None


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
    tried: Sequence[_Tried], slots: dict[int, tuple[int, ...]]
) -> int | None:  # fmt: skip
    """The place of the lowest number that values show, and no other one."""
    shown: set[int] = set()
    for group, wholes, at in tried:
        errors = {first: _error(group, wholes, at, places) for first, places in slots.items()}
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
    group: Group, wholes: Sequence[Locator], at: _At, places: tuple[int, ...]
) -> float:  # fmt: skip
    """The greatest relative L2 of a rank's part to what the other capture has at its place."""
    whole = _whole_of(wholes)
    if whole is None or len(group.leaves) != len(places):
        return float("inf")
    return max(
        _apart(part, at(whole, place)) for part, place in zip(group.leaves, places, strict=True)
    )


def _at(whole: Node, place: int, shares: tuple[int, ...]) -> Node:
    """The part of a whole that the rank at a place has."""
    axis = len(whole.shape) - 1
    count = whole.shape[axis] // sum(shares)
    pieces: list[Piece] = []
    begin = 0
    for share in shares:
        pieces.append((0, begin + place * share, share))
        begin += count * share
    return Cut(axis, tuple(pieces), (whole,))


def _tokens_at(whole: Node, place: int, axis: int, count: int, folded: bool) -> Node:
    """The tokens of the rank at a place; `folded` as zigzag has them."""
    total = whole.shape[axis]
    size = total // count
    if not folded or size % 2:
        return Cut(axis, ((0, place * size, size),), (whole,))
    chunk = size // 2
    last = total - (place + 1) * chunk
    return Cut(axis, ((0, place * chunk, chunk), (0, last, chunk)), (whole,))
