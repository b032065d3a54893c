"""The messages between layertui and a program that runs layers again, version 1.

A message is a JSON object on a line of its own; `type` says which. Tensors never travel in
messages: they lie in safetensors files whose paths a message names. Everything is UTF-8.

To the runner, on its standard input:

    {"type": "hello", "protocol": 1, "model": "/models/llama", "directory": "/tmp/layertui-x"}
    {"type": "rerun", "id": 1, "layer": "layers.0.mlp",
     "tensors": "/tmp/layertui-x/1-in.safetensors", "into": "/tmp/layertui-x/1-out.safetensors"}
    {"type": "cancel", "id": 1}

From the runner, on its standard output:

    {"type": "hello", "protocol": 1, "framework": "c++", "framework_version": "1.0", "model": "toy",
     "layers": [{"name": "layers.0.mlp", "class": "MLP", "inputs": ["input_0"]}]}
    {"type": "progress", "id": 1, "text": "compiling 38 s"}
    {"type": "outputs", "id": 1, "seconds": 0.0004, "compile_seconds": 38.2}
    {"type": "error", "id": 1, "text": "no layer called layers.7.mlp"}

The keys of the file `tensors` are the slots of the layer's inputs, those of `into` the slots of
its outputs (`output`, or `output_0` and so on). An error without an id means that the runner
cannot go on. When standard input ends, the runner ends.

Further keys that a runner may use or leave: a layer's `reruns` and `why` (a layer that cannot be
run alone), the hello's `ragged` (activations are wanted as `[tokens, features]`), `past` (decode
steps need `past_keys` and `past_values`, `[tokens, heads, size]`, among the tensors) and `calls`
(wants the arguments of the call as recorded: `call` of the rerun message, where `{"seq": n}`
stands for the tensor whose key is the n-th of `slots`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from .layers import LayerInfo, RerunError

PROTOCOL = 1
_MOST_LAYERS = 200_000


@dataclass(frozen=True, slots=True)
class Hello:
    """What a runner says of itself; the flags are explained above."""

    framework: str
    framework_version: str = ""
    model: str = ""
    layers: tuple[LayerInfo, ...] = ()
    ragged: bool = False
    past: bool = False
    calls: bool = False
    notes: tuple[str, ...] = ()

    def layer(self, name: str) -> LayerInfo | None:
        """The layer called `name`, by its full name or without the outermost `model`."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        return None


@dataclass(frozen=True, slots=True)
class Answer:
    """A layer was run: what the runner says of where its time went."""

    seconds: float | None = None
    compile_seconds: float | None = None
    slots: tuple[str, ...] = field(default=())


def encode(message: dict[str, Any]) -> bytes:
    """A message as it is sent."""
    return json.dumps(message, allow_nan=False).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """A message as it arrived. Raises `RerunError` for anything that is none."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise RerunError(f"the runner printed something that is not a message: {shown(line)}")
    return message


def shown(line: bytes) -> str:
    """The beginning of what a program printed, safe to show."""
    text = line[:200].decode("utf-8", "replace").strip()
    plain = "".join(c if c.isprintable() else "?" for c in text)[:80]
    return f"{plain!r}"


def read_hello(message: dict[str, Any]) -> Hello:
    """The runner's first message. Raises `RerunError`."""
    if message["type"] == "error":
        raise RerunError(error_text(message))
    if message["type"] != "hello":
        raise RerunError(f"the runner began with {message['type']!r} instead of hello")
    version = message.get("protocol")
    if version != PROTOCOL:
        raise RerunError(
            f"the runner speaks version {str(version)[:20]} of the protocol, this layertui "
            f"version {PROTOCOL}"
        )
    layers = message.get("layers")
    if not isinstance(layers, list) or len(layers) > _MOST_LAYERS:
        raise RerunError("the runner's hello does not list its layers")
    return Hello(
        framework=_text(message.get("framework")) or "another engine",
        framework_version=_text(message.get("framework_version")),
        model=_text(message.get("model")),
        layers=tuple(_layer(entry) for entry in layers),
        ragged=message.get("ragged") is True,
        past=message.get("past") is True,
        calls=message.get("calls") is True,
        notes=tuple(_text(note) for note in _list(message.get("notes"))[:20]),
    )


def _layer(entry: Any) -> LayerInfo:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise RerunError("the runner's hello lists a layer without a name")
    inputs = _list(entry.get("inputs"))
    if not all(isinstance(slot, str) for slot in inputs):
        raise RerunError(f"the runner's inputs of {_text(entry['name'])} are not slots")
    return LayerInfo(
        entry["name"], _text(entry.get("class")), tuple(inputs),
        entry.get("reruns", True) is not False, _text(entry.get("why")),
    )  # fmt: skip


def read_answer(message: dict[str, Any]) -> Answer:
    """An `outputs` message."""
    slots = tuple(slot for slot in _list(message.get("slots")) if isinstance(slot, str))
    return Answer(_seconds(message.get("seconds")), _seconds(message.get("compile_seconds")), slots)


def error_text(message: dict[str, Any]) -> str:
    """The words of an `error` message, one line."""
    return " ".join(_text(message.get("text")).split()) or "the runner failed and did not say why"


def _seconds(value: Any) -> float | None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9
    return float(value) if good else None


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else ""
    clean = text.encode("utf-8", "replace").decode()
    return "".join(c if c.isprintable() else " " for c in clean)[:500]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
