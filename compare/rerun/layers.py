"""Which layer a row belongs to, and which records are its inputs and outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from ...capture.records import Record
from ..matching.names.roles import role_of
from ..model import Row

if TYPE_CHECKING:
    from ..comparison import Comparison

Key = tuple[str, int, int]  # the candidate's module as dumped, call, step
_Place = tuple[str, int, int]  # canonical module, call, step


@dataclass(frozen=True, slots=True)
class Layer:
    """One call of one of the candidate's modules.

    `outputs` are its rows whose two records can be compared, `inputs` all rows of its inputs,
    those that only one side has included.
    """

    module: str
    call: int
    step: int
    canonical: str
    outputs: tuple[int, ...]
    inputs: tuple[int, ...]

    @property
    def name(self) -> str:
        """`layers.0.mlp`, with the call and the step where they are not the first."""
        call = f"({self.call})" if self.call > 1 else ""
        step = f" step {self.step}" if self.step else ""
        return f"{self.canonical}{call}{step}"


@dataclass(slots=True)
class Layers:
    """The layers of a comparison, in execution order."""

    comparison: Comparison
    _by_key: dict[Key, Layer] = field(init=False)
    _by_row: dict[int, Key] = field(init=False)

    def __post_init__(self) -> None:
        self._by_key, self._by_row = {}, {}
        places: dict[_Place, list[int]] = {}  # inputs, by the common name
        calls: dict[Key, list[int]] = {}  # and by the candidate's call
        outputs: dict[Key, list[int]] = {}
        for row in self.comparison.rows:
            if row.role == "input":
                places.setdefault((row.canonical, row.call, row.step), []).append(row.index)
                if row.candidate is not None:
                    calls.setdefault(_key(row.candidate), []).append(row.index)
            elif row.role in ("output", "value") and row.kind == "pair":
                assert row.candidate is not None
                outputs.setdefault(_key(row.candidate), []).append(row.index)
        for key, indices in outputs.items():
            self._add(key, indices, calls.get(key, []), places)
        for key, indices in calls.items():
            if key in self._by_key:
                self._by_row.update(dict.fromkeys(indices, key))

    def _add(
        self, key: Key, outputs: list[int], inputs: list[int], places: dict[_Place, list[int]]
    ) -> None:
        rows = [self.comparison.rows[index] for index in outputs]
        found = list(inputs)
        for row in rows:
            found += places.get((row.canonical, row.call, row.step), [])
        canonical = rows[0].canonical
        if len({row.canonical for row in rows}) > 1:  # the parts of a fused module
            parent = canonical.rpartition(".")[0]
            last = key[0].rpartition(".")[2]
            canonical = f"{parent}.{last}" if parent else last
        self._by_key[key] = Layer(
            *key, canonical, tuple(outputs), tuple(sorted(dict.fromkeys(found)))
        )
        for index in (*outputs, *found):
            self._by_row.setdefault(index, key)

    @property
    def all(self) -> list[Layer]:
        """Every layer with an output to compare."""
        return sorted(self._by_key.values(), key=lambda layer: layer.outputs[0])

    def of_row(self, index: int) -> Layer | None:
        """The layer that a row is an input or output of; None where the candidate has none."""
        key = self._by_row.get(index)
        return None if key is None else self._by_key[key]

    def named(self, name: str) -> list[Layer]:
        """Layers by a name or glob: the common one, or what either dump calls it, with or without
        the slot.
        """
        return [layer for layer in self.all if self._called(layer, name)]

    def _called(self, layer: Layer, name: str) -> bool:
        names = {layer.canonical, layer.name, layer.module, f"{layer.module}({layer.call})"}
        for index in layer.outputs:
            row = self.comparison.rows[index]
            names |= {row.canonical, row.label}
            for record in (row.reference, row.candidate):
                if record is not None:
                    names |= {record.module, record.name}
        return any(known == name or fnmatchcase(known, name) for known in names)


def _key(record: Record) -> Key:
    return (record.module, record.call, record.step)


def inside(part: Row | Layer, whole: Row | Layer) -> bool:
    """True when `part` is a module inside `whole`, in the same step."""
    if part.step != whole.step or part.canonical == whole.canonical:
        return False
    if whole.canonical == "model":
        return True
    if whole.canonical == "model.model":  # everything but the head
        return role_of(part.canonical) not in ("head", "root")
    return part.canonical.startswith(whole.canonical + ".")


def rows_of(layers: Sequence[Layer]) -> list[int]:
    """The output rows of several layers."""
    return [index for layer in layers for index in layer.outputs]


def why_no_layer(row: Row) -> str:
    """Why a row belongs to no layer that can be run again."""
    if row.candidate is None:
        return "the candidate has no such record"
    return "its layer has no output on both sides"
