"""A capture's records under their canonical names, grouped by call, ready to be matched."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from ...capture.dtypes import DTYPES
from ...capture.names import natural_key, slot_role
from ...capture.records import Capture, Record
from ..rules.rules import Rules
from .canonical import (
    LAYER,
    ROOT,
    Canonical,
    NameRules,
    canonical_name,
    is_first_shard,
    layer_number,
)
from .roles import precedes_layers

Key = tuple[int, str, int]  # step, canonical module, call

_NUMBER = re.compile(r"(?<![0-9])[0-9]{1,9}(?![0-9])")


@dataclass(slots=True, eq=False)
class Item:
    """A record with its place in the run and its canonical name."""

    record: Record
    position: int
    module: str
    slot: str
    role: str
    plain: str  # the module as dumped, without the root
    step: int
    last_rows: bool = False  # one side may have only the last token of what the other has
    matches: int = 0

    @property
    def key(self) -> Key:
        return (self.step, self.module, self.record.call)

    @property
    def label(self) -> str:
        return f"{self.module}-{self.slot}"

    @property
    def unreadable(self) -> bool:
        return not self.record.comparable

    @property
    def kind(self) -> str:
        """See `kind_of`."""
        return kind_of(self.record.dtype or "")

    @property
    def shape(self) -> tuple[int, ...]:
        return self.record.shape or ()


def kind_of(dtype: str) -> str:
    """`float`, `complex`, or `exact` for whole numbers and bools; empty when unknown."""
    known = DTYPES.get(dtype)
    if known is None:
        return ""
    return "exact" if known.kind in ("int", "bool") else known.kind


@dataclass(slots=True)
class Side:
    """All items of a capture and the groups they form; `ignored` are counted, not matched."""

    capture: Capture
    items: list[Item] = field(default_factory=list)
    ignored: list[Record] = field(default_factory=list)
    groups: dict[Key, list[Item]] = field(default_factory=dict)
    base: int = 0  # 1 where layers are numbered from 1 and the other side's from 0

    def region_of(self, module: str) -> int | None:
        """The layer that a module belongs to by its name (the first number), counted from 0."""
        layer = layer_number(module)
        if layer is not None:
            return layer  # renumbered already
        number = _first_number(module)
        return None if number is None else number - self.base


def side_of(capture: Capture, names: NameRules, rules: Rules) -> Side:
    """Name and group the records of one capture."""
    side = Side(capture)
    known = _canonical_names(capture, names)
    for position, record in enumerate(capture.records):
        canonical = known[record.module]
        slot = _slot(canonical.slot or record.slot)
        item = Item(
            record, position, canonical.module, slot, slot_role(slot),
            _plain(record.module, capture.root), record.step,
        )  # fmt: skip
        if rules.ignore and rules.ignores(item.label, item.module):
            side.ignored.append(record)
            continue
        side.items.append(item)
        side.groups.setdefault(item.key, []).append(item)
    return side


def _plain(module: str, root: str) -> str:
    return module.removeprefix(root + ".") if root else module


def _canonical_names(capture: Capture, names: NameRules) -> dict[str, Canonical]:
    """Canonical names of all modules. Of several that would get the same one (a wrapper and what
    it wraps), the one that is called so already or has the shortest path gets it; the others keep
    their own, so that no two modules are ever mixed up. The first shard of a module is no other
    module: both have the name.
    """
    root = capture.root
    claims: dict[Canonical, list[str]] = {}
    for module in dict.fromkeys(record.module for record in capture.records):
        claims.setdefault(canonical_name(module, root, names), []).append(module)
    known: dict[str, Canonical] = {}
    taken = {canonical.module for canonical in claims}
    for canonical, modules in claims.items():
        if len(modules) > 1:
            modules.sort(key=lambda m, name=canonical.module: _claim(_plain(m, root), name))
        known[modules[0]] = canonical
        for module in modules[1:]:
            if is_first_shard(_plain(module, root), _plain(modules[0], root)):
                known[module] = canonical
                continue
            known[module] = Canonical(_own_name(module, root, taken))
            taken.add(known[module].module)
    return known


def _claim(plain: str, canonical: str) -> tuple[bool, int, tuple[tuple[int, int, str], ...]]:
    return (plain != canonical, plain.count("."), natural_key(plain))


def _own_name(module: str, root: str, taken: set[str]) -> str:
    name = _plain(module, root) or ROOT
    while name in taken:
        name = f"{root or ROOT}.{name}"
    return name


def same_base(ref: Side, cand: Side) -> None:
    """Where one side numbers its layers from 1 and the other the same number of them from 0, count
    both from 0. Not done where the two share a layer's name as dumped: then it is one scheme.
    """
    shared = {item.plain for item in ref.items} & {item.plain for item in cand.items}
    if any(_first_number(plain) is not None for plain in shared):
        return
    ours, theirs = _numbers(ref), _numbers(cand)
    if len(ours) < 2 or len(ours) != len(theirs):
        return
    for side, numbers, others in ((ref, ours, theirs), (cand, theirs, ours)):
        from_one = numbers == set(range(1, len(numbers) + 1))
        if from_one and others == set(range(len(others))):
            _count_from_zero(side)


def _numbers(side: Side) -> set[int]:
    found = (_first_number(module) for module in {item.module for item in side.items})
    return {number for number in found if number is not None}


def _count_from_zero(side: Side) -> None:
    side.base = 1
    side.groups = {}
    for item in side.items:
        layer = LAYER.search(item.module)
        if layer is not None:
            number = str(int(layer[1]) - 1)
            item.module = item.module[: layer.start(1)] + number + item.module[layer.end(1) :]
        side.groups.setdefault(item.key, []).append(item)


def _slot(slot: str) -> str:
    """A lone output and the first of several are the same quantity."""
    if slot == "output_0":
        return "output"
    return "input_0" if slot == "input" else slot


def _first_number(module: str) -> int | None:
    layer = layer_number(module)
    if layer is not None:
        return layer
    match = _NUMBER.search(module)
    return int(match[0]) if match else None


def behind_layers(module: str) -> bool:
    """True for what runs after the layers, where engines may keep the last tokens only."""
    return layer_number(module) is None and not precedes_layers(module)


def primary(items: Iterable[Item]) -> Item | None:
    """A call's main result: its first output, or the tapped value."""
    found = None
    for item in items:
        if item.role == "output":
            return item
        if item.role == "value" and found is None:
            found = item
    return found
