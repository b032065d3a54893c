"""Checkpoints of `torch.distributed.checkpoint`: `.metadata` and `__<rank>_<n>.distcp` beside it.

`.metadata` is a pickle of torch's classes, followed as all pickles are (`tensor_pickle`) and never
run: it says of each tensor the size and the chunks, and of each chunk the file, the offset and the
length of a `torch.save` archive inside of it. A tensor in one chunk lies in the file as it is;
several are put together when they are loaded. Classes: torch/distributed/checkpoint/metadata.py.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

from ...dtypes import DTYPES
from ...errors import RecordError
from ...files import FoundFile
from ...records import Locator, Record
from ...storage import OpenFile, exists, open_file, storage_of
from ..context import Context
from ..extents import checked_shape, reach
from ..members import named_record
from ..text.json_text import plain_text
from . import torch_file
from .pickle_machine import Instance, Pairs
from .tensor_pickle import ElementType, read_tree

if TYPE_CHECKING:
    from ...values import Array

_METADATA = ".metadata"
_MOST_METADATA = 256 << 20
_MOST_ARCHIVE = 1 << 62


def list_records(found: FoundFile, context: Context) -> list[Record]:
    """All tensors, at the first of the checkpoint's files. Raises `RecordError`, `OSError`."""
    path = os.path.join(found.folder, _METADATA)
    if path in context.trees:
        return []
    context.trees[path] = path
    if not exists(path) or storage_of(path).is_link(path):
        raise RecordError("the file .metadata of the checkpoint is missing beside it")
    with open_file(path) as file:
        if file.size > _MOST_METADATA:
            raise RecordError("refused: .metadata is too large")
        tree = read_tree(file.read_at(0, file.size), lenient=True)
    state = _pairs(tree)
    tensors = _pairs(_field(state, "state_dict_metadata"))
    places = _places(_pairs(_field(state, "storage_data")))
    plain = named_record(found, found.stem)
    records: list[Record] = []
    for key, described in tensors:
        if type(key) is not str or type(described) is not Instance:
            continue
        fields = _pairs(described)
        if not any(name == "chunks" for name, _ in fields):
            continue  # bytes: a number of steps and the like
        name = plain_text(key)
        record = replace(plain, name=name, module=name, slot="value", call=1, key=name)
        try:
            locator = _located(found.folder, key, fields, places)
            record.shape, record.dtype, record.path = locator.shape, locator.dtype, locator.path
            if locator.key.startswith("["):
                record.locator = locator
            else:
                record.key = locator.key
        except RecordError as error:
            record.error = str(error)
        records.append(record)
    if not records:
        raise RecordError("holds no tensor")
    return _without_common_prefix(records)


def read_header(record: Record) -> list[Record]:
    """A tensor in one chunk is found in its file. Raises `RecordError`, `OSError`."""
    if record.locator is not None:
        return [record]
    relative, offset, length = json.loads(record.key)["at"]
    inner = _tensor_in(os.path.join(os.path.dirname(record.path), relative), offset, length)
    if (inner.dtype, inner.shape) != (record.dtype, record.shape):
        raise RecordError(".metadata and the file disagree about dtype or shape")
    return [replace(record, locator=inner)]


def load_values(locator: Locator) -> Array:
    """A tensor put together from its chunks. Raises `RecordError`, `OSError`."""
    import numpy as np

    whole = np.zeros(locator.shape, DTYPES[locator.dtype].storage)
    filled = 0
    for relative, offset, length, starts, sizes in json.loads(locator.key):
        path = os.path.join(os.path.dirname(locator.path), relative)
        inner = _tensor_in(path, offset, length)
        if inner.dtype != locator.dtype or inner.shape != tuple(sizes):
            raise RecordError(".metadata and the file disagree about dtype or shape")
        part = tuple(slice(a, a + n) for a, n in zip(starts, sizes, strict=True))
        whole[part] = _elements(inner)
        filled += prod(sizes)
    if filled != whole.size:
        raise RecordError("the chunks do not make up the whole tensor")
    return whole


def _elements(locator: Locator) -> Array:
    """The elements of a chunk, which is known to lie in its file."""
    import numpy as np

    dtype = np.dtype(DTYPES[locator.dtype].storage)
    need = reach(locator.shape, locator.strides)
    with open_file(locator.path) as file:
        raw = file.read_at(locator.offset, need * dtype.itemsize)
    if len(raw) != need * dtype.itemsize:
        raise RecordError("truncated: the file became shorter while it was read")
    flat = np.frombuffer(raw, dtype)
    if locator.strides is None:
        return flat.reshape(locator.shape)
    strides = tuple(step * dtype.itemsize for step in locator.strides)
    return np.lib.stride_tricks.as_strided(flat, locator.shape, strides, writeable=False)


