"""A capture's records under their canonical names, grouped by call, ready to be matched."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from ...capture.dtypes import DTYPES
from ...capture.names import slot_role
from ...capture.records import Capture, Record
from ..recipes.adding import Add
from ..recipes.recipe import Recipe
from ..recipes.steps import Step
from ..rules.rules import Rules
from .names.canonical import LAYER, NameRules, layer_number
from .names.naming import read_both, read_names
from .names.reading import Names, Naming, Reading
from .names.roles import precedes_layers

_NOTHING = Recipe()

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
    call: int
    reshaped: bool = False  # any shape of as many elements may be the same, in C order
    last_rows: bool = False  # one side may have only the last token of what the other has
    matches: int = 0
    before: Recipe = _NOTHING  # what makes the quantity of the record, before any layout
    made_by: tuple[str, ...] = ()  # these steps in words
    aliases: list[Item] = field(default_factory=list)  # what the record is besides

    @property
    def key(self) -> Key:
        return (self.step, self.module, self.call)

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
        """Behind the steps of `before`: without padding, where that is left out."""
        shape = self.record.shape or ()
        return self.before.shape(shape) if self.before.steps else shape

    def make(self, steps: tuple[Step, ...], words: str) -> None:
        """Add steps to `before`."""
        self.before = Recipe((*self.before.steps, *steps))
        self.made_by = (*self.made_by, words)


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
    naming: Naming
    items: list[Item] = field(default_factory=list)
    ignored: list[Record] = field(default_factory=list)
    groups: dict[Key, list[Item]] = field(default_factory=dict)
    base: int = 0  # 1 where layers are numbered from 1 and the other side's from 0

    def add(self, item: Item) -> None:
        """Take an item in."""
        self.items.append(item)
        self.group(item)

    def group(self, item: Item) -> None:
        """Put an item to the others of its call."""
        self.groups.setdefault(item.key, []).append(item)

    def regroup(self) -> None:
        """Group anew, after modules or steps of items have changed."""
        self.groups = {}
        for item in self.items:
            for one in (item, *item.aliases):
                self.group(one)

    def region_of(self, module: str) -> int | None:
        """The layer that a module belongs to by its name (the first number), counted from 0."""
        layer = layer_number(module)
        if layer is not None:
            return layer  # renumbered already
        number = _first_number(module)
        return None if number is None else number - self.base


def sides_of(
    reference: Capture, candidate: Capture, rules: Rules, names: Names | None = None
) -> tuple[Side, Side]:
    """Both sides, named and grouped. `names` are their readings by the same rules, if known."""
    ref, cand = names or read_both(reference, candidate, rules.reference, rules.candidate)
    return _grouped(reference, ref, rules), _grouped(candidate, cand, rules)


def side_of(capture: Capture, names: NameRules, rules: Rules) -> Side:
    """Name and group the records of one capture."""
    return _grouped(capture, read_names(capture, names), rules)


def _grouped(capture: Capture, naming: Naming, rules: Rules) -> Side:
    side = Side(capture, naming)
    for position, (record, reading) in enumerate(
        zip(capture.records, naming.readings, strict=True)
    ):
        item = _item(record, position, reading, reading.module, reading.slot)
        item.reshaped = rules.allow_reshape
        ignored = rules.ignore and rules.ignores(item.label, item.module)
        if reading.ignored or ignored:
            side.ignored.append(record)
            continue
        side.add(item)
        for module in reading.also:
            item.aliases.append(_item(record, position, reading, module, "output"))
            item.aliases[-1].reshaped = rules.allow_reshape
            side.group(item.aliases[-1])
    return side


def _item(record: Record, position: int, reading: Reading, module: str, slot: str) -> Item:
    item = Item(
        record, position, module, slot, slot_role(slot), reading.plain, record.step, reading.call
    )
    if reading.adds is not None:
        item.make((Add(reading.adds),), "the sum of two records")
    return item


def settle(side: Side) -> None:
    """Put the further items of records that found partners where their records stand; a record
    that found one as what it is besides is no gap.
    """
    settled: list[Item] = []
    for item in side.items:
        matched = [one for one in (item, *item.aliases) if one.matches]
        settled += matched or [item]
    side.items = settled


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
    for item in side.items:
        for one in (item, *item.aliases):
            layer = LAYER.search(one.module)
            if layer is not None:
                number = str(int(layer[1]) - 1)
                one.module = one.module[: layer.start(1)] + number + one.module[layer.end(1) :]
    side.regroup()


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
