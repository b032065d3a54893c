"""What every record of a capture was taken for: its module, slot and call, and by which rule.

Names are read with the whole capture in view: which engine wrote it, which endings of names are
slots, and which records would otherwise be called alike.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from ...capture.names import natural_key
from ...capture.records import Capture, Record
from .canonical import (
    ROOT,
    STANDARD,
    Canonical,
    NameRules,
    canonical_name,
    is_first_shard,
    is_quantity,
    layer_number,
)
from .engines.names import EngineNames
from .engines.tables import engine_named, recognised
from .hidden_states import module_of, state_number, states
from .operators import quantities, split_operator
from .scopes import ScopeNames, scope_names
from .slots import Split, endings

_CALL = re.compile(r"^(?P<module>.+\.forward)\.(?P<call>\d{1,9})$")
_WHOLE_STACK = ("decoder", "encoder")


@dataclass(slots=True)
class Reading:
    """What one record was taken for. `rule` says by which rule, `unknown` why a record keeps its
    own name. `also` are modules whose output it is besides, `adds` the record whose sum with this
    one is the module's output.
    """

    module: str
    slot: str
    call: int
    plain: str
    rule: str = ""
    unknown: str | None = None
    ignored: bool = False
    also: list[str] = field(default_factory=list)
    adds: str | None = None


@dataclass(slots=True)
class Naming:
    """All readings of a capture, in its order, and the engine whose names they are."""

    engine: EngineNames | None
    readings: list[Reading]
    notes: list[str] = field(default_factory=list)
    layers: int = 0  # number of layers that names speak of; 0 where they do not


def read_names(capture: Capture, rules: NameRules, others_layers: int = 0) -> Naming:
    """Read the names of a capture; `others_layers` is how many layers the other side has."""
    engine = engine_of(capture, rules)
    reader = _Reader(capture, rules, engine)
    readings = reader.read()
    layers = max(_layers_of(readings), others_layers)
    naming = Naming(engine, readings, reader.notes, layers)
    _count_from_the_end(naming)
    _name_states(capture, naming)
    _name_operators(capture, naming)
    _add_meanings(capture, naming)
    _add_residuals(capture, naming)
    _drop_shared_container(naming)
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
        return layer_number(module) == int(last) if len(last) < 10 else False
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

    def read(self) -> list[Reading]:
        scopes = scope_names(self.capture, self.engine) if self.engine else ScopeNames()
        split = self._split()
        paths = {
            record.module: split.get(record.module, (record.module, ""))[0]
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
            slot, rule = canonical.slot, "a quantity of the tables of names"
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
        return canonical_name(path, self.capture.root, self.rules, self.engine)

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
        return endings(free, lambda module: has_meaning(self._name(module).module))

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


_FROM_THE_END = re.compile(r"(^|\.)layers\.-(\d{1,9})(?=\.|$)")


def _count_from_the_end(naming: Naming) -> None:
    """`layers.-1` is the last layer."""
    for reading in naming.readings:
        found = _FROM_THE_END.search(reading.module)
        if found and 0 < int(found[2]) <= naming.layers:
            number = naming.layers - int(found[2])
            start, end = found.span()
            before, after = reading.module[:start], reading.module[end:]
            reading.module = f"{before}{found[1]}layers.{number}{after}"
            reading.rule = f"layer {found[2]} from the end"


def _name_states(capture: Capture, naming: Naming) -> None:
    """Hidden states, by the layers that they come from."""
    found = False
    taken = {(r.module, r.slot, r.call) for r in naming.readings}
    for record, reading in zip(capture.records, naming.readings, strict=True):
        number = state_number(record.module) if record.slot == "value" else None
        if number is None:
            continue
        module = module_of(number, naming.layers)
        if (module, "output", reading.call) in taken:
            continue
        reading.module, reading.slot, reading.unknown = module, "output", None
        reading.rule = f"hidden state {number} of {naming.layers + 1}"
        found = True
    if found:
        naming.notes.append(
            f"hidden states: number 0 is the embedding, the others are outputs of layers, number "
            f"{naming.layers} is taken behind the final norm"
        )


def _name_operators(capture: Capture, naming: Naming) -> None:
    """Operators' outputs that are quantities of their own, where no module's record is that."""
    found = quantities(capture)
    if not found:
        return
    modules = {
        split_operator(record.module)[0]: split_operator(reading.module)[0]
        for record, reading in zip(capture.records, naming.readings, strict=True)
        if id(record) in found
    }
    taken = _taken(capture, naming)
    for record, reading in zip(capture.records, naming.readings, strict=True):
        quantity = found.get(id(record))
        if quantity is None:
            continue
        parent = modules[quantity.parent]
        target = f"{parent}.{quantity.child}" if quantity.child else parent
        place = (record.step, target, quantity.slot, 1)
        if place in taken:
            continue
        taken.add(place)
        reading.module, reading.slot, reading.call, reading.unknown = target, quantity.slot, 1, None
        reading.rule = f"operator {record.module.rpartition('/')[2]} of {parent}, by its place"


def _add_meanings(capture: Capture, naming: Naming) -> None:
    """What the engine's modules return, where that is another quantity than the name says."""
    if naming.engine is None or not naming.engine.meanings:
        return
    taken = _taken(capture, naming)
    meanings = [(re.compile(pattern), *target) for pattern, *target in naming.engine.meanings]
    for record, reading in zip(capture.records, naming.readings, strict=True):
        slot = "output" if reading.slot == "value" else reading.slot
        label = f"{reading.module}-{slot}"
        for pattern, module, means in meanings:
            match = pattern.match(label)
            if match is None:
                continue
            target = (record.step, match.expand(module), means, reading.call)
            if target not in taken:
                taken.add(target)
                reading.rule = f"{naming.engine.name}: {label} is {target[1]}-{means}"
                reading.module, reading.slot, reading.unknown = target[1], means, None
            break


