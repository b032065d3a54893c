"""Records that should be the same on all ranks, and are not: which rank, and in which rows."""

from __future__ import annotations

from collections.abc import Sequence

from ..dtypes import DTYPES
from .deciding import UNKNOWN, Decision
from .groups import Group, rows_that_differ
from .names_of_parts import HEAD, NORMS, is_of_tokens, kind_of_module
from .rank_records import UnequalRank
from .way import APART, REPLICATED

Told = Sequence[tuple[Group, Decision]]
# Ranks that compute the same in other orders are apart by some units in the last place, and by more
# behind many layers: so many units are no fault yet.
_ROUNDINGS = 16


def unequal_ranks(told: Told) -> tuple[UnequalRank, ...]:
    """Outputs that are not the same on all ranks, of modules that have the same inputs everywhere
    and no part of which is split; what is said to be replicated; and what is the same on all ranks
    in another layer.
    """
    given = _given_the_same(told)
    usual = _kinds_that_agree(told)
    found: list[UnequalRank] = []
    for group, decision in told:
        found += [
            UnequalRank(
                group.first.name, str(group.records[at].rank), str(group.records[other].rank)
            )
            for at, other in decision.unlike
        ]
        if group.slot.startswith("input"):
            continue
        if decision.odd or (decision.way.kind == "apart" and (
            id(group) in given or decision.why.startswith("replicated")
            or (_kinds(group) & usual and _far_apart(group))
        )):  # fmt: skip
            found += _of_group(group)
    return (*_other_inputs(told), *found)


def _other_inputs(told: Told) -> list[UnequalRank]:
    """Token ids and positions of which most are the same on all ranks, though not all are. Ranks
    with other inputs, or with other tokens of one sequence, have hardly any in common.
    """
    found: list[UnequalRank] = []
    for group, decision in told:
        if decision.way.kind != "apart" or group.is_float or not is_of_tokens(group):
            continue
        odd = group.odd_ones()
        few = group.count > 2 and 2 * len(odd) < group.count
        if odd and (few or _mostly_equal(group)):
            found += _of_group(group)
    return found


def _mostly_equal(group: Group) -> bool:
    first, *others = group.samples or ((),)
    return all(2 * int((one == first).sum()) > one.size for one in others)


def with_odd_ranks(told: Told) -> list[tuple[Group, Decision]]:
    """Where most ranks have the same and one or a few have not, of what should be the same on all:
    one of the many stands for all, and the odd ones are shown besides.
    """
    usual = _kinds_that_agree(told)
    found: list[tuple[Group, Decision]] = []
    for group, decision in told:
        head = decision.node is not None and group.last in HEAD
        looked = decision.way.kind == "apart" or (head and decision.way.kind == "concat")
        odd = group.odd_ones() if looked and group.count > 2 else ()
        if odd and 2 * len(odd) < group.count and _far_apart(group):
            shown = next(n for n in range(group.count) if n not in odd)
            why = ""
            if _kinds(group) & usual:
                why = "equal on most ranks, as it is on all in another layer"
            elif (head or decision.why == UNKNOWN) and not _is_constant(group, shown):
                why = "equal on most ranks"
            if why:
                decision = Decision(REPLICATED, why, shown=shown, odd=odd)
        found.append((group, decision))
    return found


def without_empty_parts(told: Told) -> list[tuple[Group, Decision]]:
    """What would be a sum of which a rank has nothing but zeros, and is the same on all ranks in
    another layer, is no sum: the ranks differ.
    """
    usual = _kinds_that_agree(told)
    return [
        (group, Decision(APART, UNKNOWN))
        if decision.way.kind == "partial" and _kinds(group) & usual and _is_empty(group)
        else (group, decision)
        for group, decision in told
    ]


def _is_empty(group: Group) -> bool:
    return any(not one.any() for one in group.samples or ())


def _given_the_same(told: Told) -> set[int]:
    """Groups of outputs whose module has the same inputs on all ranks, and holds no part of what is
    split; of a run that shares its tensors.
    """
    agreeing: dict[tuple[int, str, int], bool] = {}
    split: set[str] = set()
    for group, decision in told:
        if group.slot.startswith("input"):
            agreeing[group.call] = agreeing.get(group.call, True) and group.agree
        if decision.node is not None or group.first.split is not None:
            parts = group.module.split(".")
            split.update(".".join(parts[:count]) for count in range(1, len(parts) + 1))
    if not split:
        return set()
    return {
        id(group) for group, _ in told
        if group.module and group.module not in split
        and agreeing.get(group.call, False)
    }  # fmt: skip


def _kinds_that_agree(told: Told) -> set[tuple[str, str]]:
    same = (group for group, d in told if d.way.kind == "replicated" and group.is_float)
    return {kind for group in same for kind in _kinds(group)}


def _kinds(group: Group) -> set[tuple[str, str]]:
    """The same module of any layer; any norm of the residual stream."""
    found = {(kind_of_module(group.module), group.slot)}
    return found | {("", group.slot)} if group.last in NORMS else found


def _is_constant(group: Group, place: int) -> bool:
    """Whether a rank has one value everywhere, as where it has no part in a sum."""
    values = (group.samples or ())[place : place + 1]
    return not values or bool((values[0] == values[0][:1]).all())


def _far_apart(group: Group) -> bool:
    known = DTYPES.get(group.first.dtype or "")
    return group.is_float and known is not None and group.error > _ROUNDINGS * known.epsilon


def _of_group(group: Group) -> list[UnequalRank]:
    odd = group.odd_ones() or (1,)
    against = next((n for n in range(group.count) if n not in odd), 0)
    majority = group.count > 2 and 2 * len(odd) < group.count
    found: list[UnequalRank] = []
    for place in odd:
        row, rows = rows_that_differ(group, place, against) or (None, None)
        other = "the others" if majority else str(group.records[against].rank)
        found.append(
            UnequalRank(group.first.name, str(group.records[place].rank), other, row, rows)
        )
    return found
