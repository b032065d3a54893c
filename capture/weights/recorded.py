"""Parameters kept with a capture: values of small ones, digests of all, so that what a run was
made with can be told when its checkpoint is gone or has changed.

They lie in a capture of any format, hidden, so that readers of captures pass over them.
`.layertui-parameters.json` has

    {"schema": "layertui.parameters/1", "kept": "small" | "all", "config": {...},
     "parameters": {NAME: {"dtype", "shape", "blake2b" | "error"}}}

where `blake2b` is the 16 byte digest of the little-endian elements in C order, in hexadecimal, and
`config` that of the model; `.layertui-parameters.safetensors` has the values that were kept.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from math import prod
from typing import Any, NamedTuple

from ..dtypes import DTYPES
from ..errors import CaptureError, RecordError
from ..formats import safetensors_file
from ..records import Capture, Locator
from ..storage import exists, is_file, is_folder, open_file, open_stream, storage_of
from ..writing import write_whole
from .files import read_json
from .parameters import Parameter, Weights

INDEX, TENSORS = ".layertui-parameters.json", ".layertui-parameters.safetensors"
SCHEMA = "layertui.parameters/1"
_SCHEMAS = "layertui.parameters/"  # of any version
KINDS = ("none", "small", "all")
MARK = {"format": "pt", "layertui": "1"}  # `__metadata__` of our files

_DIGEST = 16  # bytes
_MOST_HEADER = 100_000_000  # bytes, as in safetensors itself
_THREADS = 4  # digests are made outside of the interpreter's lock


@dataclass(frozen=True, slots=True)
class Source:
    """A parameter to be kept. `read` gives its little-endian elements in C order, and raises
    `RecordError` where there are none; `small` ones are kept with their values.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], Any]
    small: bool = False


class Digest(NamedTuple):
    """What a parameter was: two with equal digests have equal bits. `blake2b` is empty where the
    writer could not read its values.
    """

    dtype: str
    shape: tuple[int, ...]
    blake2b: str


def write_parameters(
    folder: str, kept: str, sources: Iterable[Source], config: Mapping[str, Any] | None = None
) -> None:
    """Keep parameters with the capture in `folder`: values of the small ones, or of `all`.

    Raises `OSError`.
    """
    sources = list(sources)
    entries: dict[str, dict[str, Any]] = {}
    with ThreadPoolExecutor(_THREADS, "layertui-digest") as pool:
        for source, said in zip(sources, pool.map(_digested, sources), strict=True):
            entries[source.name] = {"dtype": source.dtype, "shape": list(source.shape), **said}
    stored: dict[tuple[Any, ...], Source] = {}  # what is tied is stored once
    for source in sources:
        digest = entries[source.name].get("blake2b")
        if (source.small or kept == "all") and digest is not None:
            stored.setdefault((source.dtype, source.shape, digest), source)
    _write_tensors(
        os.path.join(folder, TENSORS), [s for s in stored.values() if DTYPES[s.dtype].safetensors]
    )
    content = {"schema": SCHEMA, "kept": kept, "config": _plain(config), "parameters": entries}
    write_whole(os.path.join(folder, INDEX), (json.dumps(content, allow_nan=False) + "\n").encode())


def sources_of_weights(weights: Weights) -> list[Source]:
    """The tensors of a checkpoint, to be kept with a capture that was made of it."""

    def reader(locator: Locator) -> Callable[[], Any]:
        def read() -> Any:
            import numpy as np

            from ..load import load

            return np.ascontiguousarray(load(locator)).reshape(-1).view(np.uint8)

        return read

    return [
        Source(name, place.dtype, place.shape, reader(place), len(place.shape) <= 1)
        for name, place in ((name, found.locator) for name, found in weights.parameters.items())
    ]


def link_parameters(source: str, folder: str) -> None:
    """Keep the same parameters with another capture of the same run. Raises `OSError`."""
    if not is_file(os.path.join(source, INDEX)):
        return
    for name in (TENSORS, INDEX):
        try:
            os.link(os.path.join(source, name), os.path.join(folder, name))
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            with open_stream(os.path.join(source, name)) as file:
                write_whole(os.path.join(folder, name), file.read())


def is_ours(path: str) -> bool:
    """Whether `write_parameters` wrote this file, which has the name of one of its two."""
    try:
        if os.path.basename(path) == INDEX:
            return str(read_json(path).get("schema")).startswith(_SCHEMAS)
        with open_file(path) as file:
            length = min(int.from_bytes(file.read_at(0, 8), "little"), _MOST_HEADER, file.size)
            return "layertui" in json.loads(file.read_at(8, length))["__metadata__"]
    except (CaptureError, ValueError, KeyError, TypeError, RecursionError):
        return False


