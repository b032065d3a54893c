"""Parts of tensors by how the weights of their modules are split, where the recording says so.

A split of a weight's rows splits the output, one of its columns the input, along the last axis and
into parts that add up to the size of the whole weight. What has the bits of such a part has its
axis; so has what a module makes of it in the same shape, element by element.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

from ..records import Locator
from .groups import Group, places
from .join_tree import Node, concat

_Place = tuple[object, ...]


@dataclass(slots=True)
class SplitWeights:
    """Joins groups of records, one a rank, given in the order in which they were made."""

    _parts: dict[tuple[_Place, ...], tuple[tuple[int, ...], int]] = field(default_factory=dict)
    _inputs: dict[tuple[int, str, int], tuple[tuple[int, ...], int]] = field(default_factory=dict)

    def knows(self, group: Group) -> bool:
        """Whether the records are those of parts that are known, or made of them."""
        return places(group.records) in self._parts or group.call in self._inputs

    def join(self, group: Group) -> Node | None:
        """The whole tensor of parts by rank, None where they are not known to be parts of one."""
        located = [record.locator for record in group.records]
        parts = [part for part in located if part is not None]
        if len(parts) < group.count or any(not p.in_place or p.strides for p in parts):
            return None
        axis = self._axis(group, parts)
        whole = None if axis is None else concat(group.leaves, axis)
        if whole is None or axis is None:
            return None
        self._parts.setdefault(places(group.records), (parts[0].shape, axis))
        if group.slot.startswith("input"):
            self._inputs.setdefault(group.call, (parts[0].shape, axis))
        return whole

    def _axis(self, group: Group, parts: Sequence[Locator]) -> int | None:
        last = len(parts[0].shape) - 1
        told = {record.split for record in group.records}
        (size,) = told if len(told) == 1 else (None,)
        if size and last >= 0:
            return last if sum(part.shape[last] for part in parts) == size else None
        same = self._parts.get(places(group.records))
        if same is not None:
            return _axis_of(parts[0].shape, *same)
        shape, axis = self._inputs.get(group.call, ((), 0))
        plain = group.slot == "output" and all(part.shape == shape for part in parts)
        return axis if plain and shape else None


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