def _taken(capture: Capture, naming: Naming) -> set[tuple[int, str, str, int]]:
    return {
        (record.step, r.module, "output" if r.slot == "value" else r.slot, r.call)
        for record, r in zip(capture.records, naming.readings, strict=True)
    }


def _add_residuals(capture: Capture, naming: Naming) -> None:
    """Modules that return a part of their output and the residual that is to be added to it."""
    if naming.engine is None or not naming.engine.sums:
        return
    sums = [re.compile(pattern) for pattern in naming.engine.sums]
    places: dict[tuple[int, str, int, str], int] = {}
    for index, (record, reading) in enumerate(zip(capture.records, naming.readings, strict=True)):
        if any(pattern.match(reading.module) for pattern in sums):
            places.setdefault((record.step, reading.module, reading.call, reading.slot), index)
    for (step, module, call, slot), index in places.items():
        beside = places.get((step, module, call, "output_1")) if slot == "output" else None
        if beside is None:
            continue
        first, second = capture.records[index], capture.records[beside]
        if first.shape == second.shape and first.dtype == second.dtype and first.shape is not None:
            naming.readings[index].adds = second.name
            naming.readings[
                index
            ].rule = f"{naming.engine.name}: a layer returns its output in two parts, to be added"


def _drop_shared_container(naming: Naming) -> None:
    """`decoder.layers.0` is `layers.0` where there are no layers but the decoder's."""
    inside: dict[str, int] = defaultdict(int)
    for reading in naming.readings:
        if layer_number(reading.module) is not None:
            inside[reading.module.partition("layers.")[0]] += 1
    if len(inside) != 1:
        return
    (prefix,) = inside
    if prefix.removesuffix(".") not in _WHOLE_STACK:
        return
    names = {reading.module for reading in naming.readings}
    shorter = {name: _without(name, prefix) for name in names}
    if len(set(shorter.values())) == len(names):
        for reading in naming.readings:
            reading.module = shorter[reading.module]


def _keep_apart(capture: Capture, naming: Naming) -> None:
    """Of several records that would be one quantity, the one with the shortest name is it; the
    others keep their own names.
    """
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


def _without(name: str, prefix: str) -> str:
    short = name.removeprefix(prefix)
    return short if has_meaning(short) or layer_number(short) is not None else name
