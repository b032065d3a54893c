"""How a MAX model calls its layers: heard while MAX traces the model, before it compiles.

MAX's own print hook names the layers and is told of every call; names and slots here are
therefore those of MAX's dumps. What a layer takes besides tensors (its number, a paged cache,
rotary tables, row offsets) is recognised by type and parameter name, so that a single layer can
be called in the same way later.
"""

from __future__ import annotations

# pyright: reportMissingImports=false
# The `max` package is optional.
import dataclasses
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from max.driver import Device
from max.dtype import DType
from max.experimental.tensor import Tensor
from max.graph import BufferType, BufferValue, DeviceRef, StaticDim, TensorType, TensorValue
from max.nn.hooks import PrintHook
from max.nn.kv_cache import KVCacheInputsPerDevice

GIVEN, LAYER_INDEX, ROW_OFFSETS, ROTARY, CACHE, SIGNAL, CONSTANT = (
    "given", "layer_index", "row_offsets", "rotary", "cache", "signal", "constant",
)  # fmt: skip
_ROLES = {  # parameters that are not activations, by their names in MAX
    "layer_idx": LAYER_INDEX,
    "input_row_offsets": ROW_OFFSETS,
    "freqs_cis": ROTARY,
}


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a call: what it is, its slot in a dump, and its type if it is a tensor.

    `keyword` is None for positional ones. `listed`: the layer takes a list with an entry a
    device, of which there is one.
    """

    role: str
    slot: str
    keyword: str | None = None
    listed: bool = False
    type: Any = None  # TensorType or BufferType
    value: Any = None  # of a constant


@dataclass(frozen=True, slots=True)
class Call:
    """How a layer is called, and the slots of what it returns; or why that cannot be repeated."""

    arguments: tuple[Argument, ...] = ()
    outputs: tuple[str, ...] = ()
    problem: str = ""

    def given(self) -> list[Argument]:
        """The tensors that only a capture can tell."""
        return [a for a in self.arguments if a.role == GIVEN]

    def has(self, role: str) -> bool:
        return any(a.role == role for a in self.arguments)


class CallRecorder(PrintHook):
    """Hears how every layer is called (the first time), and prints nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[str, Call] = {}

    def __call__(
        self, layer: Any, args: Sequence[Any], kwargs: Mapping[str, Any], outputs: Any
    ) -> None:
        if layer in self._known_layers:
            name = self._known_layers[layer].layer_name
            if name not in self.calls:
                self.calls[name] = _call(layer, args, kwargs, outputs)

    def named(self) -> Iterator[tuple[str, Any]]:
        """All layers with their names, those that are never called too."""
        for layer, info in self._known_layers.items():
            yield info.layer_name, layer

    def summarize(self) -> None:
        """The base class prints counts to standard output; here is nothing to count."""


def linear_call(layer: Any) -> Call | None:
    """How a matrix `[out, in]` would be called that the model uses without calling its layer.

    None if the layer is not one: it has no weight of two axes, or is not named after one.
    """
    weight = getattr(layer, "weight", None)
    if "Linear" not in type(layer).__name__ or not isinstance(weight, (TensorValue, Tensor)):
        return None
    try:
        sizes = [int(size) for size in weight.shape]
    except (TypeError, RuntimeError):  # a slice of a weight: its shape shows in a graph only
        return None
    if len(sizes) != 2:
        return None
    kind = TensorType(weight.dtype, ["n0", sizes[1]], _device_of(weight))
    return Call((Argument(GIVEN, "input_0", type=kind),), ("output",))


def flat_outputs(outputs: Any) -> list[tuple[str, Any]]:
    """What a layer returned as slots and tensors, as MAX's print hook has them."""
    if isinstance(outputs, (TensorValue, Tensor)):
        return [("output", outputs)]
    if isinstance(outputs, (list, tuple)):
        named: list[tuple[str, Any]] = [(f"output_{n}", out) for n, out in enumerate(outputs)]
    elif dataclasses.is_dataclass(outputs):
        fields = dataclasses.fields(outputs)
        named = [(f"output_{f.name}", getattr(outputs, f.name)) for f in fields]
    else:
        named = []
    return [(slot, out) for slot, out in named if isinstance(out, (TensorValue, Tensor))]


def _call(layer: Any, args: Sequence[Any], kwargs: Mapping[str, Any], outputs: Any) -> Call:
    slots = tuple(slot for slot, _ in flat_outputs(outputs))
    if not slots:
        return Call(problem="it returns no tensors")
    names = _parameters(layer)
    given = [(f"input_{n}", None, names[n] if n < len(names) else "", v)
             for n, v in enumerate(args)]  # fmt: skip
    given += [(f"input_{key}", key, key, value) for key, value in kwargs.items()]
    arguments = []
    opened: dict[str, str] = {}
    for slot, keyword, name, value in given:
        argument = _argument(slot, keyword, name, value, opened)
        if argument is None:
            return Call(problem=f"it takes {_in_words(value)} as {name or slot}")
        arguments.append(argument)
    if sum(a.role == CACHE for a in arguments) > 1:
        return Call(problem="it takes several caches")
    if not any(a.role == GIVEN for a in arguments):
        return Call(problem="it takes no tensors")
    return Call(tuple(arguments), slots)


def _argument(
    slot: str, keyword: str | None, name: str, value: Any, opened: dict[str, str]
) -> Argument | None:
    """None for what cannot be handed over."""
    listed = isinstance(value, (list, tuple)) and len(value) == 1
    if listed:
        value = value[0]
    role, kind, constant = GIVEN, None, None
    if isinstance(value, KVCacheInputsPerDevice):
        role = CACHE
    elif isinstance(value, BufferValue):
        # Where accelerators wait for each other; with one device nothing does.
        role, kind = SIGNAL, BufferType(value.dtype, [1], value.device)
    elif isinstance(value, (TensorValue, Tensor)):
        role = _ROLES.get(name, GIVEN)
        kind = TensorType(value.dtype, _dims(value.shape, opened), _device_of(value))
    elif value is None or isinstance(value, (bool, int, float, str, DType, DeviceRef)):
        role, constant = CONSTANT, value
    else:
        return None
    return Argument(role, slot, keyword, listed, kind, constant)


def _dims(shape: Any, opened: dict[str, str]) -> list[int | str]:
    """Sizes, and names for those that are open: `n0`, `n1` in order, kept in `opened`.

    The model's own names differ between layers of a kind (all tokens, or the last of each).
    """
    return [
        int(dim) if isinstance(dim, StaticDim) else opened.setdefault(str(dim), f"n{len(opened)}")
        for dim in shape
    ]


def _device_of(value: Any) -> DeviceRef:
    device = value.device
    return DeviceRef.from_device(device) if isinstance(device, Device) else device


def _parameters(layer: Any) -> list[str]:
    """Names of the positional parameters."""
    function = getattr(type(layer), "forward", None) or type(layer).__call__
    return [p for p in inspect.signature(function).parameters if p != "self"]


def _in_words(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)} {type(value[0]).__name__}" if value else "an empty list"
    return f"a {type(value).__name__}"
