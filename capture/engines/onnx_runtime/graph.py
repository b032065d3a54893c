"""A model with all that is known of its graph: who makes what, and the calls of its modules."""

from __future__ import annotations

# pyright: reportMissingImports=false
# The package `onnx` is optional.
from dataclasses import dataclass

from .index import Index, index_of
from .modules import Found, find_calls
from .scopes import Scope, scopes_of
from .source import Model, in_one_line, open_model


@dataclass(slots=True)
class Graph:
    """`types` are the codes of values' element types, as far as they can be told."""

    model: Model
    index: Index
    scopes: list[Scope]
    classes: dict[str, str]
    types: dict[str, int]
    found: Found

    @property
    def has_scopes(self) -> bool:
        """Whether the exporter said which node belongs to which module."""
        return any(len(scope) > 1 for scope in self.scopes)

    def operation(self, number: int) -> tuple[str, str]:
        """The module that a node is in, and a name for the node there."""
        scope = self.scopes[number]
        node = self.index.nodes[number]
        name = node.name.rpartition("/")[2] if node.name.startswith("/") else node.output[0]
        return (scope[-1].partition("@")[0] if scope else ""), name or node.op_type

    def operands(self, number: int) -> list[str]:
        """What a node takes that is not computed from weights alone."""
        return [v for v in self.index.inputs[number] if v not in self.index.constants]


def read_graph(path: str) -> Graph:
    """Raises `CaptureError`, one line."""
    model = open_model(path)
    index = index_of(model.proto.graph)
    scopes, classes, lost = scopes_of(index)
    types = in_one_line(lambda: _types(model), model.path)
    found = find_calls(index, scopes, classes, types, lost)
    return Graph(model, index, scopes, classes, types, found)


def _types(model: Model) -> dict[str, int]:
    """By value, where inference of shapes tells it; nodes of other domains give nothing."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model.proto).graph
    known = {value.name: value.type.tensor_type.elem_type
             for value in (*inferred.value_info, *inferred.input, *inferred.output)}  # fmt: skip
    known.update((tensor.name, tensor.data_type) for tensor in inferred.initializer)
    return {name: code for name, code in known.items() if code}
