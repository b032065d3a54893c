"""What the other capture shows of parts of ranks: how wide the whole is, and its values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from math import prod

from ...capture.ranks import names_of_parts as names
from ...capture.ranks.deciding import Decision, joined_qkv
from ...capture.ranks.facts import Facts, side_by_side
from ...capture.ranks.groups import Group
from ...capture.ranks.join_tree import concat, split, total, without_end, zigzag
from ...capture.ranks.way import GATE_UP, Way
from ...capture.records import Locator
from .by_values import Joining, best_fit, fits

_AS_WIDE = "its parts are as wide together as in the other capture"
_MOST_QUERIES = 16  # heads for each head of keys: more than any model of known families has
_BY_VALUES = "so joined it has the values of the other capture"


def may_be_otherwise(group: Group, named: Decision) -> bool:
    """Whether values are asked besides names: of fused projections, which programs lay out in one
    way or another.
    """
    fused = names.QKV | names.GROUPED_QKV | names.GATE_UP | names.MAYBE_GATED
    return named.node is not None and group.is_output and group.last in fused


def logits_as_wide(group: Group, width: int) -> Decision | None:
    """Parts of logits, where those of the other side's ranks are as wide together: a vocabulary
    that another number of ranks shares.
    """
    shape = group.alike
    if not shape or not group.is_output or group.agree or shape[-1] * group.count != width:
        return None
    node = concat(group.leaves, -1)
    return node and Decision(Way("concat", -1), _AS_WIDE, node)


class OtherSide:
    """Decides by the other side's tensors. What is shown for a module in one layer holds for the
    same module of other layers, unless it is shown otherwise there; the order of tokens that some
    records of a step show holds for all of it.
    """

    def __init__(self) -> None:
        self._shown: dict[tuple[str, str], Way] = {}
        self._orders: dict[tuple[int, str], set[Way]] = defaultdict(set)

    def decide(
        self, group: Group, facts: Facts, wholes: Sequence[Locator], named: Decision | None
    ) -> Decision | None:
        """`wholes` are the other side's record of this, or those of its quantities in order;
        `named` is what names say.
        """
        if not wholes or group.shapes is None or any(not shape for shape in group.shapes):
            return None
        if any(not whole.shape for whole in wholes):
            return None
        if group.agree:  # equal parts, or the whole on every rank: widths tell
            return self._by_width(group, wholes)
        if named is not None and named.node is not None and fits(named.node, wholes):
            return None
        fused = group.last in names.QKV | names.GATE_UP | names.MAYBE_GATED
        if named is not None or fused:
            found = self._by_values(group, facts, wholes)
            if found is not None or named is not None:
                return found
        return self._by_width(group, wholes) or self._by_values(group, facts, wholes)

    def _by_width(self, group: Group, wholes: Sequence[Locator]) -> Decision | None:
        """Projections by name, whose rows are all on every rank and whose widths add up."""
        shape = group.alike
        if shape is None:
            return None
        rows, there = prod(shape[:-1]), prod(wholes[0].shape[:-1])
        # Logits of ranks that have some of the tokens, too, which are put together afterwards.
        some = group.kind and group.last in names.HEAD and rows and there % rows == 0
        if rows != there and not some:
            return None
        widths = [whole.shape[-1] for whole in wholes]
        if group.last in names.QKV and len(widths) == 3 and group.is_output:
            return self._qkv(group, widths)
        if shape[-1] * group.count != sum(widths):
            return self._padded_head(group, widths) or self._few_heads(group, widths)
        if group.last in names.GATE_UP and group.is_output:
            node = split(group.leaves, -1, (1, 1))
            return node and Decision(Way("split", -1, fused=GATE_UP), _AS_WIDE, node)
        projection = group.last in names.COLUMN | names.HEAD | names.INSIDE and group.is_output
        if projection or names.takes_parts(group):
            node = concat(group.leaves, -1)
            return node and Decision(Way("concat", -1), _AS_WIDE, node)
        return None

    def _qkv(self, group: Group, widths: list[int]) -> Decision | None:
        count, part = group.count, (group.alike or (0,))[-1]
        queries, rest = divmod(widths[0], count)
        left = part - queries
        if rest or widths[1] != widths[2] or left <= 0 or left % 2:
            return None
        found = joined_qkv(group.leaves, -1, (queries, left // 2, left // 2))
        if found is None or found[0].shape[-1] != sum(widths):
            return None
        return Decision(found[1], _AS_WIDE, found[0])

    def _padded_head(self, group: Group, widths: list[int]) -> Decision | None:
        """Parts of a vocabulary that is padded, so that all ranks have as many words: without the
        padding, which the other side has not.
        """
        part = (group.alike or (0,))[-1]
        beyond = part * group.count - sum(widths)
        if group.last not in names.HEAD or not group.is_output or not 0 < beyond < part:
            return None
        node = concat(group.leaves, -1)
        why = f"{_AS_WIDE}, and {beyond} of padding that is left out"
        return node and Decision(Way("concat", -1), why, without_end(node, beyond))

    def _few_heads(self, group: Group, widths: list[int]) -> Decision | None:
        """More ranks than heads of keys and values: neighbours have the same ones."""
        if group.last not in names.KEYS_AND_VALUES or not group.is_output:
            return None
        found = side_by_side(group.leaves, True)
        if found is None or found[0].shape[-1] != sum(widths):
            return None
        return Decision(found[1], _AS_WIDE, found[0])

    def _by_values(self, group: Group, facts: Facts, wholes: Sequence[Locator]) -> Decision | None:
        kind = (names.kind_of_module(group.module), group.slot)
        step = (group.first.step, group.kind)
        joinings = list(_joinings(group, facts))
        found = best_fit(joinings, wholes)
        if found is not None:
            self._shown.setdefault(kind, found.way)
            if found.way.kind in ("zigzag", "concat") and found.way.axis != -1:
                self._orders[step].add(found.way)
            return Decision(found.way, _BY_VALUES, found.node)
        orders = self._orders[step]
        order = next(iter(orders)) if len(orders) == 1 else None
        for way, where in ((self._shown.get(kind), "layer"), (order, "record")):
            same = [joining for joining in joinings if joining.way == way]
            if same and _has_shape(same[0], wholes):
                why = f"as in another {where}, where {_BY_VALUES}"
                return Decision(same[0].way, why, same[0].node)
        return None


def _has_shape(joining: Joining, wholes: Sequence[Locator]) -> bool:
    shape = joining.node.shape
    rows = prod(wholes[0].shape[:-1])
    return prod(shape[:-1]) == rows and shape[-1] == sum(whole.shape[-1] for whole in wholes)


def _usual_sizes(group: Group) -> Iterator[tuple[int, int, int]]:
    """Queries, keys and values in one rank's part of a fused output, where nothing beside it tells
    them: so many heads of queries for each head of keys.
    """
    width = group.alike[-1] if group.alike and group.last in names.QKV | names.UNTOLD_QKV else 0
    for queries in range(1, _MOST_QUERIES + 1):
        keys, rest = divmod(width, queries + 2)
        if keys and not rest:
            yield queries * keys, keys, keys


def _joinings(group: Group, facts: Facts) -> Iterator[Joining]:
    """Every way that is tried."""
    nodes = group.leaves
    rank = len((group.shapes or ((),))[0])
    for axis in range(rank):
        last = axis == rank - 1
        for way, node in (
            (Way("concat", -1 if last else axis), concat(nodes, axis)),
            (Way("zigzag", axis), zigzag(nodes, axis) if not last else None),
            (Way("split", -1, fused=GATE_UP), split(nodes, axis, (1, 1)) if last else None),
        ):
            if node is not None:
                yield Joining(way, node)
    sizes = (
        facts.qkv_sizes(group, equal=True) if group.last in names.QKV | names.UNTOLD_QKV else None
    )
    for tried in [sizes] if sizes else _usual_sizes(group):
        fused = joined_qkv(nodes, -1, tried)
        if fused:
            yield Joining(fused[1], fused[0])
    added = total(nodes) if group.last not in names.NORMS else None  # no norm gives a part of a sum
    if added is not None:
        yield Joining(Way("partial"), added)
