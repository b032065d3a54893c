"""What every record of a capture was taken for: its module, slot and call, and by which rule.

Names are read with the whole capture in view: which engine wrote it, which endings of names are
slots, and which records would otherwise be called alike.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from ....capture.names import natural_key
from ....capture.records import Capture, Record
from ..engines.names import EngineNames
from ..engines.tables import engine_named, recognised
from .canonical import (
    LAYER,
    ROOT,
    STANDARD,
    Canonical,
    NameRules,
    canonical_name,
    is_first_shard,
    is_quantity,
    layer_number,
)
from .hidden_states import state_number, states
from .meanings import Beside, apply_meanings
from .operators import has_operators
from .paths import layer_in_front, numbered_words
from .reading import Naming, Reading
from .scopes import ScopeNames, scope_names
from .slots import Split, endings

_CALL = re.compile(r"^(?P<module>.+\.forward)\.(?P<call>\d{1,9})$")
_STAGE = re.compile(r"(?:^|[./])((?:layer|block|stage)_?\d{1,3})(?=[./]\d)")
_OF_TABLES = "a quantity of the tables of names"
_WHOLE_STACK = ("decoder", "encoder")


def read_names(capture: Capture, rules: NameRules) -> Naming:
    """Read the names of a capture that is looked at alone."""
    naming = _first_reading(capture, rules)
    return _finished(capture, naming, Beside(naming.layers))


def read_both(
    reference: Capture, candidate: Capture, ref_rules: NameRules, cand_rules: NameRules
) -> tuple[Naming, Naming]:
    """Read the names of two captures. How many layers there are, either may tell; what an engine's
    modules return, and operators' records, have the same names on both sides where both have them.
    """
    ref, cand = _first_reading(reference, ref_rules), _first_reading(candidate, cand_rules)
    beside = Beside(
        max(ref.layers, cand.layers),
        same_engine=ref.engine is not None and ref.engine is cand.engine,
        same_level=has_operators(reference) and has_operators(candidate),
    )
    ref, cand = _finished(reference, ref, beside), _finished(candidate, cand, beside)
    drop_shared_containers(ref, cand)
    return ref, cand


def _first_reading(capture: Capture, rules: NameRules) -> Naming:
    engine = engine_of(capture, rules)
    reader = _Reader(capture, rules, engine)
    readings = reader.read()
    return Naming(engine, readings, reader.notes, _layers_of(readings))


def _finished(capture: Capture, naming: Naming, beside: Beside) -> Naming:
    apply_meanings(capture, naming, beside)
    _keep_apart(capture, naming)
    return naming


def engine_of(capture: Capture, rules: NameRules) -> EngineNames | None:
    """The engine that the rules name, or the one that the capture's names give away."""
    if rules.engine is not None:
        return engine_named(rules.engine)
    return recognised(_labels(capture))


def _labels(capture: Capture) -> Iterator[str]:
    for record in capture.records:
        yield record.module if record.slot == "value" else f"{record.module}-{record.slot}"


def plain_name(module: str, root: str) -> str:
    """A module's name without that of the outermost module."""
    return module.removeprefix(root + ".") if root else module


def has_meaning(module: str) -> bool:
    """True for a standard name whose last component is known, and for layers."""
    last = module.rpartition(".")[2]
    if last.isdecimal():
        layer = LAYER.search(module)
        return layer is not None and layer.end(1) == len(module) and len(last) < 10
    return last in STANDARD or last in _MORE_STANDARD


_MORE_STANDARD = frozenset(
    {
        "embed_tokens", "embed_positions", "lm_head", "norm", "router", "scores", "softmax", "act",
        "pre_feedforward_layernorm", "post_feedforward_layernorm", "kv_proj", "gate_up_proj",
    }
)  # fmt: skip


