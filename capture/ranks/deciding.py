"""How each group of records, one a rank, makes a whole; nothing where it is not certain.

Asked in this order: what the user's rules say, what the recording says, equal values, names
together with what the other records show. Parts that nothing explains stay apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..records import Locator, Record
from . import names_of_parts as names
from .extent import Extent
from .facts import Facts, copies_among, side_by_side, token_axis
from .groups import Group
from .join_tree import Node, concat, split, total, zigzag
from .pipeline.numbering import StageAdvice
from .placement import Placement
from .split_weights import SplitWeights
from .sums import is_sum_shown
from .way import APART, GATE_UP, QKV, REPLICATED, Way


@dataclass(frozen=True, slots=True)
class Decision:
    """`node` is None where a rank's record is the whole, that of place `shown`, or nothing is
    joined. Ranks at the places `odd` have other values, though they should have the same; `unlike`
    are places of parts that should be those of other places.
    """

    way: Way
    why: str
    node: Node | None = None
    shown: int = 0
    odd: tuple[int, ...] = ()
    unlike: tuple[tuple[int, int], ...] = ()


UNKNOWN = "how the ranks' parts make a whole is not known"

_Item = tuple[Node, Placement, Record]  # one rank's part, and where the rank stands


class Advice(StageAdvice, Protocol):
    """What is known beside the capture: the user's rules, and the other capture."""

    def prepare(self, records: Sequence[Record]) -> None:
        """Look at all records of all ranks, before the first question."""
        ...

    def name(self, record: Record) -> tuple[str, str]:
        """Module and slot of a record, without what else its name has in it."""
        ...

    def rule(self, group: Group) -> Way | None:
        """What the user says of a group."""
        ...

    def guess(self, group: Group, facts: Facts, named: Decision | None) -> Decision | None:
        """What the other capture shows, against what names say."""
        ...

    def extent(self, facts: Facts, numbers: Sequence[int]) -> Extent | None:
        """How many ranks there are in all, as the other capture shows it."""
        ...

    def wants_layer(self, number: int) -> bool:
        """Whether the other capture has this layer; so where there is none."""
        ...


