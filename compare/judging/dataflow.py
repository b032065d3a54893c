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
from collections.abc import Iterator, Mapping, Sequence
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
class _Returned:
    """What the modules inside one return, in order: the rows, whose they are, and the last
    component of that name.
    """

    rows: list[int] = field(default_factory=list)
    modules: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    @classmethod
    def by(cls, modules: Sequence[str], outputs: Mapping[str, Sequence[int]]) -> _Returned:
        found = cls()
        in_order = sorted((row, name) for name in modules for row in outputs[name])
        for row, module in in_order:
            found.rows.append(row)
            found.modules.append(module)
            found.names.append(last_name(module))
        return found


@dataclass(slots=True)
class _Step:
    """The pairs of one step, and what is needed to link them."""

    flow: Flow
    rows: list[Row]
    results: Sequence[Result]
    before: _Step | None
    inputs: dict[str, list[int]] = field(default_factory=dict)
    outputs: dict[str, list[int]] = field(default_factory=dict)
    children: dict[str, list[str]] = field(default_factory=dict)  # modules that have outputs
    inside: dict[str, _Returned] = field(default_factory=dict)
    seen: SeenNumbers = field(default_factory=SeenNumbers)
    parents: dict[str, str] = field(default_factory=dict)  # `recorded_parent`, by module
    labels: dict[str, int] | None = None  # made when the next step asks for them

    def link(self) -> None:
        made: list[tuple[Row, Node]] = []
        for row in self.rows:
            node = Node(row.index, row.canonical, row.role, kind_of(row))
            if node.role == "value" and is_parameter(node.module):
                # Parameters are made of nothing, and what is made of them is not here.
                self.flow.nodes[node.index] = node
                continue
            made.append((row, node))
            if node.role not in GRADIENT_ROLES:
                place = self.inputs if node.role == "input" else self.outputs
                place.setdefault(node.module, []).append(node.index)
        self.rows = [row for row, _ in made]
        for module in self.outputs:
            for parent in self.returning_parents(module):
                self.children.setdefault(parent, []).append(module)
        gradients = GradientFlow(self.recorded_parent)
        for row, node in made:
            if node.role in GRADIENT_ROLES:
                self.link_gradient(node, row, gradients)
            else:
                self.link_forward(node, row)
            self.flow.nodes[node.index] = node

    def leavings(self) -> list[object]:
        """What linking took, some objects for each row."""
        named = self.inputs, self.outputs
        lists = (rows for found in named for rows in found.values())
        return [*self.seen.leavings(), *lists, *self.inside.values()]

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

    def link_forward(self, node: Node, row: Row) -> None:
        """Set what a node of the forward pass was made from."""
        if node.role == "input":
            node.parent = self.recorded_parent(node.module)
        known = self.earlier(node.index)
        if known is not None:
            node.same, node.sources = known, (known,)
        elif node.role == "input":
            node.sources = self.made_by_parent(row, node.parent or ROOT)
        else:
            inputs = self.inputs.get(node.module, [])
            node.sources = self.returned(node, inputs)
            node.stand_in = not inputs

    def link_gradient(self, node: Node, row: Row, gradients: GradientFlow) -> None:
        """The same of the backward pass; only another gradient can have the same numbers."""
        node.same = self.earlier(node.index, "gradient")
        node.sources = (
            gradients.sources(row, self.inputs, self.outputs, self.children)
            if node.same is None
            else (node.same,)
        )
        gradients.add(row)

    def earlier(self, index: int, kind: str = "") -> int | None:
        """The first row whose reference had the same numbers as row `index`."""
        numbers = self.numbers(index)
        return None if numbers is None else self.seen.first(index, numbers, kind)

    def numbers(self, index: int) -> Numbers | None:
        """What tells the numbers of a row's reference from others."""
        result = self.results[index]
        assert isinstance(result, Measurement)
        return Numbers.of(result)

    def returned(self, node: Node, inputs: Sequence[int]) -> tuple[int, ...]:
        """Inputs of the module, and what the modules inside it returned. Where no inputs are
        recorded, what was returned before stands in for them.
        """
        module, found = node.module, [*inputs]
        if module == DECODER:
            module = ROOT
        if not found and module != ROOT:
            found = self.given(module, node.index)
        for child in self.children.get(module, ()):
            if child not in (module, node.module):
                found += [i for i in self.outputs[child] if i < node.index]
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
        inside = self.inside.get(parent)
        if inside is None:
            inside = _Returned.by(self.children.get(parent, ()), self.outputs)
            self.inside[parent] = inside
        most = _STREAM if parent == ROOT else len(inside.rows)
        found: list[int] = []
        for at in range(bisect_left(inside.rows, index) - 1, -1, -1):
            child = inside.modules[at]
            if child != module and child != parent and inside.names[at] not in without:
                found.append(inside.rows[at])
                if len(found) == most:
                    break
        return found[::-1]

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
        given = self.inputs.get(module)
        if not given or module == row.canonical:
            return False
        own = self.numbers(row.index)
        if own is None:
            return False
        others = (self.numbers(i) for i in given)
        return any(other is not None and own.same(other) for other in others)

    def from_before(self, row: Row, has_sources: bool) -> list[int]:
        before = self.before
        assert before is not None
        if has_sources:
            known = before.row_of(row.label)
            return [] if known is None else [known]
        return before.outputs.get(ROOT) or [before.rows[-1].index]

    def row_of(self, label: str) -> int | None:
        """The row of this step that is labelled so; the last, of several."""
        if self.labels is None:
            self.labels = {row.label: row.index for row in self.rows}
        return self.labels.get(label)


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
