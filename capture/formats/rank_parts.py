"""Which records of several ranks are parts of one tensor, and along which axis they are joined.

Known is how a layer's weight is split, where the recording says so: a split of its rows splits the
output, one of its columns the input, along the last axis and into parts that add up to the size of
the whole weight. What has the bits of such a part has its axis; so has what a module makes of it in
the same shape, element by element. Nothing else is joined: parts whose axis is not known are shown
rank by rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

from ..records import Locator, Record
from .joined_ranks import joined

_Place = tuple[str, int]


@dataclass(slots=True)
class Joining:
    """Joins groups of records, one a rank, given in the order in which they were made."""

    _parts: dict[tuple[_Place, ...], tuple[tuple[int, ...], int]] = field(default_factory=dict)
    _inputs: dict[tuple[int, str, int], tuple[tuple[int, ...], int]] = field(default_factory=dict)
    _agreeing: dict[tuple[int, str, int], bool] = field(default_factory=dict)
    _split: set[str] = field(default_factory=set)
    _apart: dict[str, str] = field(default_factory=dict)

    def join(self, group: Sequence[Record]) -> Locator | None:
        """The whole tensor of parts by rank, None where they are not known to be parts of one."""
        parts = [record.locator for record in group]
        located = [part for part in parts if part is not None]
        if len(located) < len(group):
            return None
        axis = self._axis(group, located)
        whole = None if axis is None else joined(located, axis)
        if whole is None or axis is None:
            return None
        first = group[0]
        places = tuple((part.path, part.offset) for part in located)
        self._parts.setdefault(places, (located[0].shape, axis))
        if first.slot.startswith("input"):
            self._inputs.setdefault(_call(first), (located[0].shape, axis))
        return whole

    def note(self, group: Sequence[Record], agree: bool, is_joined: bool) -> None:
        """Remember whether all ranks agree, and what of a module should have agreed."""
        first = group[0]
        call = _call(first)
        if first.slot.startswith("input"):
            self._agreeing[call] = self._agreeing.get(call, True) and agree
        elif not agree and not is_joined and self._agreeing.get(call, False):
            self._apart[first.name] = first.module
        if is_joined or first.split is not None:
            self._split.add(first.module)

    def unequal(self) -> tuple[str, ...]:
        """Outputs that should be the same on all ranks, and are not: of modules that have the same
        inputs everywhere, and no part of which is split. Known of a run that shares its tensors.
        """
        return tuple(
            name
            for name, module in self._apart.items()
            if self._split
            and module
            and not any(f"{other}.".startswith(f"{module}.") for other in self._split)
        )

    def _axis(self, group: Sequence[Record], parts: Sequence[Locator]) -> int | None:
        last = len(parts[0].shape) - 1
        told = {record.split for record in group}
        (size,) = told if len(told) == 1 else (None,)
        if size and last >= 0:
            return last if sum(part.shape[last] for part in parts) == size else None
        same = self._parts.get(tuple((part.path, part.offset) for part in parts))
        if same is not None:
            return _axis_of(parts[0].shape, *same)
        shape, axis = self._inputs.get(_call(group[0]), ((), 0))
        plain = group[0].slot == "output" and all(part.shape == shape for part in parts)
        return axis if plain and shape else None


def _call(record: Record) -> tuple[int, str, int]:
    return record.step, record.module, record.call


def _axis_of(shape: tuple[int, ...], part: tuple[int, ...], axis: int) -> int | None:
    """The axis of a view of a part that is the part's `axis`, or the first that it was cut into.
    None where axes of size 1 were added: each may be the one that is split.
    """
    if shape == part:
        return axis
    if shape.count(1) > part.count(1):
        return None
    outer, inner = prod(part[:axis]), prod(part[axis:])
    for place in range(len(shape)):
        if prod(shape[:place]) == outer and prod(shape[place:]) == inner and shape[place] > 1:
            return place
    return None
