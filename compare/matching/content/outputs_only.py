"""A dump of outputs alone, whose names say nothing, beside a capture that has inputs as well.

What a module is given is what another returned: of the other side's records with the same values
some are inputs, or what the whole model returns, which its last module returned before. They are
not looked at where the dump cannot have them.
"""

from __future__ import annotations

from dataclasses import replace

from ..names.roles import role_of
from .state import Search
from .values import Entry, Near, Values

_FEWEST = 4  # values that both sides have, from which on it can be told


def without_inputs(search: Search, found: list[Near]) -> list[Near]:
    """`found` without the inputs of a side whose outputs alone the other side has; the search does
    without them, too.
    """
    for number in (0, 1):
        if len(found) >= _FEWEST and _has_outputs_only(search, found, number):
            other = 1 - number
            less = [_of_outputs(near, number) for near in found]
            kept = {id(entry) for near in less for entry in _of(near, other).entries}
            search.look_only_at(
                [
                    entry for entry in search.side(other)
                    if id(entry) in kept or (entry.item.role != "input" and not _is_whole(entry))
                ],
                other,
            )  # fmt: skip
            return less
    return found


def _has_outputs_only(search: Search, found: list[Near], number: int) -> bool:
    """Whether the records of a side, none of which says what it is, are at most as many as the
    other side's outputs of the same values, for all values; and the other side has inputs.
    """
    if any(entry.item.role in ("input", "output") for entry in search.side(number)):
        return False
    if all(entry.item.role != "input" for entry in search.side(1 - number)):
        return False
    for near in found:
        outputs = sum(entry.item.role == "output" for entry in _of(near, 1 - number).entries)
        if len(_of(near, number).entries) > outputs:
            return False
    return True


def _of(near: Near, number: int) -> Values:
    return near.candidate if number else near.reference


def _of_outputs(near: Near, number: int) -> Near:
    """Without the inputs, and without what the whole model returns where there are others."""
    values, own = _of(near, 1 - number), len(_of(near, number).entries)
    outputs = tuple(entry for entry in values.entries if entry.item.role != "input")
    inner = tuple(entry for entry in outputs if not _is_whole(entry))
    less = replace(values, entries=inner if len(inner) >= own else outputs)
    return replace(near, reference=less) if number else replace(near, candidate=less)


def _is_whole(entry: Entry) -> bool:
    return role_of(entry.item.module) == "root"