@dataclass(slots=True)
class _Reader:
    capture: Capture
    rules: NameRules
    engine: EngineNames | None
    notes: list[str] = field(default_factory=list)
    second: dict[str, str] = field(default_factory=dict)  # paths, and what has their name
    stages: frozenset[str] = frozenset()
    behind: frozenset[str] = frozenset()  # words whose number behind them is the layer

    def __post_init__(self) -> None:
        """`layer1` with blocks of its own (`layer1.0`) is a stage of a network, no layer."""
        found = (_STAGE.findall(record.module) for record in self.capture.records)
        self.stages = frozenset(stage for stages in found for stage in stages)

    def read(self) -> list[Reading]:
        scopes = scope_names(self.capture, self.engine) if self.engine else ScopeNames()
        self.behind = numbered_words(
            (record.module for record in self.capture.records), self._is_in_layer
        )
        split = self._split()
        paths = {
            record.module: split.get(record.module, (self._in_front(record.module), ""))[0]
            for record in self.capture.records
            if id(record) not in scopes.inside
        }
        known = self._canonical(list(dict.fromkeys(paths.values())))
        return [self._one(record, scopes, split, paths, known) for record in self.capture.records]

    def _one(
        self, record: Record, scopes: ScopeNames, split: dict[str, Split], paths: dict[str, str],
        known: dict[str, Canonical],
    ) -> Reading:  # fmt: skip
        plain = plain_name(record.module, self.capture.root)
        if id(record) in scopes.plumbing:
            return Reading(
                plain or ROOT, record.slot, record.call, plain,
                "shapes, constants and indices of the graph", ignored=True,
            )  # fmt: skip
        if id(record) in scopes.inside:
            return self._in_scope(record, scopes, plain)
        path, slot = paths[record.module], split.get(record.module, ("", ""))[1]
        canonical = known[path]
        call, rule = record.call, ""
        if slot:
            rule = f"slot {slot} by the ending of the name"
            found = _CALL.match(path)
            if found:
                call = int(found["call"]) + 1
        if canonical.slot is not None:
            slot, rule = canonical.slot, _OF_TABLES
        reading = Reading(
            canonical.module, slot_name(slot or record.slot), call,
            plain if not slot else plain_name(path, self.capture.root), rule,
        )  # fmt: skip
        if canonical.slot is not None:
            reading.plain = plain
        if path in self.second:
            reading.unknown = f"{self.second[path]} is called so already, and holds that quantity"
        elif not has_meaning(canonical.module) and canonical.module != ROOT:
            last = canonical.module.rpartition(".")[2]
            reading.unknown = f"{last!r} is in no table of names"
        return reading

    def _in_scope(self, record: Record, scopes: ScopeNames, plain: str) -> Reading:
        results = scopes.result.get(id(record))
        if results:
            names = [self._name(scope).module for scope in results]
            rule = f"the last value in the scope of {results[0]}"
            return Reading(names[0], "output", record.call, plain, rule, also=names[1:])
        scope, op = scopes.inside[id(record)]
        return Reading(
            f"{self._name(scope).module}.{op}", "value", record.call, plain,
            f"operator {op} inside {scope}", "a value inside a module, not its result",
        )  # fmt: skip

    def _name(self, path: str) -> Canonical:
        return canonical_name(path, self.capture.root, self.rules, self.engine, self.stages)

    def _is_in_layer(self, word: str) -> bool:
        name = f"layers.0.{word}"
        return has_meaning(self._name(name).module) or self._name(name).slot is not None

    def _in_front(self, name: str) -> str:
        """With its layer in front; a name that the tables have as a whole stays as it is."""
        moved = layer_in_front(name, self.behind)
        whole = moved != name and is_quantity(name, self.capture.root, self.rules, self.engine)
        return name if whole else moved

    def _split(self) -> dict[str, Split]:
        """Slots at the ends of names, of records whose format gives none."""
        names = [
            record.module
            for record in self.capture.records
            if record.slot == "value" and state_number(record.module) is None
        ]
        root = self.capture.root
        free = [
            name
            for name in dict.fromkeys(names)
            if not is_quantity(name, root, self.rules, self.engine)
        ]
        moved = {name: layer_in_front(name, self.behind) for name in free}
        found = endings(moved.values(), lambda module: has_meaning(self._name(module).module))
        return {name: found[other] for name, other in moved.items() if other in found}

    def _canonical(self, paths: list[str]) -> dict[str, Canonical]:
        """Canonical names of all paths. Of several that would get the same one (a wrapper and what
        it wraps), the one that is called so already or has the shortest path gets it; the others
        keep their own, so that no two modules are ever mixed up. The first shard of a module is no
        other module: both have the name.
        """
        root = self.capture.root
        claims: dict[Canonical, list[str]] = {}
        for path in paths:
            claims.setdefault(self._name(path), []).append(path)
        known: dict[str, Canonical] = {}
        taken = {canonical.module for canonical in claims}
        for canonical, modules in claims.items():
            if len(modules) > 1:
                modules.sort(key=lambda m, name=canonical.module: _claim(plain_name(m, root), name))
            known[modules[0]] = canonical
            for module in modules[1:]:
                if is_first_shard(plain_name(module, root), plain_name(modules[0], root)):
                    known[module] = canonical
                    continue
                known[module] = Canonical(_own_name(module, root, taken))
                self.second[module] = modules[0]
                taken.add(known[module].module)
        return known