@dataclass(slots=True)
class Deciding:
    """Decides about one capture."""

    facts: Facts
    advice: Advice | None = None
    weights: SplitWeights = field(default_factory=SplitWeights)
    _cut: bool | None = None

    def decide(self, group: Group) -> Decision:
        """What is known of a group; `apart` where nothing is."""
        said = None if self.advice is None else self.advice.rule(group)
        if said is not None:
            return self._by_rule(group, said)
        if group.shapes is None:
            return Decision(APART, "not every rank has its values")
        found = self._by_recording(group)
        if found is None and group.agree and self.advice is not None:
            found = self.advice.guess(group, self.facts, None)
        if found is None and group.agree:
            why = "equal on all ranks" if group.same else "equal on all ranks but for rounding"
            found = Decision(REPLICATED, why)
        if found is None and not group.is_float:
            found = self._of_sequence(group)
        elif found is None:
            found = self._by_names(group)
            if self.advice is not None:
                found = self.advice.guess(group, self.facts, found) or found
        return found or Decision(APART, UNKNOWN)

    def _by_rule(self, group: Group, way: Way) -> Decision:
        why = "by the rules file"
        if way.kind == "apart":
            return Decision(APART, why)
        if group.shapes is None:
            return Decision(APART, f"not every rank has its values, to be joined {why}")
        if way.kind == "replicated":
            return Decision(REPLICATED if group.agree else APART, f"replicated {why}")
        node = self.made(group, group.leaves, way)
        if node is None:
            return Decision(APART, f"the parts do not fit `{way}` {why}")
        return Decision(way, why, node)

    def made(self, group: Group, nodes: Sequence[Node], way: Way) -> Node | None:
        """The whole; None where parts do not fit the way."""
        if way.kind == "concat":
            return concat(nodes, way.axis, way.copies)
        if way.kind == "zigzag":
            return zigzag(nodes, way.axis)
        if way.kind == "partial":
            return total(nodes)
        if way.kind != "split":
            return None
        if way.fused == GATE_UP:
            return split(nodes, way.axis, (1, 1))
        if way.fused == QKV:
            sizes = self.facts.qkv_sizes(group)
            found = None if sizes is None else joined_qkv(nodes, way.axis, sizes)
            return None if found is None else found[0]
        others = (way.copies,) * (len(way.shares) - 1)
        return split(nodes, way.axis, way.shares, (1, *others))

    # What the recording says

    def _by_recording(self, group: Group) -> Decision | None:
        placed = [record.placement for record in group.records]
        if all(placement is not None for placement in placed):
            return self._placed(group, [p for p in placed if p is not None])
        if any(record.split is not None for record in group.records) or self.weights.knows(group):
            node = None if group.agree else self.weights.join(group)
            if node is not None:
                return Decision(Way("concat", -1), "by the placement of the weights", node)
        return None

    def _placed(self, group: Group, placed: list[Placement]) -> Decision | None:
        cuts = placed[0].cuts
        if any(placement.cuts != cuts for placement in placed):
            return None
        if any(len(shape) != placed[0].axes for shape in group.shapes or ()):
            return None
        if not cuts:
            if group.agree:
                return Decision(REPLICATED, "by its dims, equal on all ranks")
            return Decision(APART, "replicated by its dims, but the ranks differ")
        items: list[_Item] = list(zip(group.leaves, placed, group.records, strict=True))
        node = self._assembled(group, items, cuts)
        if node is None:
            return Decision(APART, "its dims and the ranks' shapes do not fit together")
        ways = [self._fused_way(group, way) for _, way in cuts]
        return Decision(ways[0], "by its dims", node)

    def _assembled(
        self, group: Group, items: list[_Item],
        cuts: tuple[tuple[str, Way], ...],
    ) -> Node | None:  # fmt: skip
        """Undo the kinds of parallelism one by one, the inner one first."""
        if not cuts:
            own = Group(tuple(item[2] for item in items))
            return items[0][0] if own.agree else None
        (kind, way), rest = cuts[0], cuts[1:]
        places: dict[int, list[_Item]] = {}
        count = 0
        for item in items:
            at = item[1].place(kind)
            if at is None or (count and at[1] != count):
                return None
            count = at[1]
            places.setdefault(at[0], []).append(item)
        if len(places) != count:
            return None
        inner = [self._assembled(group, places[at], rest) for at in sorted(places)]
        nodes = [node for node in inner if node is not None]
        if len(nodes) < count:
            return None
        if count == 1:
            return nodes[0]
        return self.made(group, nodes, self._fused_way(group, way))

    def _fused_way(self, group: Group, way: Way) -> Way:
        """A cut along the last axis of a fused projection goes through each of its parts."""
        axes = len(group.shapes[0]) if group.shapes else 0
        if way.kind != "concat" or way.axis != axes - 1 or not group.is_output:
            return way
        if group.last in names.QKV:
            return Way("split", -1, fused=QKV)
        gated = group.last in names.GATE_UP or (
            group.last in names.MAYBE_GATED and self.facts.is_gated(group)
        )
        return Way("split", -1, fused=GATE_UP) if gated else way

    # Names, and what other records show

    def _by_names(self, group: Group) -> Decision | None:
        return (
            self._of_sequence(group)
            or self._of_tokens(group)
            or self._of_a_projection(group)
            or self._of_a_sum(group)
        )

    def _of_sequence(self, group: Group) -> Decision | None:
        """Context parallelism: each rank has some tokens of everything."""
        said = self.facts.chunks.get(group.first.step)
        shapes = group.shapes
        if said is None or not shapes or len({len(shape) for shape in shapes}) > 1:
            return None
        counts, way = said
        most = len(shapes[0]) - (1 if group.is_float else 0)  # ids have no axis of channels
        axes = [
            axis for axis in range(most)
            if tuple(shape[axis] for shape in shapes) == counts
            and len({(s[:axis], s[axis + 1 :]) for s in shapes}) == 1
        ]  # fmt: skip
        if len(axes) != 1:
            return None
        way = Way(way.kind, axes[0])
        node = self.made(group, group.leaves, way)
        return node and Decision(way, "the positions of all ranks are those of one sequence", node)

    def _of_tokens(self, group: Group) -> Decision | None:
        """Sequence parallelism: each rank has some tokens, as many as there are in all."""
        whole = self.facts.tokens.get(group.first.step)
        split = group.last in names.SPLIT and group.is_output
        if whole is None or split or self.facts.is_between(group):
            return None
        axis = token_axis(group, whole)
        if axis is None:
            return None
        node = concat(group.leaves, axis)
        return node and Decision(Way("concat", axis), "the ranks have some of the tokens", node)

    def _of_a_projection(self, group: Group) -> Decision | None:
        inside = group.last in names.INSIDE or names.takes_parts(group)
        if not (inside or (group.last in names.SPLIT and group.is_output) or self._is_head(group)):
            return None
        if group.alike is None or not group.alike:
            return None
        if not (self.is_cut(group) if group.last not in names.HEAD else self._is_cut_run()):
            return None
        return self._split_output(group) if not inside else self._inside(group)

    def is_cut(self, group: Group) -> bool:
        """Whether what is computed of the parts is the same on all ranks again, or has the tokens
        of all.
        """
        if self.facts.is_cut(group):
            return True
        whole = self.facts.tokens.get(group.first.step)
        closers = self.facts.closers(group)
        if whole is not None and any(token_axis(other, whole) is not None for other in closers):
            return True
        return any(self._of_a_sum(other) is not None for other in self.facts.closers(group)
                   if other.last in names.ROW)  # fmt: skip

    def _is_head(self, group: Group) -> bool:
        if group.last not in names.HEAD or not group.is_output:
            return False
        given = self.facts.input_of(group.module, group.first.step, group.first.call)
        return given is not None and (given.agree or self._of_tokens(given) is not None)

    def _is_cut_run(self) -> bool:
        """Whether any projection of the run is cut for certain."""
        if self._cut is None:
            found = (g for g in self.facts.groups if g.last in names.SPLIT and g.is_output)
            self._cut = any(g.alike and not g.agree and self.is_cut(g) for g in found)
        return self._cut

    def _split_output(self, group: Group) -> Decision | None:
        why = f"{group.last} is split by its output, and what follows is equal on all ranks"
        if group.last in names.QKV:
            sizes = self.facts.qkv_sizes(group)
            fused = sizes and joined_qkv(group.leaves, -1, sizes)
            return fused and Decision(fused[1], why, fused[0])
        gated = group.last in names.GATE_UP
        if group.last in names.MAYBE_GATED:
            said = self.facts.is_gated(group)
            if said is None:
                return None
            gated = said
        if gated:
            node = split(group.leaves, -1, (1, 1))
            return node and Decision(Way("split", -1, fused=GATE_UP), why, node)
        if group.last in names.UNTOLD_QKV:
            return None
        keys = group.last in names.KEYS_AND_VALUES
        found = side_by_side(group.leaves, keys)
        if found is None or (keys and not self._have_copies(group, found[1].copies)):
            return None
        return Decision(found[1], why, found[0])

    def _have_copies(self, group: Group, copies: int) -> bool:
        """Whether keys and values are on as many ranks, one as the other."""
        for other in self.facts.beside(group):
            if other.last in names.KEYS_AND_VALUES and other.is_output and other.alike:
                own = copies_among(other.leaves, -1, 0, other.alike[-1])
                if own is not None and own != copies:
                    return False
        return True

    def _inside(self, group: Group) -> Decision | None:
        """What is between the projections of an attention or a feed-forward block: as wide as a
        part of what they give.
        """
        shape, widths = group.alike, self.facts.part_widths(group)
        if shape is None or not 0 < len(shape) <= 3 or (widths and shape[-1] not in widths):
            return None
        if not widths and not names.takes_parts(group):
            return None
        keys = not names.takes_parts(group) and not group.is_output
        found = side_by_side(group.leaves, keys or group.last == "rotary_emb")
        why = "between two projections that are split, of which the last is equal on all ranks"
        return found and Decision(found[1], why, found[0])

    def _of_a_sum(self, group: Group) -> Decision | None:
        if group.last not in names.ROW or not group.is_output or group.alike is None:
            return None
        for other in self.facts.closers(group):
            if other.same and other.alike == group.alike and is_sum_shown(group, other):
                node = total(group.leaves)
                why = f"the parts add up to {other.first.name}"
                return node and Decision(Way("partial"), why, node)
        return None


def joined_qkv(
    nodes: Sequence[Node], axis: int, sizes: tuple[int, int, int]
) -> tuple[Node, Way] | None:
    """Queries, keys and values of all ranks, by kind. Neighbours may have the same keys and values
    where there are more ranks than heads of them; None where that is not clear.
    """
    queries, keys, _ = sizes
    first = copies_among(nodes, axis, queries, keys)
    if first is None or first != copies_among(nodes, axis, queries + keys, keys):
        return None
    way = Way("split", axis, sizes, copies=first)
    node = split(nodes, axis, sizes, (1, first, first))
    return None if node is None else (node, way)


def place_of_whole(decision: Decision, group: Group) -> Locator | None:
    """Where the whole lies that is not the first rank's record."""
    from .join_tree import locator_of

    return None if decision.node is None else locator_of(decision.node)
