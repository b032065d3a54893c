"""The modules and nodes of an ONNX model, run again on given inputs.

A layer is a part of the graph, from its inputs to its outputs, with the weights in between. Small
whole numbers that a module takes of the sizes of tensors come with the call as it was recorded.
"""

from __future__ import annotations

# pyright: reportMissingImports=false
# The packages `onnx` and `onnxruntime` are optional.
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..dtypes import DTYPES
from ..engines.onnx_runtime.capture import runtime_version
from ..engines.onnx_runtime.graph import read_graph
from ..engines.onnx_runtime.inputs import runtime_value
from ..engines.onnx_runtime.parts import Runtime, Session, providers_of
from ..errors import CaptureError
from .layers import LayerInfo, RerunError, RerunOutputs

_KEPT = 32  # parts that stay loaded


@dataclass(frozen=True, slots=True)
class _Layer:
    """Slots and values of what goes in and comes out; `sizes` come with a recorded call."""

    kind: str | None
    inputs: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...]
    sizes: tuple[str, ...] = ()


class OnnxLayers:
    """The layers of one ONNX file. Raises `CaptureError` when it cannot be read."""

    framework = "onnx"
    flags: Mapping[str, bool] = {"calls": True}

    def __init__(
        self, settings: dict[str, Any], directory: str, progress: Callable[[str], None]
    ) -> None:
        self.framework_version = runtime_version() or ""
        self.notes: list[str] = []
        progress("reading the model")
        self._graph = read_graph(settings["model"])
        self._runtime = Runtime(
            self._graph.model, self._graph.index, providers_of(settings["device"])
        )
        self._layers = self._modules()
        self._operations = self._nodes()
        self._ready: dict[str, Session] = {}

    def _modules(self) -> dict[str, dict[int, _Layer]]:
        found: dict[str, dict[int, _Layer]] = {}
        for call in self._graph.found.calls:
            layer = _Layer(call.kind, call.inputs, call.outputs, call.sizes)
            found.setdefault(call.module, {})[call.number] = layer
        return found

    def _nodes(self) -> dict[str, _Layer]:
        """Nodes by the names that a capture of all nodes gives them."""
        index, found = self._graph.index, {}
        for number, node in enumerate(index.nodes):
            if not index.is_constant(number) and index.outputs[number]:
                module, name = self._graph.operation(number)
                operands = self._graph.operands(number)
                inputs = tuple((f"input_{count}", value) for count, value in enumerate(operands))
                for count, value in enumerate(index.outputs[number]):
                    named = name if len(index.outputs[number]) == 1 else f"{name}.{count}"
                    found[f"{module}/{named}"] = _Layer(node.op_type, inputs, (("output", value),))
        return found

    def layers(self) -> list[LayerInfo]:
        """Modules in the order in which they end, then nodes."""
        modules = [
            LayerInfo(name, calls[min(calls)].kind or "", _slots(calls[min(calls)]))
            for name, calls in self._layers.items()
        ]
        return modules + [
            LayerInfo(name, layer.kind or "", _slots(layer))
            for name, layer in self._operations.items()
        ]

    def run(
        self, name: str, tensors: dict[str, tuple[Any, str]], call: dict[str, Any] | None
    ) -> RerunOutputs:
        """Run a layer on raw elements and their dtypes by slot. Of a module that runs several
        times, the call that takes the values of `call` is run, else the first. Raises `RerunError`.
        """
        layer = self._layer(name, call)
        try:
            given = self._given(layer, tensors, call)
            session = self._session(name, layer, given)
            started = time.perf_counter()
            results = session(given)
            seconds = time.perf_counter() - started
            outputs = [self._runtime.to_numpy(value) for value in results]
        except CaptureError as error:
            raise RerunError(str(error)) from error
        slots = [slot for slot, _ in layer.outputs]
        return RerunOutputs(dict(zip(slots, outputs, strict=True)), seconds)

    def _layer(self, name: str, call: dict[str, Any] | None) -> _Layer:
        if name not in self._layers:
            if name not in self._operations:
                raise RerunError(f"the model has no layer {name!r}")
            return self._operations[name]
        calls = list(self._layers[name].values())
        taken = set(_arguments(call))
        fitting = [c for c in calls if taken and all(value in taken for _, value in c.inputs)]
        return (fitting or calls)[0]

    def _session(self, name: str, layer: _Layer, given: Mapping[str, Any]) -> Session:
        """The layer's part for inputs of these types and shapes; the last ones are kept."""
        key = f"{name} {[(n, v.data_type(), v.shape()) for n, v in sorted(given.items())]}"
        session = self._ready.pop(key, None)
        if session is None:
            session = self._runtime.session([value for _, value in layer.outputs], given)
        self._ready[key] = session
        if len(self._ready) > _KEPT:
            del self._ready[next(iter(self._ready))]
        return session

    def _given(
        self, layer: _Layer, tensors: dict[str, tuple[Any, str]], call: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Values by the names that the graph has for them."""
        import numpy as np

        given: dict[str, Any] = {}
        known = {*(value for _, value in layer.inputs), *layer.sizes}
        ours = {name: said for name, said in _arguments(call).items() if name in known}
        for value, said in ours.items():
            if isinstance(said.get("seq"), int) and call is not None:
                array, dtype = tensors[call["slots"][said["seq"]]]
            elif said.get("dtype") in DTYPES:
                dtype = said["dtype"]
                array = np.array(said.get("value"), DTYPES[dtype].storage)
                if 0 in said.get("shape", ()):
                    array = array.reshape(said["shape"])
            else:
                continue
            given[value] = self._value(value, array, dtype)
        slots = dict(layer.inputs)
        bare = tensors.keys() - (set(call["slots"]) if call is not None and ours else set())
        for slot in bare:
            if slot in slots:
                given.setdefault(slots[slot], self._value(slots[slot], *tensors[slot]))
        if len(slots) == 1 and len(tensors) == 1 and not given:
            (value,) = slots.values()
            given[value] = self._value(value, *next(iter(tensors.values())))
        missing = [slot for slot, value in layer.inputs if value not in given]
        if missing:
            raise RerunError(f"not given: {', '.join(missing)}")
        if any(value not in given for value in layer.sizes):
            raise RerunError("sizes that this layer takes are only known where the capture keeps "
                             "its calls, as `layertui capture onnx` does")  # fmt: skip
        return given

    def _value(self, value: str, array: Any, dtype: str) -> Any:
        return runtime_value(array, dtype, self._graph.types.get(value))


def _arguments(call: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    """What a recorded call of ours was given, by values."""
    if call is None:
        return {}
    return {name: said for name, said in call["kwargs"].items() if isinstance(said, dict)}


def _slots(layer: _Layer) -> tuple[str, ...]:
    return tuple(slot for slot, _ in layer.inputs)
