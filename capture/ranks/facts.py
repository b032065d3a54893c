"""What the records of all ranks say together of how the run was cut."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

from ..errors import RecordError
from . import names_of_parts as names
from .groups import Group, sample
from .join_tree import Cut, Node, concat, locator_of
from .way import Way

if TYPE_CHECKING:
    from ..values import Array

_LOOKED = 1 << 16  # bytes of a piece that are compared with a neighbour's
_MOST_POSITIONS = 1 << 22


class Facts:
    """Groups of a capture, each with all of its ranks, and what can be told of one by others."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = groups
        self._by_place: dict[tuple[int, str, int, str], Group] = {}
        self._children: dict[tuple[int, str], list[Group]] = defaultdict(list)
        for group in groups:
            step, module, call = group.call
            self._by_place[step, module, call, group.slot] = group
            self._children[step, group.parent].append(group)

    def output_of(self, module: str, step: int, call: int = 1) -> Group | None:
        """What a module gives, if all ranks have it."""
        for slot in ("output", "output_0", "value"):
            found = self._by_place.get((step, module, call, slot))
            if found is not None:
                return found
        return None

    def input_of(self, module: str, step: int, call: int = 1) -> Group | None:
        """What a module is given first."""
        return self._by_place.get((step, module, call, "input_0"))

    def beside(self, group: Group) -> Iterator[Group]:
        """The records of the modules of the same parent."""
        for other in self._children[group.first.step, group.parent]:
            if other.first.call == group.first.call:
                yield other

    def closers(self, group: Group) -> Iterator[Group]:
        """Outputs that are computed of this one: of the projection behind it, and of the modules
        that it is inside of.
        """
        for other in self.beside(group):
            if other.last in names.ROW and other.is_output and other is not group:
                yield other
        module = group.parent
        while module:
            found = self.output_of(module, group.first.step, group.first.call)
            if found is not None:
                yield found
            module = module.rpartition(".")[0]

    def is_between(self, group: Group) -> bool:
        """Whether it stands between two projections that are cut."""
        if names.takes_parts(group):
            return True
        return group.last in names.BETWEEN and group.is_output

    def is_cut(self, group: Group) -> bool:
        """Whether ranks that differ here agree again in what is computed of it: then they have
        parts of one computation, and none is at fault.
        """
        if self._is_shared(group):
            return False
        return any(other.is_float and other.same for other in self.closers(group))

    def _is_shared(self, group: Group) -> bool:
        """Whether what stands beside it is not cut: what lies between the projections is the same
        on all ranks, or another projection's output is, as where a fault in one of them comes to
        nothing. Heads of keys that all ranks share are known by what lies between.
        """
        beside = [other for other in self.beside(group) if other.is_float]
        between = [other.agree for other in beside if self.is_between(other)]
        projections = [
            other.agree for other in beside
            if other.last in names.SPLIT and other.is_output and other is not group
        ]  # fmt: skip
        return any(between) or (any(projections) and not between)

    # Sequence parallelism

    @cached_property
    def tokens(self) -> dict[int, tuple[int, ...]]:
        """By step, the shape of a column-parallel output that has all tokens on every rank, where
        the projection behind it gives each rank some of them: reduce-scatter.
        """
        found: dict[int, tuple[int, ...]] = {}
        for group in self.groups:
            whole = group.alike
            if whole is None or group.last not in names.SPLIT or not group.is_output:
                continue
            for other in self.closers(group):
                if other.last in names.ROW and token_axis(other, whole) is not None:
                    found.setdefault(group.first.step, whole)
        return found

    # Context parallelism

    @cached_property
    def chunks(self) -> dict[int, tuple[tuple[int, ...], Way]]:
        """By step, the numbers of tokens on the ranks and the way to join them, where the positions
        on all ranks together are those of one sequence.
        """
        found: dict[int, tuple[tuple[int, ...], Way]] = {}
        for group in self.groups:
            if names.is_positions(group) and group.first.step not in found:
                said = _order_of(group)
                if said is not None:
                    found[group.first.step] = said
        return found

    # Fused projections

    def qkv_sizes(self, group: Group, equal: bool = False) -> tuple[int, int, int] | None:
        """Sizes of queries, keys and values in one rank's part: the output of the attention, or
        what the projection behind it is given, is as wide as the queries. Where that is `equal` on
        all ranks, it may be the whole.
        """
        width = group.alike[-1] if group.alike else 0
        for other in self.beside(group):
            inside = other.last in ("attn", "core_attention") and other.is_output
            if not (inside or names.takes_parts(other)) or not other.alike:
                continue
            queries = other.alike[-1]
            if (other.agree and not equal) or len(other.alike) > 3:
                continue
            left = width - queries
            if 0 < queries < width and left % 2 == 0 and left // 2 <= queries:
                return queries, left // 2, left // 2
        return None

    def is_gated(self, group: Group) -> bool | None:
        """Whether the part holds gate and up: what the projection behind is given is half as wide.
        None where that is not recorded.
        """
        width = group.alike[-1] if group.alike else 0
        for other in self.beside(group):
            if self.is_between(other) and other.alike and not other.agree:
                inner = other.alike[-1]
                return True if width == 2 * inner else False if width == inner else None
        return None

    def part_widths(self, group: Group) -> set[int]:
        """How wide the parts are that the modules beside it give on one rank: whole ones, and those
        of fused projections.
        """
        found: set[int] = set()
        for other in self.beside(group):
            if not other.is_output or not other.alike or other.last not in names.SPLIT:
                continue
            width = other.alike[-1]
            if other.last in names.QKV:
                found.update(self.qkv_sizes(other) or ())
            elif other.last in names.GATE_UP or self.is_gated(other):
                found.add(width // 2)
            else:
                found.add(width)
        return found


def token_axis(group: Group, whole: tuple[int, ...]) -> int | None:
    """The one axis before the last along which the parts of a group add up to a whole that has as
    many axes; None where there is none.
    """
    shapes = group.shapes
    if not shapes or any(len(shape) != len(whole) for shape in shapes):
        return None
    found: list[int] = []
    for axis in range(len(whole) - 1):
        rest = {(s[:axis], s[axis + 1 :]) for s in shapes}
        before = {s[:axis] + s[axis + 1 : -1] for s in shapes}
        total = sum(shape[axis] for shape in shapes)
        fits = len(rest) == 1 and before == {whole[:axis] + whole[axis + 1 : -1]}
        if fits and total == whole[axis] and max(shape[axis] for shape in shapes) < total:
            found.append(axis)
    return found[0] if len(found) == 1 else None


def _order_of(group: Group) -> tuple[tuple[int, ...], Way] | None:
    """How the positions of all ranks make 0, 1, 2, ...; None where they do not."""
    import numpy as np

    shapes, samples = group.shapes or (), _positions(group)
    counts = tuple(shape[-1] for shape in shapes if shape)
    if len(counts) < group.count or [one.size for one in samples] != [*counts]:
        return None
    together = np.concatenate(samples)
    if max(counts) < 2 or not np.array_equal(np.sort(together), np.arange(together.size)):
        return None
    if np.array_equal(together, np.arange(together.size)):
        return counts, Way("concat", 0)
    if len(set(counts)) > 1 or counts[0] % 2:
        return None
    chunks = np.arange(together.size).reshape(2 * group.count, -1)
    for rank, one in enumerate(samples):
        wanted = np.concatenate((chunks[rank], chunks[2 * group.count - 1 - rank]))
        if not np.array_equal(one, wanted):
            return None
    return counts, Way("zigzag", 0)


def _positions(group: Group) -> list[Array]:
    """The whole numbers of each rank; none where they are not, or are too many."""
    places = [record.locator for record in group.records if record.locator is not None]
    if group.is_float or any(place.count > _MOST_POSITIONS for place in places):
        return []
    try:
        found = [sample(place, _MOST_POSITIONS * 8) for place in places]
    except (RecordError, OSError, TypeError):
        return []
    return found if all(one.dtype.kind in "iu" for one in found) else []


def copies_among(nodes: Sequence[Node], axis: int, first: int, length: int) -> int | None:
    """How many neighbouring nodes have the same in this range of an axis, by what is looked at;
    None where that is no regular number, or all of it is one value.
    """
    seen = _looked(nodes, axis, first, length)
    if not seen or (len(set(seen)) == 1 and len(set(seen[0])) <= 4):
        return None
    runs = [1]
    for one, other in pairwise(seen):
        if one == other:
            runs[-1] += 1
        else:
            runs.append(1)
    return runs[0] if len(set(runs)) == 1 else None


def unlike_copies(
    nodes: Sequence[Node], axis: int, first: int, length: int, copies: int
) -> list[tuple[int, int]]:
    """Nodes that have not what the first of their neighbours has, though they should: the place of
    each, and that of the first.
    """
    seen = _looked(nodes, axis, first, length)
    pairs = [(place, place - place % copies) for place in range(len(seen))]
    return [(place, other) for place, other in pairs if seen[place] != seen[other]]


def _looked(nodes: Sequence[Node], axis: int, first: int, length: int) -> list[bytes]:
    """The beginning of a range of an axis of each; none where one cannot be read."""
    from .joined_file import JoinedFile

    seen: list[bytes] = []
    try:
        for node in nodes:
            piece = Cut(axis % len(node.shape), ((0, first, length),), (node,))
            with JoinedFile(locator_of(piece)) as file:
                seen.append(file.read_at(0, _LOOKED))
    except (RecordError, OSError):
        return []
    return seen


def side_by_side(leaves: Sequence[Node], keys: bool) -> tuple[Node, Way] | None:
    """Parts along the last axis; of keys and values, neighbours may have the same."""
    copies = copies_among(leaves, -1, 0, leaves[0].shape[-1]) if keys else 1
    node = concat(leaves, -1, copies) if copies else None
    return None if node is None else (node, Way("concat", -1, copies=copies or 1))
