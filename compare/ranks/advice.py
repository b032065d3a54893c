"""What the rules and the other capture say of the ranks of a capture."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from ...capture.ranks.deciding import Decision
from ...capture.ranks.extent import Extent
from ...capture.ranks.facts import Facts
from ...capture.ranks.groups import Group
from ...capture.ranks.names_of_parts import HEAD, INSIDE
from ...capture.ranks.pipeline.chunks import LAYER
from ...capture.ranks.pipeline.orders import Order, Stages
from ...capture.ranks.settling import ranks_of
from ...capture.ranks.way import Way
from ...capture.records import Capture, Locator, Record
from ..matching.names.canonical import NameRules
from ..matching.names.naming import read_names
from ..rules.rules import Rules
from .extent import shown_extent
from .other_side import OtherSide, logits_as_wide, may_be_otherwise
from .stage_values import orders_left

_Place = tuple[int, str, int, str]  # step, canonical module, call, slot


class Advised:
    """See `deciding.Advice`."""

    def __init__(
        self, capture: Capture, names: NameRules, rules: Rules, other: Capture | None,
        other_names: NameRules,
    ) -> None:  # fmt: skip
        self._capture, self._names, self._rules = capture, names, rules
        self._other = other
        self._other_names = other_names
        self._modules: dict[object, tuple[str, str]] = {}
        self._plain: dict[object, str] = {}
        self._there: dict[_Place, Locator] | None = None
        self._widths: dict[_Place, int] | None = None
        self._layers: set[int] | None = None
        self._shown = OtherSide()

    def prepare(self, records: Sequence[Record]) -> None:
        """Read the names of every record once, whatever number of ranks has it."""
        once: dict[object, Record] = {}
        for record in records:
            once.setdefault(record.identity, record)
        readings = read_names(replace(self._capture, records=list(once.values())), self._names)
        for key, reading in zip(once, readings.readings, strict=True):
            self._modules[key] = reading.module, reading.slot
            self._plain[key] = reading.plain

    def name(self, record: Record) -> tuple[str, str]:
        """As the dump has them, without endings that are slots: `X/0` is the output of X. The
        standard name of a module whose name has no parts.
        """
        key = record.identity
        plain = self._plain.get(key, record.module).replace("/", ".")
        module, slot = self._modules.get(key, (plain, record.slot))
        plain = plain if "." in plain else module
        if record.slot != "value":
            return record.module, record.slot
        last = plain.rpartition(".")[2]
        if last in INSIDE or slot == "value":  # meanings of engines call it an input of another
            slot = "output"
        return plain, slot

    def rule(self, group: Group) -> Way | None:
        """The last rule that is about it."""
        record = group.first
        module, slot = self._modules.get(record.identity, (record.module, record.slot))
        modules = tuple(dict.fromkeys((module, record.module)))
        labels = (record.name, f"{record.module}-{record.slot}")
        fitting = (
            rule for rule in reversed(self._rules.shards) if rule.fits(modules, slot, labels)
        )
        last = next(fitting, None)
        if last is None:
            return None
        joined = record.joined is not None and record.joined.way != "replicated"
        return last.way(group.kind, joined or bool(group.kind and group.agree))

    def guess(self, group: Group, facts: Facts, named: Decision | None) -> Decision | None:
        """What the other capture's record, or records of its parts, show."""
        known = self._modules.get(group.first.identity)
        if known is None or self._other is None:
            return None
        module, slot = known
        if named is not None and not may_be_otherwise(group, named):
            return None
        wholes = self._wholes(module, slot, group.first)
        if not wholes and group.last in HEAD:
            return logits_as_wide(group, self._width_of_parts(module, slot, group.first))
        return self._shown.decide(group, facts, wholes, named)

    def extent(self, facts: Facts, numbers: Sequence[int]) -> Extent | None:
        """By the other capture's widths and values; None where it has as many ranks of its own."""
        return shown_extent(facts, numbers, self._of_group) if self._other is not None else None

    def wants_layer(self, number: int) -> bool:
        """Whether the other capture has it; so where there is none."""
        return self._other is None or number in self._other_layers()

    def has_same_ranks(self, records: Sequence[Record]) -> bool:
        """Whether the other capture has just their ranks, put together or not."""
        known = self._other.of_ranks if self._other is not None else None
        return known is not None and ranks_of(known.records) == ranks_of(records)

    @property
    def has_other(self) -> bool:
        """Whether there is another capture."""
        return self._other is not None

    @property
    def layers_in_all(self) -> int | None:
        """The number of layers that the other capture has; None where there is none."""
        return len(self._other_layers()) if self._other is not None else None

    def stage_orders(self, records: Sequence[Record], stages: Stages) -> list[Order]:
        """The orders that the other capture's values leave; of ranks that are merely numbered, none
        where it has not as many layers as they have together.
        """
        if self._other is None:
            return stages.orders()
        if not stages.told and len(self._other_layers()) != stages.calls * sum(stages.sizes):
            return []
        return orders_left(records, stages, self._of_records)

    def _of_records(self, records: Sequence[Record]) -> list[list[Locator]]:
        """The other side's tensors for each of some records, by the names that they have now."""
        readings = read_names(replace(self._capture, records=list(records)), self._names).readings
        return [
            self._wholes(reading.module, reading.slot, record)
            for record, reading in zip(records, readings, strict=True)
        ]

    def _width_of_parts(self, module: str, slot: str, record: Record) -> int:
        """How wide the parts are together that the other side's ranks have, which stay apart; 0
        where they have none.
        """
        if self._widths is None:
            self._widths = defaultdict(int)
            known = self._other.of_ranks if self._other is not None else None
            if known is not None and self._other is not None:
                there = replace(self._other, records=list(known.records))
                readings = read_names(there, self._other_names).readings
                for own, reading in zip(known.records, readings, strict=True):
                    place = (own.step, reading.module, reading.call, _plain(reading.slot))
                    self._widths[place] += own.shape[-1] if own.shape else 0
        return self._widths.get((record.step, module, record.call, _plain(slot)), 0)

    def _other_layers(self) -> set[int]:
        if self._layers is None:
            records = self._other.records if self._other is not None else ()
            found = (LAYER.search(record.module) for record in records)
            self._layers = {int(one[1]) for one in found if one is not None}
        return self._layers

    def _of_group(self, group: Group) -> list[Locator]:
        known = self._modules.get(group.first.identity)
        return [] if known is None else self._wholes(*known, group.first)

    def _wholes(self, module: str, slot: str, record: Record) -> list[Locator]:
        there = self._others()
        slot = _plain(slot)
        own = there.get((record.step, module, record.call, slot))
        if own is not None:
            return [own]
        for rule in self._rules.fused:
            if slot != "output" or not f".{module}".endswith(f".{rule.fused}"):
                continue
            base = module[: len(module) - len(rule.fused)]
            found = [
                there.get((record.step, base + part, record.call, slot)) for part in rule.parts
            ]
            parts = [part for part in found if part is not None]
            if len(parts) == len(found):
                return parts
        return []

    def _others(self) -> dict[_Place, Locator]:
        if self._there is None:
            self._there = {}
            other = self._other
            readings = read_names(other, self._other_names).readings if other is not None else []
            for record, reading in zip(other.records if other else (), readings, strict=True):
                if record.locator is not None and record.shape is not None:
                    place = (record.step, reading.module, reading.call, _plain(reading.slot))
                    self._there.setdefault(place, record.locator)
        return self._there


def _plain(slot: str) -> str:
    return "output" if slot in ("value", "output_0") else slot
