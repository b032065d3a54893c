"""Parts of a graph as models of their own, run by ONNX Runtime.

A part is the nodes between values that are given and values that are wanted. Its weights are
those of the whole model, shared and not copied; what it is given are values of ONNX Runtime.
"""

from __future__ import annotations

# pyright: reportMissingImports=false
# The packages `onnx` and `onnxruntime` are optional.
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...errors import CaptureError
from .index import Index
from .source import Model, in_one_line
from .types import CODES, FOREIGN_TO_NUMPY, RUNTIME_NAMES

_SUFFIX = "ExecutionProvider"
_FATAL = 4  # severity of ONNX Runtime's log: errors arrive as exceptions besides


def providers_of(wanted: str) -> list[str]:
    """`cpu`, `cuda` or another provider's name, as ONNX Runtime has it. Raises `CaptureError`."""
    import onnxruntime

    there = onnxruntime.get_available_providers()
    known = {name.removesuffix(_SUFFIX).lower(): name for name in there}
    word = "cuda" if wanted == "gpu" else wanted.lower().removesuffix(_SUFFIX.lower())
    if word == "auto":
        word = "cuda" if "cuda" in known else "cpu"
    if word not in known:
        raise CaptureError(f"this ONNX Runtime has no provider {wanted!r}, but {', '.join(known)}")
    return list(dict.fromkeys([known[word], known.get("cpu", known[word])]))


@dataclass(slots=True)
class Runtime:
    """Runs parts of one model on `providers`, nothing optimised."""

    model: Model
    index: Index
    providers: list[str]
    _casts: dict[str, Any] = field(default_factory=dict)

    def run(self, outputs: Sequence[str], given: Mapping[str, Any]) -> list[Any]:
        """The values `outputs` as ONNX Runtime has them, from those in `given`. Raises
        `CaptureError`.
        """
        return self.session(outputs, given)(given)

    def session(self, outputs: Sequence[str], given: Mapping[str, Any]) -> Session:
        """The part that makes `outputs`, ready to run on values of the types in `given`."""
        nodes, taken = self.between(outputs, set(given))
        proto, weights = self._part(nodes, {name: given[name] for name in taken}, outputs)
        what = self.model.path

        def make() -> Any:
            import onnxruntime

            options = quiet_options()
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            if weights:
                options.add_external_initializers(
                    weights, [self.model.runtime_value(name) for name in weights]
                )
            return onnxruntime.InferenceSession(
                proto.SerializeToString(), options, providers=self.providers
            )

        return Session(in_one_line(make, what), tuple(outputs), tuple(taken), what)

    def between(self, outputs: Sequence[str], given: set[str]) -> tuple[list[int], list[str]]:
        """The nodes that lead to `outputs`, and which of the given values they take. Raises
        `CaptureError` where something is missing.
        """
        nodes: set[int] = set()
        taken: dict[str, None] = {}
        left = list(outputs)
        while left:
            value = left.pop()
            if value in given:
                taken[value] = None
            elif value in self.index.maker:
                maker = self.index.maker[value]
                if maker not in nodes:
                    nodes.add(maker)
                    left.extend(self.index.inputs[maker])
            elif value not in self.index.initializers:
                raise CaptureError(f"{self.model.path}: the value {value!r} is not given")
        return sorted(nodes), list(taken)

    def _part(
        self, nodes: Sequence[int], given: Mapping[str, Any], outputs: Sequence[str]
    ) -> tuple[Any, list[str]]:
        import onnx

        whole = self.model.proto
        proto = onnx.ModelProto(ir_version=whole.ir_version)
        proto.opset_import.extend(whole.opset_import)
        proto.functions.extend(whole.functions)
        proto.graph.name = "part"
        proto.graph.node.extend(self.index.nodes[number] for number in nodes)
        needed = {name for number in nodes for name in self.index.inputs[number]} | set(outputs)
        weights: list[str] = []
        for tensor in whole.graph.initializer:
            if tensor.name in needed and tensor.name not in given:
                proto.graph.initializer.append(tensor)
                if tensor.name in self.model.weights:
                    weights.append(tensor.name)
        for sparse in whole.graph.sparse_initializer:
            if sparse.values.name in needed:
                proto.graph.sparse_initializer.append(sparse)
        for name, value in given.items():
            proto.graph.input.append(_value_info(name, value))
        for name in outputs:
            proto.graph.output.add().name = name
        return proto, weights

    def to_numpy(self, value: Any) -> tuple[Any, str]:
        """Raw elements and dtype of a value. Raises `CaptureError` for one that is no tensor."""
        if not value.is_tensor() or value.data_type() not in RUNTIME_NAMES:
            raise CaptureError(f"a value of the type {value.data_type()}")
        dtype = RUNTIME_NAMES[value.data_type()]
        if CODES[dtype] not in FOREIGN_TO_NUMPY:
            return value.numpy(), dtype
        return self._bits(value, dtype), dtype

    def _bits(self, value: Any, dtype: str) -> Any:
        """Elements of a type that numpy lacks, through float32, which holds them all."""
        import numpy as np

        session = self._casts.get(dtype)
        if session is None:
            session = self._casts[dtype] = _cast_session(dtype)
        wide = session.run_with_ort_values(["y"], {"x": value})[0].numpy()
        return (np.ascontiguousarray(wide).view(np.uint32) >> np.uint32(16)).astype(np.uint16)


@dataclass(frozen=True, slots=True)
class Session:
    """A part, ready to run."""

    _session: Any
    outputs: tuple[str, ...]
    inputs: tuple[str, ...]
    _what: str

    def __call__(self, given: Mapping[str, Any]) -> list[Any]:
        feeds = {name: given[name] for name in self.inputs}
        return in_one_line(
            lambda: self._session.run_with_ort_values(list(self.outputs), feeds), self._what
        )


def quiet_options() -> Any:
    """Options of a session that prints nothing."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL
    return options


def _value_info(name: str, value: Any) -> Any:
    import onnx
    from onnx import helper

    kind = value.data_type()
    if value.is_tensor():
        shape = value.shape()
        code = value.element_type()
        return helper.make_tensor_value_info(name, code, shape)
    if kind.startswith("seq(tensor("):
        inner = RUNTIME_NAMES.get(kind[4:-1])
        if inner is not None:
            element = onnx.helper.make_tensor_type_proto(CODES[inner], None)
            return helper.make_value_info(name, helper.make_sequence_type_proto(element))
    raise CaptureError(f"the value {name!r} of the type {kind} cannot be handed over")


def _cast_session(dtype: str) -> Any:
    import onnxruntime
    from onnx import helper

    graph = helper.make_graph(
        [helper.make_node("Cast", ["x"], ["y"], to=CODES["float32"])], "cast",
        [helper.make_tensor_value_info("x", CODES[dtype], None)],
        [helper.make_tensor_value_info("y", CODES["float32"], None)],
    )  # fmt: skip
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return onnxruntime.InferenceSession(
        proto.SerializeToString(), quiet_options(), providers=["CPUExecutionProvider"]
    )
