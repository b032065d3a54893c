"""From a layer of the candidate to what a runner is given: the reference's tensors in the form
that the candidate's layer takes.

A reference record is brought into its pair's common view by its recipe, then to the candidate's
layout by the inverse of the candidate's recipe, then rounded to the candidate's dtype.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...capture.calls import Call, Calls
from ...capture.dtypes import DTYPES
from ...capture.records import Record
from ...capture.runners.layers import LayerInfo, RerunError
from ...capture.runners.protocol import Hello
from ..matching.names.roles import is_in_attention, role_of
from ..model import Row
from .fed import Fed, is_float, plain, side_task_of
from .layers import Layer
from .own_tables import is_table

if TYPE_CHECKING:
    from ..comparison import Comparison


# Inputs that say where, not what: a candidate's own will do where the reference has none.
_WHERE = re.compile(r"mask|position_ids|cache_position")
_CACHE = re.compile(r"past_key|cache")


@dataclass(frozen=True, slots=True)
class Injection:
    """Everything that a rerun of one layer is given. `offsets` are the ends of a batch's rows."""

    runner_layer: str
    fed: tuple[Fed, ...]
    call: dict[str, Any] | None = None
    offsets: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> tuple[int, ...]:
        """The pairs whose reference records are injected."""
        return tuple(fed.row for fed in self.fed if fed.row is not None)