def _located(folder: str, key: str, fields: Pairs, places: dict[str, list[Any]]) -> Locator:
    """Where a tensor is: by the place of its archive, or of those of its chunks."""
    shape_said = _field(fields, "size")
    dtype = _dtype_of(_field(fields, "properties"))
    shape = checked_shape(
        list(shape_said) if isinstance(shape_said, tuple) else shape_said, DTYPES[dtype].itemsize
    )
    chunks = _field(fields, "chunks")
    if type(chunks) is not list or not chunks:
        raise RecordError("damaged .metadata: a tensor without chunks")
    parts = []
    for chunk in chunks:
        inside = _pairs(chunk)
        starts, sizes = _field(inside, "offsets"), _field(inside, "sizes")
        checked_shape(starts, 1)
        checked_shape(sizes, DTYPES[dtype].itemsize)
        if (
            len(starts) != len(shape)
            or len(sizes) != len(shape)
            or any(a + n > size for a, n, size in zip(starts, sizes, shape, strict=True))
        ):
            raise RecordError("damaged .metadata: a chunk reaches beyond its tensor")
        at = next((p for p in places.get(key, ()) if p[3] == tuple(starts)), None)
        if at is None:
            raise RecordError("damaged .metadata: a chunk is in no file")
        if "/" in at[0] or os.sep in at[0] or at[0].startswith("."):
            raise RecordError("refused: .metadata names a file outside its directory")
        path = os.path.join(folder, at[0])
        if not exists(path) or storage_of(path).is_link(path):
            raise RecordError(f"{plain_text(at[0])} is missing")
        parts.append([*at[:3], list(starts), list(sizes)])
    path = os.path.join(folder, parts[0][0])
    if len(parts) == 1 and tuple(parts[0][4]) == shape:
        single = json.dumps({"at": parts[0][:3]})
        return Locator(path, dtype, shape, reader="dcp", key=single)
    if sum(prod(part[4]) for part in parts) != prod(shape):
        raise RecordError("the chunks do not make up the whole tensor")
    return Locator(path, dtype, shape, reader="dcp", key=json.dumps(parts))


def _places(storage: Pairs) -> dict[str, list[Any]]:
    """By tensor: file, offset, length and first index of each chunk."""
    found: dict[str, list[Any]] = {}
    for index, info in storage:
        which, where = _pairs(index), _pairs(info)
        key, starts = _field(which, "fqn"), _field(which, "offset")
        place = tuple(_field(where, name) for name in ("relative_path", "offset", "length"))
        if type(key) is str and type(place[0]) is str and all(type(n) is int for n in place[1:]):
            offsets = starts if isinstance(starts, tuple) else ()
            found.setdefault(key, []).append((*place, tuple(offsets)))
    return found


def _pairs(node: Any) -> Pairs:
    """The items of a dictionary or the fields of an object; none for anything else."""
    if type(node) is Pairs:
        return node
    if type(node) is Instance:
        if type(node.state) is Pairs:
            return node.state
        if type(node.state) is tuple:
            return Pairs(pair for part in node.state if type(part) is Pairs for pair in part)
    return Pairs()


def _field(pairs: Pairs, name: str) -> Any:
    return next((value for key, value in pairs if type(key) is str and key == name), None)


def _dtype_of(properties: Any) -> str:
    """The dtype of `TensorProperties`, whose state is a tuple that begins with it."""
    state = properties.state if type(properties) is Instance else None
    found = state[0] if type(state) is tuple and state else _field(_pairs(properties), "dtype")
    if not isinstance(found, ElementType):
        raise RecordError("damaged .metadata: a tensor without dtype")
    return found.name


class _Part:
    """A part of a file, read as if it were one."""

    def __init__(self, file: OpenFile, offset: int, length: int) -> None:
        self.file, self.offset, self.size = file, offset, length

    def read_at(self, offset: int, length: int) -> bytes:
        return self.file.read_at(self.offset + offset, max(0, min(length, self.size - offset)))

    def read_into(self, buffer: memoryview, offset: int) -> int:
        return self.file.read_into(buffer[: self.size - offset], self.offset + offset)

    def close(self) -> None: ...

    def __enter__(self) -> _Part:
        return self

    def __exit__(self, *_: object) -> None: ...


def _tensor_in(path: str, offset: int, length: int) -> Locator:
    """The one tensor of the archive at a place of a file. Raises `RecordError`, `OSError`."""
    with open_file(path) as file:
        if not 0 <= offset <= _MOST_ARCHIVE or length < 0 or offset + length > file.size:
            raise RecordError(f"truncated: {length} bytes at {offset} promised")
        members = torch_file.members_in(path, _Part(file, offset, length), lenient=True)
    if len(members) != 1 or members[0].locator is None:
        raise RecordError(members[0].error or "no tensor" if members else "holds no tensor")
    locator = members[0].locator
    return replace(locator, offset=locator.offset + offset)


def _without_common_prefix(records: list[Record]) -> list[Record]:
    """Without what all keys begin with (`model.`), where it is that of a whole state dict."""
    for prefix in ("model.", "state_dict.", "app."):
        inner = [r for r in records if r.name.startswith(prefix)]
        if inner and any(r.name.startswith(f"{prefix}model.") for r in inner):
            for record in inner:
                record.name = record.module = record.name.removeprefix(prefix)
    return records
