"""What records are besides what their names say: by the engine, by numbers, by operators.

Works on readings: each function changes the module and slot of those records that it knows better.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ....capture.records import Capture, Record
from .hidden_states import module_of, state_number
from .operators import quantities, split_operator
from .reading import Naming, Reading
from .roles import role_of


@dataclass(frozen=True, slots=True)
class Beside:
    """What is known of both captures: how many layers there are, and whether both are of one
    engine, or both have operators' records. Then their own names serve better than a meaning.
    """

    layers: int = 0
    same_engine: bool = False
    same_level: bool = False


def apply_meanings(capture: Capture, naming: Naming, beside: Beside) -> None:
    """Layers counted from the end, hidden states, operators, and what engines' modules return."""
    naming.layers = beside.layers
    _choose_results(capture, naming)
    _count_from_the_end(naming)
    _name_states(capture, naming)
    if not beside.same_level:
        _name_operators(capture, naming)
    if not beside.same_engine:
        _add_residuals(capture, naming)
        _set_parts_apart(capture, naming)
        _add_meanings(capture, naming)


def _choose_results(capture: Capture, naming: Naming) -> None:
    """Of an engine's values that go by one name, one is the module's result. The others are values
    inside it, called by what made them.
    """
    if naming.engine is None or not naming.engine.results:
        return
    groups: dict[tuple[int, str, str], list[tuple[Record, Reading]]] = {}
    for record, reading in zip(capture.records, naming.readings, strict=True):
        if record.module_class is not None:
            place = (record.step, reading.module, reading.slot)
            groups.setdefault(place, []).append((record, reading))
    for group in groups.values():
        made = [each for each in group if each[0].module_class in naming.engine.results]
        if len(group) < 2 or not made:
            continue
        result = made[-1][1]
        for record, reading in group:
            if reading is result:
                reading.call = 1
                reading.rule = f"{naming.engine.name}: the last {record.module_class} of that name"
            else:
                reading.module = f"{reading.module}.{(record.module_class or '').lower()}"
                reading.slot, reading.unknown = "value", "a value inside a module, not its result"


_FLOATS = ("float", "bfloat")
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
            f"{naming.layers} is taken after the final norm"
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
            if target in taken:
                reading.module = f"{record.module} (again)"
                reading.unknown = f"{label} is {target[1]}-{means}, which is recorded as well"
            else:
                taken.add(target)
                reading.rule = f"{naming.engine.name}: {label} is {target[1]}-{means}"
                reading.module, reading.slot, reading.unknown = target[1], means, None
            break


_PART = "_part"  # ends the slot of what is a part of a sum


def _set_parts_apart(capture: Capture, naming: Naming) -> None:
    """Where a norm adds what it is given to the residual beside it, its input is a part only, and
    so is what a layer is given and returns; other engines have the sums.
    """
    if naming.engine is None or not naming.engine.sums:
        return
    both = list(zip(capture.records, naming.readings, strict=True))
    whole = {(record.step, r.module) for record, r in both if r.slot == "output_1"}
    adding = {place for place in whole if role_of(place[1]) == "norm"}
    names = {reading.module for reading in naming.readings}
    gated = {n[n.find("layers.") : -len(_GATED)] for n in names if n.endswith(_GATED)}
    for record, reading in both:
        if reading.adds is not None:
            continue
        place = (record.step, reading.module)
        first_norm, second_norm = ((record.step, f"{reading.module}.{n}") for n in _NORMS)
        first = reading.slot in ("input_0", "input_x", "input_hidden_states")
        given = first or re.match(r"input_\d+$", reading.slot) is not None
        returned = reading.slot in ("output", "value") and place not in whole
        if (first and place in adding) or (given and first_norm in adding):
            reading.slot = f"{reading.slot}{_PART}"
        elif first and reading.module.endswith(".mlp.act_fn"):
            reading.slot = f"input_gate_up{_PART}"
        elif returned and (second_norm in adding or reading.module in gated):
            reading.slot = f"output{_PART}"
            reading.unknown = "a part of a sum: the residual beside it is not recorded"


# A layer with such a network is one of those that return two tensors; a hook may keep the first.
_GATED = ".mlp.gate_up_proj"
_NORMS = ("input_layernorm", "post_attention_layernorm")


def _taken(capture: Capture, naming: Naming) -> set[tuple[int, str, str, int]]:
    return {
        (record.step, r.module, "output" if r.slot == "value" else r.slot, r.call)
        for record, r in zip(capture.records, naming.readings, strict=True)
    }


def _add_residuals(capture: Capture, naming: Naming) -> None:
    """Modules that return, or are given, a part of a tensor and the residual to be added to it."""
    if naming.engine is None or not naming.engine.sums:
        return
    sums = [(re.compile(module), *slots) for module, *slots in naming.engine.sums]
    places: dict[tuple[int, str, int, str], int] = {}
    for index, (record, reading) in enumerate(zip(capture.records, naming.readings, strict=True)):
        places.setdefault((record.step, reading.module, reading.call, reading.slot), index)
    for (step, module, call, slot), index in places.items():
        for pattern, first_slot, second_slot in sums:
            beside = places.get((step, module, call, second_slot))
            if slot != first_slot or beside is None or not pattern.match(module):
                continue
            first, second = capture.records[index], capture.records[beside]
            alike = first.shape == second.shape and first.dtype == second.dtype
            if alike and first.shape is not None and (first.dtype or "").startswith(_FLOATS):
                reading = naming.readings[index]
                reading.adds = second.name
                verb = "returns its output" if slot.startswith("output") else "takes its input"
                reading.rule = f"{naming.engine.name}: {verb} in two parts, to be added"
                break