@dataclass(slots=True)
class Injector:
    """Finds the inputs of layers of one comparison.

    Whole numbers, masks and tables that only the candidate has (a layer's index, the offsets of a
    batch, the cosines of all positions) are its own; with `own_inputs` so is everything that the
    reference does not have.
    """

    comparison: Comparison
    hello: Hello
    own_inputs: bool = False
    _reference: Calls = field(init=False)
    _candidate: Calls = field(init=False)
    _names: dict[str, LayerInfo] = field(init=False)

    def __post_init__(self) -> None:
        self._reference = Calls(self.comparison.reference)
        self._candidate = Calls(self.comparison.candidate)
        self._names = {layer.name: layer for layer in self.hello.layers}

    def injection(self, layer: Layer) -> Injection:
        """What a rerun of `layer` is given. Raises `RerunError`, one line for the user."""
        info = self._info(layer)
        if not info.reruns:
            raise RerunError(info.why or "this layer cannot be run alone")
        if self.hello.calls:
            return self._as_called(layer, info)
        return self._as_listed(layer, info)

    def _info(self, layer: Layer) -> LayerInfo:
        root = self.comparison.candidate.root
        bare = layer.module.removeprefix(f"{root}.") if root else layer.module
        if root and layer.module == root:
            bare = ""
        for name in (layer.module, bare, layer.canonical, f"model.{bare}"):
            if name in self._names:
                return self._names[name]
        said = layer.module or "the whole model"
        raise RerunError(
            f"the runner has no layer {said}; is {self.hello.model or 'its model'} the one that "
            "was captured?"
        )

    # --- by the arguments of the recorded call

    def _as_called(self, layer: Layer, info: LayerInfo) -> Injection:
        call = self._candidate.of(layer.module, layer.call, layer.step)
        if call is not None and not _lacks_tensors([call.args, call.kwargs]):
            return self._from_candidate_call(layer, info, call)
        records = self._candidate_inputs(layer)
        if records:
            fed, notes = self._feed(layer, [record.slot for record in records], records)
            self._check_cache(layer, {one.slot for one in fed})
            return Injection(info.name, fed, notes=notes)
        return self._from_reference(layer, info)

    def _from_candidate_call(self, layer: Layer, info: LayerInfo, call: Call) -> Injection:
        records = {record.slot: record for record in self._candidate_inputs(layer)}
        missing = [slot for slot in call.slots if slot not in records]
        if missing:
            raise RerunError(f"the candidate's capture has no {_ticked(missing)} of this layer")
        fed, notes = self._feed(layer, list(call.slots), [records[slot] for slot in call.slots])
        return Injection(info.name, fed, _structure(call), notes=notes)

    def _from_reference(self, layer: Layer, info: LayerInfo) -> Injection:
        """The candidate was captured without inputs: the reference's call, as it was made."""
        made = self._reference_key(layer)
        call = self._reference.of(*made) if made is not None else None
        found = {record.slot: record for record in self._reference_inputs(layer)}
        if call is not None and not _lacks_tensors([call.args, call.kwargs]):
            fed = tuple(plain(slot, found[slot]) for slot in call.slots if slot in found)
            if len(fed) == len(call.slots):
                return Injection(info.name, fed, _structure(call))
        if not found:
            raise RerunError("neither capture holds this layer's inputs")
        self._check_cache(layer, set(found))
        return Injection(info.name, tuple(plain(slot, found[slot]) for slot in found))

    def _check_cache(self, layer: Layer, slots: set[str]) -> None:
        """Without the call's structure a cache cannot be told; a decode step must have one."""
        if layer.step and self._attends(layer) and not any(map(_CACHE.search, slots)):
            raise RerunError(_missing(["input_past_key_values"], "of the earlier tokens"))

    # --- by the slots that the runner lists

    def _as_listed(self, layer: Layer, info: LayerInfo) -> Injection:
        wanted = list(info.inputs) or [record.slot for record in self._candidate_inputs(layer)]
        if not wanted:
            wanted = ["input_0"]
        fed: list[Fed] = []
        missing: list[str] = []
        for slot in wanted:
            one = self._listed(layer, slot, alone=len(wanted) == 1)
            if one is None:
                missing.append(slot)
            else:
                fed.append(one)
        if missing:
            raise RerunError(self._missing_listed(layer, missing))
        past = self._past(layer) if self.hello.past else []
        return Injection(info.name, (*fed, *past), offsets=self._offsets(layer, fed))

    def _listed(self, layer: Layer, slot: str, alone: bool) -> Fed | None:
        rows = [self.comparison.rows[index] for index in layer.inputs]
        pairs = [row for row in rows if row.kind == "pair"]
        exact = [row for row in pairs if row.candidate is not None and row.candidate.slot == slot]
        exact = exact or [row for row in pairs if row.slot == slot]
        floats = [row for row in pairs if is_float(row.candidate)]
        if not exact and alone and len(floats) == 1:
            exact = floats
        if exact:
            return self._through(exact[0], slot)
        if any(row.candidate is not None and row.candidate.slot == slot for row in rows):
            return None  # the candidate has it, the reference has nothing that answers to it
        # The candidate's dump has no inputs: the reference's, as they are.
        own = [row.reference for row in rows if row.reference is not None]
        same = [record for record in own if record.slot == slot]
        if not same and alone:
            same = [record for record in own if is_float(record)][:1]
        if not same:
            return None
        fed = plain(slot, same[0])
        dtype = self._candidate_dtype(layer)
        return Fed(slot, fed.task, dtype=dtype, ragged=self.hello.ragged)

    def _candidate_dtype(self, layer: Layer) -> str | None:
        record = self.comparison.rows[layer.outputs[0]].candidate
        return record.dtype if record is not None and is_float(record) else None

    def _missing_listed(self, layer: Layer, missing: list[str]) -> str:
        """Which of the reference's inputs would answer to the candidate's slots is not known where
        there is no pair: name the candidate's.
        """
        return _missing(missing, "")

    def _past(self, layer: Layer) -> list[Fed]:
        """Keys and values of the earlier tokens, for a layer with attention in it."""
        if not self._attends(layer):
            return []
        made = self._reference_key(layer)
        found = {record.slot: record for record in self._reference_inputs(layer)}
        call = self._reference.of(*made) if made is not None else None
        kept = None if call is None else _cache_slots(call)
        if kept is None:
            if layer.step == 0:
                return []
            raise RerunError(_missing(["input_past_key_values"], "of the earlier tokens"))
        fed: list[Fed] = []
        for name, slot in zip(("past_keys", "past_values"), kept, strict=True):
            record = found.get(slot)
            if record is None or record.locator is None:
                raise RerunError(_missing([slot], "of the earlier tokens"))
            if record.shape is None or len(record.shape) != 4:
                raise RerunError(
                    f"{slot} of the reference has shape {list(record.shape or ())}, not "
                    "[batch, heads, tokens, size]"
                )
            dtype = self._candidate_dtype(layer)
            fed.append(Fed(name, side_task_of(record), dtype=dtype, heads_last=True))
        return fed

    def _offsets(self, layer: Layer, fed: list[Fed]) -> tuple[int, ...]:
        """Where the rows of a batch begin and end, for a layer with attention in it."""
        if not self.hello.past or not self._attends(layer):
            return ()
        for one in fed:
            shape = one.task.locator.shape
            if len(shape) == 3 and shape[0] > 1:
                return tuple(shape[1] * number for number in range(shape[0] + 1))
        return ()

    def _attends(self, layer: Layer) -> bool:
        """True for attention and for what has attention in it."""
        if is_in_attention(layer.canonical):
            return role_of(layer.canonical) == "attention"
        prefix = layer.canonical + "."
        whole = role_of(layer.canonical) == "root"
        return any(
            is_in_attention(row.canonical) and (whole or row.canonical.startswith(prefix))
            for row in self.comparison.rows
        )

    # --- records of a layer

    def _candidate_inputs(self, layer: Layer) -> list[Record]:
        rows = (self.comparison.rows[index] for index in layer.inputs)
        key = (layer.module, layer.call, layer.step)
        found = {
            row.candidate.slot: row.candidate
            for row in rows
            if row.candidate is not None
            and (row.candidate.module, row.candidate.call, row.candidate.step) == key
        }
        return list(found.values())

    def _reference_key(self, layer: Layer) -> tuple[str, int, int] | None:
        for index in layer.outputs:
            row = self.comparison.rows[index]
            if row.reference is not None and row.matched_by != "fused":
                return (row.reference.module, row.reference.call, row.reference.step)
        return None

    def _reference_inputs(self, layer: Layer) -> list[Record]:
        key = self._reference_key(layer)
        rows = (self.comparison.rows[index] for index in layer.inputs)
        return [
            row.reference
            for row in rows
            if row.reference is not None
            and (row.reference.module, row.reference.call, row.reference.step) == key
        ]

    def _feed(
        self, layer: Layer, slots: list[str], records: list[Record]
    ) -> tuple[tuple[Fed, ...], tuple[str, ...]]:
        """The reference's counterpart of each of the candidate's input records."""
        by_record = {
            id(row.candidate): row
            for row in (self.comparison.rows[index] for index in layer.inputs)
            if row.candidate is not None
        }
        fed: list[Fed] = []
        missing: list[str] = []
        own: list[str] = []
        for slot, record in zip(slots, records, strict=True):
            row = by_record[id(record)]
            if row.kind == "pair":
                fed.append(self._through(row, slot))
            elif record.locator is not None and self._may_be_own(slot, record):
                own.append(slot)
                fed.append(Fed(slot, side_task_of(record), own=True))
            else:
                missing.append(slot)
        if missing:
            raise RerunError(_missing(missing, ""))
        notes = (f"the candidate's own {_ticked(own)}: the reference has none",) if own else ()
        return tuple(fed), notes

    def _may_be_own(self, slot: str, record: Record) -> bool:
        exact = DTYPES[record.dtype or ""].kind in ("int", "bool") if record.dtype else False
        if self.own_inputs:
            return True
        if _CACHE.search(slot) is not None:
            return False
        where = exact or _WHERE.search(slot) is not None
        return where or is_table(record, self.comparison.candidate.records)

    def _through(self, row: Row, slot: str) -> Fed:
        """A pair's reference record on its way to the candidate's form."""
        if row.problem_level is not None:
            raise RerunError(f"`{slot}`: {row.problem or row.problem_level}")
        assert row.candidate is not None
        task = self.comparison.task(row.index)
        return Fed(
            slot, task.reference, row.index, row.recipe_candidate, row.candidate.shape,
            row.candidate.dtype,
        )  # fmt: skip


