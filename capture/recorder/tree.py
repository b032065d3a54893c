"""Arguments and results taken apart into tensors and a structure that JSON can hold, and back.

In the structure a tensor is `{"seq": n}`; None, booleans, integers, texts and finite floats are
themselves; a tuple is an array. Everything else is an object with one telling key: `list`, `dict`
(text keys) or `items` (other keys), `fields` of a `class` (dataclasses, named tuples, transformers'
`ModelOutput`), `cache` (see `caches`), `dtype`, `device`, `size`, `slice`, `float`, `complex`,
`module`, and `unknown` with a class name for what cannot be kept.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from ..errors import CaptureError
from . import caches

Keep = Callable[[str, Any], Any]

_DEEPEST = 24


@dataclasses.dataclass(slots=True)
class Encoder:
    """Encodes the arguments or the result of one call.

    `keep(slot, tensor)` stores a tensor or numpy array and returns what stands for it; `layer` is
    the only layer of a cache that the call uses, None for all; `modules` names known modules.
    """

    keep: Keep
    layer: int | None = None
    modules: Mapping[int, str] = dataclasses.field(default_factory=dict)
    used: set[str] = dataclasses.field(default_factory=set)
    in_cache: bool = False  # while the tensors of a cache are kept

    def arguments(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """Slots `input_<n>` and `input_<keyword>`, nested ones with `_<key>` behind."""
        positional = [self.encode(value, f"input_{i}") for i, value in enumerate(args)]
        return positional, {
            name: self.encode(value, f"input_{name}") for name, value in kwargs.items()
        }

    def encode(self, value: Any, slot: str, depth: int = 0) -> Any:
        """The structure of `value`, its tensors stored under slots that begin with `slot`."""
        if value is None or type(value) in (bool, int, str):
            return value
        if isinstance(value, torch.Tensor) or _is_array(value):
            return self.keep(self._free(slot), value)
        if depth > _DEEPEST:
            return {"unknown": "nested too deeply"}
        plain = _encode_plain(value)
        if plain is not None:
            return plain
        return self._encode_nested(value, slot, depth + 1)

    def _encode_nested(self, value: Any, slot: str, depth: int) -> Any:
        if isinstance(value, torch.nn.Module):
            name = self.modules.get(id(value))
            return _unknown(value) if name is None else {"module": name}
        if caches.is_pair(value):
            parts = {
                name: self.encode(getattr(value, name), f"{slot}_{name}", depth)
                for name in caches.PAIR
            }
            return {"cache": type(value).__name__, **parts}
        if caches.is_cache(value):
            return self._encode_cache(value, slot)
        if isinstance(value, Mapping):
            return self._encode_mapping(value, slot, depth)
        if isinstance(value, (tuple, list)):
            return self._encode_sequence(value, slot, depth)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [field.name for field in dataclasses.fields(value)]
            return self._fields(
                value, {name: getattr(value, name, None) for name in names}, slot, depth
            )
        return _unknown(value)

    def _encode_sequence(self, value: Any, slot: str, depth: int) -> Any:
        names = getattr(value, "_fields", None)
        if isinstance(value, tuple) and names is not None:
            return self._fields(value, dict(zip(names, value, strict=False)), slot, depth)
        parts = [self.encode(part, f"{slot}_{i}", depth) for i, part in enumerate(value)]
        return parts if isinstance(value, tuple) else {"list": parts}

    def _encode_mapping(self, value: Mapping[Any, Any], slot: str, depth: int) -> Any:
        if type(value) is not dict and dataclasses.is_dataclass(value):  # a ModelOutput
            return self._fields(
                value, {str(name): part for name, part in value.items()}, slot, depth
            )
        coded = [(key, self.encode(part, f"{slot}_{_text(key)}", depth)) for key, part in
                 value.items()]  # fmt: skip
        if all(type(key) is str for key, _ in coded):
            return {"dict": dict(coded)}
        return {"items": [[self.encode(key, slot, depth), part] for key, part in coded]}

    def _fields(self, value: Any, parts: dict[str, Any], slot: str, depth: int) -> dict[str, Any]:
        kind = type(value)
        return {
            "class": f"{kind.__module__}.{kind.__qualname__}",
            "fields": {name: self.encode(part, f"{slot}_{name}", depth)
                       for name, part in parts.items()},
        }  # fmt: skip

    def _encode_cache(self, value: Any, slot: str) -> dict[str, Any]:
        layers = caches.layers_of(value)
        kind = type(value).__name__
        if self.layer is not None:
            # A cache grows as layers come by: this one's part may not be there yet.
            kept = layers[self.layer] if self.layer < len(layers) else {"keys": None,
                                                                        "values": None}  # fmt: skip
            return {"cache": kind, "layer": self.layer, **self._encode_layer(kept, slot)}
        coded = [
            {"layer": i, **self._encode_layer(kept, f"{slot}_{i}")} for i, kept in enumerate(layers)
        ]
        return {"cache": kind, "layers": coded}

    def _encode_layer(self, kept: dict[str, Any], slot: str) -> dict[str, Any]:
        self.in_cache = True
        try:
            return {
                name: None if tensor is None else self.keep(self._free(f"{slot}_{name}"), tensor)
                for name, tensor in kept.items()
            }
        finally:
            self.in_cache = False

    def _free(self, slot: str) -> str:
        """`slot`, or with a number behind where a call has it already: `f(x_0=t, x=(t,))`."""
        slot = _text(slot)
        free, number = slot, 2
        while free in self.used:
            free, number = f"{slot}_again{number}", number + 1
        self.used.add(free)
        return free


def _is_array(value: Any) -> bool:
    return type(value).__module__ == "numpy" and type(value).__name__ in ("ndarray", "memmap")


def _text(key: Any) -> str:
    """A key as part of a slot: slots become file names and must not look like paths."""
    text = str(key).encode("utf-8", "replace").decode()
    return "".join(c if c.isprintable() and c not in "/\\" else "_" for c in text)[:120]


def _unknown(value: Any) -> dict[str, str]:
    kind = type(value)
    return {"unknown": f"{kind.__module__}.{kind.__qualname__}"}


def _encode_plain(value: Any) -> Any:
    """Values without tensors inside; None for everything else."""
    if isinstance(value, float):
        number = float(value)
        return number if math.isfinite(number) else {"float": str(number)}
    if isinstance(value, complex):
        return {"complex": str(complex(value))}
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if isinstance(value, torch.device):
        return {"device": str(value)}
    if isinstance(value, torch.Size):
        return {"size": [int(size) for size in value]}
    if isinstance(value, slice):
        ends = (value.start, value.stop, value.step)
        return {"slice": list(ends)} if all(_whole(end) for end in ends) else _unknown(value)
    if isinstance(value, int):  # their subclasses, enumerations among them
        return int(value)
    if isinstance(value, str):
        return str.__str__(value)
    if type(value).__module__ == "numpy" and hasattr(value, "item") and not _is_array(value):
        number = value.item()
        return number if type(number) in (bool, int) else _encode_plain(number)
    return None


def _whole(value: Any) -> bool:
    return value is None or type(value) is int


def rebuild(
    structure: Any,
    load: Callable[[int], torch.Tensor],
    cache: Callable[[dict[str, Any]], Any] | None = None,
) -> Any:
    """The value that `structure` describes; `load(seq)` gives its tensors.

    `cache` makes a cache of its structure with the tensors in place; without it, and for
    `unknown` values and classes outside torch and transformers, raises `CaptureError`.
    """

    def again(part: Any) -> Any:
        return rebuild(part, load, cache)

    if isinstance(structure, list):
        return tuple(again(part) for part in structure)
    if not isinstance(structure, dict):
        return structure
    if type(structure.get("seq")) is int:
        return load(structure["seq"])
    if "cache" in structure:
        if cache is None:
            raise CaptureError(f"a {structure['cache']} cannot be rebuilt here")
        return cache({name: _inside_cache(part, again) for name, part in structure.items()})
    if "fields" in structure:
        fields = {name: again(part) for name, part in structure["fields"].items()}
        return _made(str(structure.get("class")), fields)
    return _rebuild_tagged(structure, again)


def _inside_cache(part: Any, again: Callable[[Any], Any]) -> Any:
    if isinstance(part, list):
        return [_inside_cache(inner, again) for inner in part]
    if isinstance(part, dict) and "seq" not in part and "cache" not in part:
        return {name: _inside_cache(inner, again) for name, inner in part.items()}
    return again(part)


def _rebuild_tagged(structure: dict[str, Any], again: Callable[[Any], Any]) -> Any:
    if "list" in structure:
        return [again(part) for part in structure["list"]]
    if "dict" in structure:
        return {name: again(part) for name, part in structure["dict"].items()}
    if "items" in structure:
        return {again(key): again(part) for key, part in structure["items"]}
    if "dtype" in structure and isinstance(getattr(torch, structure["dtype"], None), torch.dtype):
        return getattr(torch, structure["dtype"])
    if "device" in structure:
        return torch.device(structure["device"])
    if "size" in structure:
        return torch.Size(structure["size"])
    if "slice" in structure:
        return slice(*structure["slice"])
    if "float" in structure:
        return float(structure["float"])
    if "complex" in structure:
        return complex(structure["complex"])
    raise CaptureError(f"cannot be rebuilt: {str(structure)[:80]}")


def _made(path: str, fields: dict[str, Any]) -> Any:
    """An instance of a class of torch or transformers: a capture must not name any other."""
    module, _, name = path.rpartition(".")
    if module.partition(".")[0] not in ("torch", "transformers"):
        raise CaptureError(f"refused: an argument of class {path[:80]}")
    try:
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise CaptureError(f"no class {path[:80]} here") from error
    if not isinstance(kind, type) or not (
        dataclasses.is_dataclass(kind) or hasattr(kind, "_fields")
    ):
        raise CaptureError(f"refused: {path[:80]} is not a class of plain fields")
    return kind(**fields)
