"""What is joined in one way in the other layers: parts that a fault keeps from showing it here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from .deciding import UNKNOWN, Deciding, Decision
from .facts import unlike_copies
from .groups import Group
from .names_of_parts import kind_of_module
from .way import REPLICATED, Way

_WHY = "as in all other layers that show it"


def with_usual_ways(
    told: Sequence[tuple[Group, Decision]], deciding: Deciding
) -> list[tuple[Group, Decision]]:
    """Groups of which it is not known how they are joined, as all of the same module are in other
    layers, and as wide; so are those of one value everywhere, which are equal whatever they are.
    Neighbours that should have the same part are held against each other.
    """
    ways: dict[tuple[str, str], set[tuple[Way, int]]] = defaultdict(set)
    for group, decision in told:
        if decision.node is not None and decision.node.shape:
            ways[_kind(group)].add((decision.way, decision.node.shape[-1]))
    found: list[tuple[Group, Decision]] = []
    for group, decision in told:
        usual = ways.get(_kind(group), set())
        if len(usual) == 1 and (decision.why == UNKNOWN or _says_nothing(group, decision)):
            ((way, width),) = usual
            node = deciding.made(group, group.leaves, way)
            if node is not None and node.shape[-1] == width:
                decision = Decision(way, _WHY, node, unlike=_unlike(group, way))
        found.append((group, decision))
    return found


def _says_nothing(group: Group, decision: Decision) -> bool:
    """Whether ranks are equal because each has zeros, or NaN, and nothing else."""
    values = (group.samples or ())[:1] if decision.way == REPLICATED and group.same else ()
    return any(bool((one == one[:1]).all() or (one != one).all()) for one in values)


def _kind(group: Group) -> tuple[str, str]:
    return kind_of_module(group.module), group.slot


def _unlike(group: Group, way: Way) -> tuple[tuple[int, int], ...]:
    shape = group.alike
    if way.copies < 2 or not shape:
        return ()
    size, shares = shape[way.axis], way.shares or (0, 1)
    begin = size * shares[0] // sum(shares)
    return tuple(unlike_copies(group.leaves, way.axis, begin, size - begin, way.copies))