def _structure(call: Call) -> dict[str, Any]:
    return {"slots": list(call.slots), "args": call.args, "kwargs": call.kwargs}


def _cache_slots(call: Call) -> tuple[str, str] | None:
    """The slots of the keys and values in a call's cache; None where it is empty."""
    for part in _dicts([call.args, call.kwargs]):
        keys, values = part.get("keys"), part.get("values")
        if isinstance(keys, dict) and isinstance(values, dict) and "seq" in keys:
            return call.slots[keys["seq"]], call.slots[values["seq"]]
    return None


def _lacks_tensors(structure: Any) -> bool:
    """True when the capture kept a tensor's shape only."""
    return any(isinstance(part.get("tensor"), dict) for part in _dicts(structure))


def _dicts(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, list):
        for inner in part:
            yield from _dicts(inner)
    elif isinstance(part, dict):
        yield part
        for inner in part.values():
            yield from _dicts(inner)


def _ticked(slots: list[str]) -> str:
    """`a` and `b`; the parts of one argument (`x_0`, `x_1`) are named once."""
    stems = [re.sub(r"(?<=[a-z])_\d+$", "", slot) for slot in slots]
    named = [
        stem if stem not in ("input", "output") else slot
        for stem, slot in zip(stems, slots, strict=True)
    ]
    return ", ".join(f"`{name}`" for name in dict.fromkeys(named))


def _missing(slots: list[str], more: str) -> str:
    return f"reference has no {_ticked(slots)}{' ' + more if more else ''} for this layer"
