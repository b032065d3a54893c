"""Which node of a graph makes a value and which take it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .source import graphs_of

_SIZES = ("Shape", "Size")


@dataclass(slots=True)
class Index:
    """The nodes of a graph in order; `inputs` of each include what its inner graphs take from
    outside. `constants` are values that depend on weights alone, `sizes` those that depend on
    the sizes of tensors besides.
    """

    nodes: list[Any]
    inputs: list[tuple[str, ...]]
    outputs: list[tuple[str, ...]]
    maker: dict[str, int]
    users: dict[str, list[int]]
    given: tuple[str, ...]
    results: tuple[str, ...]
    initializers: dict[str, Any]
    constants: set[str]
    sizes: set[str]

    def is_constant(self, number: int) -> bool:
        """Whether a node computes with weights alone."""
        return bool(self.outputs[number]) and self.outputs[number][0] in self.constants


def index_of(graph: Any) -> Index:
    """The index of a GraphProto, whose nodes are sorted, as ONNX demands."""
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    initializers.update((sparse.values.name, sparse) for sparse in graph.sparse_initializer)
    nodes = list(graph.node)
    inputs = [_inputs(node) for node in nodes]
    outputs = [tuple(name for name in node.output if name) for node in nodes]
    given = tuple(v.name for v in graph.input if v.name not in initializers)
    maker: dict[str, int] = {}
    users: dict[str, list[int]] = {}
    constants, sizes = set(initializers), set()
    for number, node in enumerate(nodes):
        for name in inputs[number]:
            users.setdefault(name, []).append(number)
        fixed = all(name in constants for name in inputs[number])
        sized = node.op_type in _SIZES or all(
            name in constants or name in sizes for name in inputs[number]
        )
        for name in outputs[number]:
            maker[name] = number
            if fixed and not _draws(node):
                constants.add(name)
            elif sized:
                sizes.add(name)
    results = tuple(value.name for value in graph.output)
    return Index(nodes, inputs, outputs, maker, users, given, results, initializers, constants,
                 sizes)  # fmt: skip


def _draws(node: Any) -> bool:
    """Random numbers differ from run to run: they are drawn once."""
    return node.op_type.startswith(("Random", "Bernoulli", "Multinomial"))


def _inputs(node: Any) -> tuple[str, ...]:
    names = [name for name in node.input if name]
    for graph in graphs_of(node):
        names += _from_outside(graph)
    return tuple(dict.fromkeys(names))


def _from_outside(graph: Any) -> list[str]:
    own = {value.name for value in graph.input}
    own.update(tensor.name for tensor in graph.initializer)
    taken: list[str] = []
    for node in graph.node:
        taken += [name for name in _inputs(node) if name not in own]
        own.update(node.output)
    taken += [value.name for value in graph.output if value.name not in own]
    return taken