def _claim(plain: str, canonical: str) -> tuple[bool, int, tuple[tuple[int, int, str], ...]]:
    return (plain != canonical, plain.count("."), natural_key(plain))


def _own_name(module: str, root: str, taken: set[str]) -> str:
    name = plain_name(module, root) or ROOT
    while name in taken:
        name = f"{root or ROOT}.{name}"
    return name


def slot_name(slot: str) -> str:
    """A lone output and the first of several are the same quantity."""
    if slot == "output_0":
        return "output"
    return "input_0" if slot == "input" else slot


def _layers_of(readings: list[Reading]) -> int:
    """How many layers there are, by the greatest number of one, and by the tuple of states."""
    numbers = {number for r in readings if (number := layer_number(r.module)) is not None}
    return max([number + 1 for number in numbers] + [*states(r.plain for r in readings)] + [0])


def drop_shared_containers(one: Naming, other: Naming) -> None:
    """`decoder.layers.0` is `layers.0` where there are no layers but the decoder's, unless the
    other side calls them so too.
    """
    prefixes = _container(one), _container(other)
    for naming, prefix, beside in ((one, prefixes[0], other), (other, prefixes[1], one)):
        if prefix and not any(r.module.startswith(f"{prefix}layers.") for r in beside.readings):
            _drop(naming, prefix)


def _container(naming: Naming) -> str:
    """What stands before all layers; empty where that is nothing, or not always the same."""
    inside = {
        reading.module.partition("layers.")[0]
        for reading in naming.readings
        if layer_number(reading.module) is not None
    }
    prefix = next(iter(inside)) if len(inside) == 1 else ""
    return prefix if prefix.removesuffix(".") in _WHOLE_STACK else ""


def _drop(naming: Naming, prefix: str) -> None:
    names = {reading.module for reading in naming.readings}
    shorter = {name: _without(name, prefix) for name in names}
    if len(set(shorter.values())) == len(names):
        for reading in naming.readings:
            reading.module = shorter[reading.module]
            reading.also = [shorter.get(name, name) for name in reading.also]


def _keep_apart(capture: Capture, naming: Naming) -> None:
    """Of several records that would be one quantity, the one with the shortest name is it; the
    others keep their own names.
    """
    _prefer_modules(capture, naming)
    claims: dict[tuple[int, str, str, int], list[int]] = defaultdict(list)
    for index, (record, reading) in enumerate(zip(capture.records, naming.readings, strict=True)):
        if not reading.ignored:
            claims[record.step, reading.module, reading.slot, reading.call].append(index)
    for (_, module, slot, _), indices in claims.items():
        names = {capture.records[index].module for index in indices}
        if len(indices) == 1 or len(names) == 1:
            continue
        first = min(indices, key=lambda i: natural_key(capture.records[i].name))
        first = min(indices, key=lambda i: (len(capture.records[i].name), i != first))
        for index in indices:
            record, reading = capture.records[index], naming.readings[index]
            shard = is_first_shard(reading.plain, naming.readings[first].plain)
            if index == first or shard or record.module == capture.records[first].module:
                continue
            reading.module = f"{plain_name(record.module, capture.root)} (again)"
            reading.slot = record.slot
            reading.unknown = f"the same as {capture.records[first].name}: {module}-{slot}"


def _prefer_modules(capture: Capture, naming: Naming) -> None:
    """A record that is called as a module is its output; one that the tables take for the same
    (`logits` beside `lm_head`) keeps its own name then.
    """
    own = {
        (record.step, reading.module, reading.call)
        for record, reading in zip(capture.records, naming.readings, strict=True)
        if reading.slot == "value" and reading.plain == reading.module
    }
    for record, reading in zip(capture.records, naming.readings, strict=True):
        place = (record.step, reading.module, reading.call)
        if reading.rule == _OF_TABLES and reading.slot == "output" and place in own:
            reading.unknown = f"{reading.module} is recorded under its own name"
            reading.module = f"{plain_name(record.module, capture.root)} (again)"
            reading.slot = record.slot


def _without(name: str, prefix: str) -> str:
    short = name.removeprefix(prefix)
    return short if has_meaning(short) or layer_number(short) is not None else name
