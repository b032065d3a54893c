"""Which files hold the weights of a checkpoint, as transformers looks for them.

Names: `SAFE_WEIGHTS_NAME` and its like in transformers/utils/__init__.py. The cache of the hub:
https://huggingface.co/docs/huggingface_hub/guides/manage-cache.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import CaptureError
from ..storage import exists, is_folder, open_stream, open_text, storage_of

CONFIG = "config.json"
SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".gguf")

_WHOLE = ("model.safetensors", "pytorch_model.bin")
_INDEX = ".index.json"
_MOST_JSON = 64 << 20  # bytes; indices of models with ten thousands of tensors have a few MB
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=-]*")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?")
_OTHER_KINDS = {
    ".h5": "files of Keras are not read",
    ".msgpack": "files of Flax are not read",
    ".onnx": "ONNX models are not read",
}


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of a checkpoint. `mapped` is the file's name for each tensor that an index lists;
    empty without an index.
    """

    files: tuple[str, ...]
    mapped: dict[str, str] = field(default_factory=dict)


def find_model(path: str) -> str:
    """`path`, or for a hub id that does not exist here the snapshot in the hub's local cache.

    Nothing is downloaded. Raises `CaptureError` when there is neither.
    """
    if exists(path):
        return path
    if _HUB_ID.fullmatch(path):
        snapshot = _cached_snapshot(path)
        if snapshot is not None:
            return snapshot
    raise CaptureError(f"{path}: no such file or directory")


def _cached_snapshot(hub_id: str) -> str | None:
    caches = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    home = os.environ.get("HF_HOME") or os.path.join(caches, "huggingface")
    cache = os.environ.get("HF_HUB_CACHE") or os.path.join(home, "hub")
    folder = os.path.join(cache, "models--" + hub_id.replace("/", "--"))
    try:
        with open_text(os.path.join(folder, "refs", "main")) as file:
            commit = file.read(100).strip()
    except OSError:
        return None
    snapshot = os.path.join(folder, "snapshots", commit)
    return snapshot if _PLAIN.fullmatch(commit) and is_folder(snapshot) else None


def layout_of(path: str) -> Layout:
    """The files of the checkpoint `path`, a directory, an index or a file of tensors.

    Raises `CaptureError` where there are none, or where an index leads outside its directory or
    to a file that is missing.
    """
    if is_folder(path):
        return _layout_of_directory(path)
    if path.endswith(_INDEX):
        return _indexed(path)
    if path.endswith(SUFFIXES):
        return Layout((_regular(path),))
    raise CaptureError(f"{path}: {_no_weights([path])}")


def _layout_of_directory(path: str) -> Layout:
    try:
        names = sorted(storage_of(path).names(path))
    except OSError as error:
        raise CaptureError(f"{path}: cannot be listed: {error.strerror or error}") from error
    for whole in _WHOLE:
        if whole in names:
            return Layout((_regular(os.path.join(path, whole)),))
        if whole + _INDEX in names:
            return _indexed(os.path.join(path, whole + _INDEX))
    indices = [name for name in names if name.endswith(_INDEX)]
    if len(indices) == 1:
        return _indexed(os.path.join(path, indices[0]))
    if indices:
        raise CaptureError(f"{path}: several checkpoints ({', '.join(indices[:3])}): name one")
    for suffix in SUFFIXES:
        found = [name for name in names if name.endswith(suffix) and not _is_adapter(name)]
        if found:
            return Layout(tuple(_regular(os.path.join(path, name)) for name in found))
    raise CaptureError(f"{path}: {_no_weights(names)}")


def _is_adapter(name: str) -> bool:
    """Adapters (peft) and the state of a training run lie beside weights, and are none."""
    return name.startswith(("adapter_", "training_args", "optimizer", "scheduler", "rng_state"))


def _no_weights(names: list[str]) -> str:
    """Why there is nothing to read among files of these names."""
    if any(_is_adapter(name) and name.endswith(SUFFIXES) for name in names):
        return "holds an adapter, not a whole model; merge it into its base model first"
    for name in names:
        said = _OTHER_KINDS.get(os.path.splitext(name)[1])
        if said is not None:
            return f"{said}; give a Hugging Face directory, .safetensors or .bin"
    return (
        "no weights in it; supported are .gguf, and .safetensors, .bin, .pt and .pth, with or "
        "without an index"
    )


def _indexed(path: str) -> Layout:
    """The shards that an index names. Raises `CaptureError`."""
    content = read_json(path)
    mapped = content.get("weight_map")
    if not isinstance(mapped, dict) or not mapped:
        raise CaptureError(f"{path}: damaged index: it has no weight_map")
    folder = os.path.dirname(path)
    files: dict[str, str] = {}
    for name in mapped.values():
        if type(name) is not str or not _PLAIN.fullmatch(name):
            raise CaptureError(f"{path}: refused: it names a file outside its directory")
        if name not in files:
            files[name] = _regular(os.path.join(folder, name))
    return Layout(tuple(files.values()), mapped)


def _regular(path: str) -> str:
    """`path`; raises `CaptureError` unless it is a file, or a link to one (the cache of the hub
    is made of links): a pipe or a device would never end.
    """
    try:
        status = storage_of(path).status(path)
    except OSError as error:
        raise CaptureError(f"{path}: cannot be read: {error.strerror or error}") from error
    if status is None:
        raise CaptureError(f"{path}: is missing")
    if not status.is_file:
        raise CaptureError(f"{path}: is not a plain file")
    return path


def read_config(path: str) -> dict[str, Any]:
    """`config.json` in the directory `path` or beside the file; empty when there is none.

    Raises `CaptureError` for one that cannot be read.
    """
    folder = path if is_folder(path) else os.path.dirname(path)
    place = os.path.join(folder, CONFIG)
    there = exists(place) or storage_of(place).is_link(place)
    return read_json(place) if there else {}


def read_json(path: str) -> dict[str, Any]:
    """A JSON object of limited size. Raises `CaptureError`."""
    _regular(path)
    try:
        with open_stream(path) as file:
            text = file.read(_MOST_JSON + 1)
        if len(text) > _MOST_JSON:
            raise CaptureError(f"{path}: refused: more than {_MOST_JSON} bytes of JSON")
        content = json.loads(text)
        json.dumps(content, ensure_ascii=False).encode()  # half characters cannot be printed
    except OSError as error:
        raise CaptureError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise CaptureError(f"{path}: damaged: not JSON") from error
    if not isinstance(content, dict):
        raise CaptureError(f"{path}: damaged: not a JSON object")
    return content
