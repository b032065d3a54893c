"""`add_tree`: nested dictionaries of arrays, as JAX programs hand them around, as records.

Needs numpy only: what writes a capture here is a few lines of JSON and one file of tensors a step.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from ..dtypes import DTYPES
from ..environment import plain_environment
from ..errors import CaptureError
from ..files import MANIFEST
from ..formats.manifest import MAJOR
from ..names import parse_name
from ..writing import write_whole
from . import active
from .sinks.directory import MARK, prepare

_CALL = "__call__"  # under which Flax keeps what a module returned, a tuple with an entry a call
_DEEPEST = 64


@dataclass(frozen=True, slots=True)
class Leaf:
    """An array of a tree. `array` is as it was given."""

    module: str
    slot: str
    call: int
    array: Any


def add_tree(
    *trees: Mapping[str, Any], path: str | os.PathLike[str] | None = None, prefix: str = "",
    overwrite: bool = False, **meta: Any,
) -> None:  # fmt: skip
    """Record nested dictionaries of arrays, named by the keys that lead to them: `{"layers_0":
    {"mlp": x}}` is `layers_0.mlp`.

    With `path` a capture is written, a step a tree; without it the arrays go to the recordings that
    run. A name may end in a slot (`mlp-input_0`), else it is an output; what Flax keeps under
    `__call__` is an output of its module, an entry a call. Of a list of arrays each is a call, of
    one of dictionaries each has its number in the name. Arrays are numpy's, JAX's, torch's, or
    numbers; None is left out. `prefix` goes in front of all names, `meta` is what the capture says
    of itself besides (`prompt="..."`).

    Raises `CaptureError`: a leaf that is no array, no recording that runs and no `path`, a
    directory that is not empty and no `overwrite`.
    """
    steps = [list(leaves_of(tree, prefix)) for tree in trees]
    if path is None:
        _to_recordings(steps)
        return
    _write(os.fspath(path), steps, overwrite, meta, _order(trees))


def leaves_of(tree: Any, prefix: str = "") -> Iterator[Leaf]:
    """The arrays of a tree, children before what their parent returned. Raises `CaptureError`."""
    yield from _walk(tree, prefix, 0)


def _walk(value: Any, path: str, depth: int) -> Iterator[Leaf]:
    if depth > _DEEPEST:
        raise CaptureError(f"{path[:80]}: nested too deeply")
    if isinstance(value, Mapping):
        for key, inner in sorted(value.items(), key=lambda entry: entry[0] == _CALL):
            if key == _CALL:
                yield from _calls(path, inner, depth + 1)
            else:
                yield from _walk(inner, f"{path}.{key}" if path else str(key), depth + 1)
    elif _is_list(value) and any(isinstance(part, Mapping) or _is_list(part) for part in value):
        for number, part in enumerate(value):
            yield from _walk(part, f"{path}.{number}" if path else str(number), depth + 1)
    else:
        name = parse_name(path)
        slot = "output" if name.slot == "value" else name.slot
        for call, array in enumerate(value if _is_list(value) else (value,), name.call):
            if array is not None:
                yield Leaf(name.module, slot, call, array)


def _calls(module: str, value: Any, depth: int) -> Iterator[Leaf]:
    """What a module returned, call by call; members of one result are slots of their own."""
    for call, result in enumerate(value if isinstance(value, (tuple, list)) else (value,), 1):
        yield from _members(module, "output", call, result, depth)


def _members(module: str, slot: str, call: int, value: Any, depth: int) -> Iterator[Leaf]:
    if depth > _DEEPEST:
        raise CaptureError(f"{module[:80]}: nested too deeply")
    if isinstance(value, Mapping) or _is_list(value):
        entries = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, part in entries:
            yield from _members(module, f"{slot}_{key}", call, part, depth + 1)
    elif value is not None:
        yield Leaf(module, slot, call, value)


def _is_list(value: Any) -> bool:
    """A list or tuple of anything but numbers, which are one array."""
    return isinstance(value, (tuple, list)) and not (
        value and all(isinstance(part, (bool, int, float, complex)) for part in value)
    )


def _order(trees: Sequence[Mapping[str, Any]]) -> str:
    """`tree` where some dictionary keeps an order of its own. `jax.jit` sorts all of them: then the
    order says nothing of what ran first.
    """
    return "tree" if any(map(_keeps_order, trees)) else "unknown"


def _keeps_order(value: Any, depth: int = 0) -> bool:
    if isinstance(value, Mapping):
        keys = [str(key) for key in value if key != _CALL]
        own = keys != sorted(keys)
        return own or (depth < _DEEPEST and any(_keeps_order(v, depth + 1) for v in value.values()))
    return _is_list(value) and any(_keeps_order(part, depth + 1) for part in value)


def _to_recordings(steps: list[list[Leaf]]) -> None:
    recordings = [one for one in active.recordings if hasattr(one, "add")]
    if not recordings:
        raise CaptureError('add_tree: no recording runs; path="DIR" writes a capture of its own')
    for number, leaves in enumerate(steps):
        for leaf in leaves:
            for recording in recordings:
                add: Any = getattr(recording, "add")  # noqa: B009
                step = number if len(steps) > 1 else None
                add(leaf.module, leaf.array, leaf.slot, step=step)


# -- writing


def _write(
    path: str, steps: list[list[Leaf]], overwrite: bool, meta: Mapping[str, Any], order: str
) -> None:  # fmt: skip
    framework, version = _framework()
    header = {
        "layertui": MAJOR, "framework": framework, "framework_version": version, "order": order,
        "environment": plain_environment(), **meta,
    }  # fmt: skip
    try:
        text = json.dumps({k: v for k, v in header.items() if v is not None}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CaptureError(f"add_tree: {error}") from error
    lines = [text]
    plain = [[(leaf, *_plain(leaf)) for leaf in leaves] for leaves in steps]
    prepare(path, overwrite)
    seq = stored = 0
    try:
        for step, leaves in enumerate(plain):
            file = f"data-{step + 1:05d}.safetensors"
            stored += _write_tensors(os.path.join(path, file), leaves)
            for key, (leaf, dtype, array) in enumerate(leaves):
                lines.append(json.dumps({
                    "seq": seq, "module": leaf.module, "slot": leaf.slot, "call": leaf.call,
                    "step": step, "class": None, "call_id": None, "op": None, "source": None,
                    "shape": list(array.shape), "dtype": dtype, "file": file, "key": str(key),
                    "same_as": None,
                }))  # fmt: skip
                seq += 1
        lines.append(json.dumps({"end": True, "records": seq, "bytes": stored, "never_fired": []}))
        write_whole(os.path.join(path, MANIFEST), ("\n".join(lines) + "\n").encode())
    except OSError as error:
        raise CaptureError(f"{path}: cannot be written: {error.strerror or error}") from error


def _write_tensors(path: str, leaves: Sequence[tuple[Leaf, str, Any]]) -> int:
    """A safetensors file, wide elements first, so that all lie at multiples of their size."""
    order = sorted(range(len(leaves)), key=lambda at: -DTYPES[leaves[at][1]].itemsize)
    header: dict[str, Any] = {"__metadata__": MARK}
    end = 0
    for at in order:
        _, dtype, array = leaves[at]
        begin, end = end, end + prod(array.shape) * DTYPES[dtype].itemsize
        header[str(at)] = {"dtype": DTYPES[dtype].safetensors, "shape": list(array.shape),
                           "data_offsets": [begin, end]}  # fmt: skip
    text = json.dumps(header).encode()
    text += b" " * (-(len(text) + 8) % 64)
    start = len(text).to_bytes(8, "little") + text
    write_whole(path, start, (leaves[at][2].tobytes() for at in order))
    return end


def _plain(leaf: Leaf) -> tuple[str, Any]:
    """Dtype, and the little-endian elements as numpy has them. Raises `CaptureError`."""
    import numpy as np

    name = f"{leaf.module}-{leaf.slot}"[:120]
    value = leaf.array
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return _of_torch(name, value)
    try:
        array = np.asarray(value)
    except Exception as error:  # of a foreign array: a key of JAX, a donated buffer, a tracer
        said = (str(error).strip().splitlines() or [""])[0][:200]
        raise CaptureError(f"add_tree: {name}: no plain array: {said}") from error
    dtype = array.dtype.name
    if dtype not in DTYPES or DTYPES[dtype].safetensors is None:
        raise CaptureError(f"add_tree: {name}: elements of the type {dtype} cannot be stored")
    return dtype, array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)


def _of_torch(name: str, tensor: Any) -> tuple[str, Any]:
    from .sinks.snapshot import UnreadableError, plain

    try:
        ready = plain(tensor).contiguous().cpu()
    except UnreadableError as error:
        raise CaptureError(f"add_tree: {name}: {error}") from error
    import numpy as np

    dtype = str(ready.dtype).removeprefix("torch.")
    raw = ready.reshape(-1).view(sys.modules["torch"].uint8).numpy()
    return dtype, raw.view(np.dtype(DTYPES[dtype].storage)).reshape(tuple(ready.shape))


def _framework() -> tuple[str, str | None]:
    """Of the frameworks that this process has loaded, the one that most likely computed."""
    for name in ("jax", "onnxruntime", "mlx", "tensorflow", "torch", "numpy"):
        module = sys.modules.get(name)
        if module is not None:
            version = getattr(module, "__version__", None)
            return name, version if isinstance(version, str) else None
    return "numpy", None