def recorded_parameters(capture: Capture) -> Weights | None:
    """The parameters whose values were kept with a capture; None where none were.

    Raises `CaptureError` where what lies there is damaged.
    """
    content = _content(capture)
    if content is None:
        return None
    folder, index = content
    path = _plain_file(folder, TENSORS)
    try:
        located = safetensors_file.locate_all(safetensors_file.read_file_header(path))
        places = {name: _located(name, place) for name, place in located.items()}
    except RecordError as error:
        raise CaptureError(f"{path}: {error}") from error
    except OSError as error:
        raise CaptureError(f"{path}: cannot be read: {error.strerror or error}") from error
    digests = _digests_in(index)
    stored = {digests[name]: place for name, place in places.items() if name in digests}
    found: dict[str, Parameter] = {}
    for name, digest in digests.items():
        place = places.get(name) or (stored.get(digest) if digest.blake2b else None)
        if place is not None:
            if (place.dtype, place.shape) != (digest.dtype, digest.shape):
                raise CaptureError(f"{path}: {name[:200]!r}: not what {INDEX} says")
            found[name] = Parameter(name, place)
    config = index.get("config")
    partial = index.get("kept") != "all"
    notes = ("only small parameters were kept",) if partial else ()
    return Weights(path, found, config if isinstance(config, dict) else {}, notes, partial)


def recorded_digests(capture: Capture) -> dict[str, Digest]:
    """The digests of all parameters that were kept with a capture; empty where none were.

    Raises `CaptureError` where what lies there is damaged.
    """
    content = _content(capture)
    return {} if content is None else _digests_in(content[1])


def recorded_config(capture: Capture) -> dict[str, Any]:
    """The config of the model, as it was kept with the parameters; empty where none was.

    Raises `CaptureError` where what lies there is damaged.
    """
    content = _content(capture)
    config = None if content is None else content[1].get("config")
    return config if isinstance(config, dict) else {}


def changed_since(weights: Weights, digests: Mapping[str, Digest]) -> str | None:
    """The first small parameter of a checkpoint that has other bits than `digests` say; None where
    all are the same, or cannot be compared. Large ones are not read.
    """
    for name, source in ((source.name, source) for source in sources_of_weights(weights)):
        digest = digests.get(name)
        known = source.small and digest is not None and bool(digest.blake2b)
        if digest is None or not known or digest[:2] != (source.dtype, source.shape):
            continue
        try:
            if digest_of(source.read()) != digest.blake2b:
                return name
        except RecordError:
            return name
    return None


def digest_of(data: Any) -> str:
    """The digest of little-endian elements in C order, of anything that has a buffer."""
    return blake2b(data, digest_size=_DIGEST).hexdigest()


# -- reading


def _content(capture: Capture) -> tuple[str, dict[str, Any]] | None:
    folder = capture.path if is_folder(capture.path) else os.path.dirname(capture.path)
    place = os.path.join(folder, INDEX)
    if not exists(place) and not storage_of(place).is_link(place):
        return None
    path = _plain_file(folder, INDEX)
    index = read_json(path)
    if index.get("schema") != SCHEMA:
        raise CaptureError(f"{path}: not written by this version: {str(index.get('schema'))[:40]}")
    return folder, index


def _located(name: str, place: Locator | RecordError) -> Locator:
    if isinstance(place, RecordError):
        raise RecordError(f"{name[:200]!r}: {place}")
    return place


def _plain_file(folder: str, name: str) -> str:
    """A capture is not trusted: its links could lead anywhere."""
    path = os.path.join(folder, name)
    if storage_of(path).is_link(path):
        raise CaptureError(f"{path}: a link")
    return path


def _digests_in(index: dict[str, Any]) -> dict[str, Digest]:
    entries = index.get("parameters")
    found: dict[str, Digest] = {}
    for name, entry in entries.items() if isinstance(entries, dict) else ():
        digest = _digest_from(entry)
        if digest is not None:
            found[name] = digest
    return found


def _digest_from(entry: Any) -> Digest | None:
    if not isinstance(entry, dict):
        return None
    dtype, shape, text = entry.get("dtype"), entry.get("shape"), entry.get("blake2b", "")
    if type(dtype) is not str or type(text) is not str or len(text) > 2 * _DIGEST:
        return None
    if not isinstance(shape, list) or any(type(size) is not int or size < 0 for size in shape):
        return None
    return Digest(dtype, tuple(shape), text)


# -- writing


def _digested(source: Source) -> dict[str, str]:
    try:
        return {"blake2b": digest_of(source.read())}
    except RecordError as error:
        return {"error": str(error)}


def _write_tensors(path: str, sources: list[Source]) -> None:
    """A safetensors file, written tensor by tensor; wide elements first, so that all lie at
    multiples of their size.
    """
    ordered = sorted(sources, key=lambda source: -DTYPES[source.dtype].itemsize)
    header: dict[str, Any] = {"__metadata__": MARK}
    end = 0
    for source in ordered:
        begin, end = end, end + prod(source.shape) * DTYPES[source.dtype].itemsize
        header[source.name] = {
            "dtype": DTYPES[source.dtype].safetensors, "shape": list(source.shape),
            "data_offsets": [begin, end],
        }  # fmt: skip
    text = json.dumps(header).encode()
    text += b" " * (-(len(text) + 8) % 64)
    start = len(text).to_bytes(8, "little") + text
    write_whole(path, start, (source.read() for source in ordered))


def _plain(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """A config as JSON has it; what it cannot hold becomes text."""
    try:
        return json.loads(json.dumps(dict(config or {}), allow_nan=False, default=str))
    except (TypeError, ValueError, RecursionError):
        return {}
