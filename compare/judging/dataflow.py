"""Where the error of a record can come from, inferred from names, order and equal numbers alone.

No graph of the model is known. A record whose reference has the same numbers as an earlier one
*is* that record (what a norm returns is what q_proj takes in). What a module returns was made from
its inputs and from what the modules inside it returned. An input that no record shows being made
was made by the code of the parent: from the parent's inputs and from what its other children
returned before. Numbers of the pair's view are compared, so that this holds through the slices of
fused modules, ragged shapes and last tokens.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ...capture.interpreter.garbage import free_slowly
from ..matching.names.canonical import ROOT, parent_of
from ..matching.names.roles import beside, is_parameter, last_name
from ..model import Measurement, Result, Row
from .gradient_flow import ROLES as GRADIENT_ROLES
from .gradient_flow import GradientFlow
from .same_numbers import Numbers, SeenNumbers

_NUMBER = re.compile(r"\.\d+(?=\.|$)")
DECODER = f"{ROOT}.{ROOT}"  # inside the root, with the root's children (see `canonical`)
_STREAM = 3  # records before it that a top-level input is taken to be made of


@dataclass(slots=True)
class Node:
    """A pair and the pairs that its values were made from.

    `same` is the earlier pair whose reference has the same numbers. `parent` is the module whose
    code made this input, None for what a module returned. `kind` is common to all peers: the same
    slot of the same module in every layer. `stand_in`: the module's inputs are not recorded, the
    sources are what was returned before it.
    """

    index: int
    module: str
    role: str
    kind: tuple[str, str, bool]
    sources: tuple[int, ...] = ()
    same: int | None = None
    parent: str | None = None
    stand_in: bool = False


@dataclass(slots=True)
class Flow:
    """The nodes of all pairs by row, in execution order."""

    nodes: dict[int, Node] = field(default_factory=dict)

    def __getitem__(self, index: int) -> Node:
        return self.nodes[index]


def kind_of(row: Row) -> tuple[str, str, bool]:
    """What peers share: the module without its numbers, the slot, prompt or later step."""
    module = _NUMBER.sub(".N", "." + row.canonical)[1:]
    return module, f"{row.slot}({row.call})" if row.call > 1 else row.slot, row.step > 0


def flow_of(rows: Sequence[Row], results: Sequence[Result]) -> Flow:
    """The dataflow among the pairs; what could not be measured is no source of anything."""
    flow = Flow()
    steps: dict[int, list[Row]] = {}
    for row in rows:
        result = results[row.index]
        if row.kind != "pair" or not isinstance(result, Measurement):
            continue
        if result.compared or result.nonfinite_mismatch:
            steps.setdefault(row.step, []).append(row)
    before: _Step | None = None
    leavings: list[object] = []
    for number in sorted(steps):
        before = _Step(flow, steps[number], results, before)
        before.link()
        leavings += before.leavings()
    del before
    free_slowly(leavings)
    return flow


@dataclass(slots=True)
class _Step:
    """The pairs of one step, and what is needed to link them."""

    flow: Flow
    rows: list[Row]
    results: Sequence[Result]
    before: _Step | None
    labels: dict[str, int] = field(default_factory=dict)
    by_index: dict[int, Row] = field(default_factory=dict)
    inputs: dict[str, list[int]] = field(default_factory=dict)
    outputs: dict[str, list[int]] = field(default_factory=dict)
    children: dict[str, list[str]] = field(default_factory=dict)  # modules that have outputs
    inside: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    seen: SeenNumbers = field(default_factory=SeenNumbers)
    parents: dict[str, str] = field(default_factory=dict)  # `recorded_parent`, by module

    def link(self) -> None:
        given = [row for row in self.rows if row.role == "value" and is_parameter(row.canonical)]
        for row in given:  # parameters are made of nothing, and what is made of them is not here
            self.flow.nodes[row.index] = Node(row.index, row.canonical, row.role, kind_of(row))
        self.rows = [row for row in self.rows if row.index not in self.flow.nodes]
        for row in self.rows:
            self.labels[row.label], self.by_index[row.index] = row.index, row
            if row.role in GRADIENT_ROLES:
                continue
            place = self.inputs if row.role == "input" else self.outputs
            place.setdefault(row.canonical, []).append(row.index)
        for module in self.outputs:
            for parent in self.returning_parents(module):
                self.children.setdefault(parent, []).append(module)
        gradients = GradientFlow(self.recorded_parent)
        for row in self.rows:
            if row.role in GRADIENT_ROLES:
                self.flow.nodes[row.index] = self.gradient(row, gradients)
            else:
                self.flow.nodes[row.index] = self.node(row)

    def leavings(self) -> list[object]:
        """What linking took, some objects for each row."""
        named = self.inputs, self.outputs, self.inside
        return [*self.seen.leavings(), *(rows for found in named for rows in found.values())]

    def recorded_parent(self, module: str) -> str:
        """The nearest module around `module` that has records."""
        known = self.parents.get(module)
        if known is None:
            known = parent_of(module) if module != ROOT else ROOT
            while known != ROOT and known not in self.outputs and known not in self.inputs:
                known = parent_of(known)
            self.parents[module] = known
        return known

    def returning_parents(self, module: str) -> Iterator[str]:
        """The modules around `module` that its output is handed on to: the nearest with records,
        and beyond those whose own outputs are not recorded.
        """
        while module != ROOT:
            module = self.recorded_parent(module)
            yield module
            if module in self.outputs:
                return

    def node(self, row: Row) -> Node:
        node = Node(row.index, row.canonical, row.role, kind_of(row))
        if row.role == "input":
            node.parent = self.recorded_parent(row.canonical)
        known = self.earlier(row)
        if known is not None:
            node.same, node.sources = known, (known,)
        elif row.role == "input":
            node.sources = self.made_by_parent(row, node.parent or ROOT)
        else:
            node.sources = self.returned(row)
            node.stand_in = not self.inputs.get(row.canonical)
        return node

    def gradient(self, row: Row, gradients: GradientFlow) -> Node:
        """A node of the backward pass; only another gradient can have the same numbers."""
        node = Node(row.index, row.canonical, row.role, kind_of(row))
        node.same = self.earlier(row, "gradient")
        node.sources = (
            gradients.sources(row, self.inputs, self.outputs, self.children)
            if node.same is None
            else (node.same,)
        )
        gradients.add(row)
        return node

    def earlier(self, row: Row, kind: str = "") -> int | None:
        """The first row whose reference had the same numbers as this row's."""
        numbers = self.numbers(row)
        return None if numbers is None else self.seen.first(row.index, numbers, kind)

    def numbers(self, row: Row) -> Numbers | None:
        """What tells the reference's numbers from others."""
        result = self.results[row.index]
        assert isinstance(result, Measurement)
        return Numbers.of(result)

    def returned(self, row: Row) -> tuple[int, ...]:
        """Inputs of the module, and what the modules inside it returned. Where no inputs are
        recorded, what was returned before stands in for them.
        """
        module = ROOT if row.canonical == DECODER else row.canonical
        found = list(self.inputs.get(row.canonical, ()))
        if not found and module != ROOT:
            found = self.given(module, row.index)
        for child in self.children.get(module, ()):
            if child not in (module, row.canonical):
                found += [i for i in self.outputs[child] if i < row.index]
        return tuple(found)

    def given(self, module: str, index: int) -> list[int]:
        """What a module without recorded inputs can have been given: what the modules beside it
        returned before row `index`, and what its parent was given.
        """
        parent = self.recorded_parent(module)
        earlier = self.returned_before(index, parent, module, beside(module))
        if parent == ROOT:
            return earlier
        return earlier + (self.inputs.get(parent) or self.given(parent, index))

    def returned_before(
        self, index: int, parent: str, module: str, without: Sequence[str] = ()
    ) -> list[int]:
        """What the other modules inside `parent` returned before row `index`, without those called
        `without`. Of the root, whose modules are a stream, only the last: these are made of all
        before them.
        """
        outputs = self._outputs_of(parent)
        most = _STREAM if parent == ROOT else len(outputs)
        found: list[int] = []
        for at in range(bisect_left(outputs, (index, "")) - 1, -1, -1):
            row, child = outputs[at]
            if child not in (module, parent) and last_name(child) not in without:
                found.append(row)
            if len(found) == most:
                break
        return found[::-1]

    def _outputs_of(self, parent: str) -> list[tuple[int, str]]:
        """Rows of what the modules inside `parent` return, in order, and whose they are."""
        if parent not in self.inside:
            children = self.children.get(parent, ())
            self.inside[parent] = sorted((i, child) for child in children
                                         for i in self.outputs[child])  # fmt: skip
        return self.inside[parent]

    def made_by_parent(self, row: Row, parent: str) -> tuple[int, ...]:
        """What the parent's code can have made an input of: its own inputs, and what the modules
        in it returned before. What is the parent's input itself was made by whoever made that.
        """
        module, handed_on = row.canonical, self.is_input_of(row, parent)
        while handed_on and parent != ROOT:
            module, parent = parent, self.recorded_parent(parent)
            handed_on = self.is_input_of(row, parent)
        found: list[int] = []
        if not handed_on:
            found += [i for i in self.inputs.get(parent, ()) if parent != module]
            found += self.returned_before(row.index, parent, module)
        if self.before is not None:  # caches, and tokens that were generated
            found += self.from_before(row, bool(found))
        return tuple(dict.fromkeys(found))

    def is_input_of(self, row: Row, module: str) -> bool:
        """Whether the numbers are one of the module's inputs, which may be recorded later."""
        own = self.numbers(row)
        if own is None or module == row.canonical:
            return False
        given = (self.numbers(self.by_index[i]) for i in self.inputs.get(module, ()))
        return any(other is not None and own.same(other) for other in given)

    def from_before(self, row: Row, has_sources: bool) -> list[int]:
        before = self.before
        assert before is not None
        if row.label in before.labels and has_sources:
            return [before.labels[row.label]]
        ends = before.outputs.get(ROOT) or [before.rows[-1].index]
        return ends if not has_sources else []


def unpaired_before(rows: Sequence[Row], index: int) -> int:
    """How many records of the reference stand without a partner between a pair that values made and
    the pair before it, where the candidate, too, has such records: some of them may belong together
    and differ.
    """
    if rows[index].matched_by != "content":
        return 0
    counts = {"reference": 0, "candidate": 0}
    for at in range(index - 1, -1, -1):
        row = rows[at]
        if row.kind == "pair":
            break
        if row.role != "input":
            counts["candidate" if row.reference is None else "reference"] += 1
    return counts["reference"] if counts["candidate"] else 0
