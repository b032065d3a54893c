"""GGUF files (`.gguf`): weights of llama.cpp. Format: ggml/docs/gguf.md, versions 2 and 3.

Sizes stand from the innermost axis outwards, the reverse of torch's. Plain elements lie in the file
as they are; quantised blocks are turned into float32 when they are loaded (`gguf_blocks`).
"""

from __future__ import annotations

import struct
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

from ..dtypes import DTYPES
from ..errors import RecordError
from ..files import FoundFile
from ..records import Locator, Record
from ..storage import open_file, storage_of
from .context import Context
from .extents import checked_shape
from .gguf_blocks import BLOCKS, PLAIN
from .members import named_record
from .text.json_text import plain_text

if TYPE_CHECKING:
    from ..values import Array

_MAGIC = b"GGUF"
_MOST_ENTRIES = 1_000_000  # of metadata and tensors together
_MOST_HEADER = 1 << 30
_DEEPEST = 8
_ALIGNMENT = 32
_FIXED = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_FLOAT, _STRING, _ARRAY = 6, 8, 9
_Entry = tuple[str, list[int], int, int]
_U32, _U64, _F32 = struct.Struct("<I"), struct.Struct("<Q"), struct.Struct("<f")


def list_records(found: FoundFile, context: Context) -> list[Record]:
    """A record for each tensor, in the order of the file. Raises `RecordError`, `OSError`."""
    reader, entries, size = _read(found.path)
    plain = named_record(found, found.stem)
    records: list[Record] = []
    for name, sizes, code, offset in entries:
        record = replace(plain, name=name, module=name, slot="value", call=1, key=name)
        try:
            locator = _located(found.path, sizes, code, reader.data_at + offset, size)
            record.locator, record.shape, record.dtype = locator, locator.shape, locator.dtype
        except RecordError as error:
            record.error = str(error)
        records.append(record)
    quantised = {BLOCKS[code].name for _, _, code, _ in entries if code in BLOCKS}
    if quantised:
        context.notes.append(f"{found.name}: quantised to {', '.join(sorted(quantised))}")
    return records


def list_tensors(path: str) -> tuple[dict[str, Any], list[tuple[str, Locator | str]]]:
    """Texts and numbers of the header, and the tensors with their places, or why one cannot be
    read. Raises `RecordError`, `OSError`.
    """
    reader, entries, size = _read(path)
    found: list[tuple[str, Locator | str]] = []
    for name, sizes, code, offset in entries:
        try:
            found.append((name, _located(path, sizes, code, reader.data_at + offset, size)))
        except RecordError as error:
            found.append((name, str(error)))
    return reader.header, found


def with_heads(locator: Locator, heads: int) -> Locator:
    """The same tensor, whose rows are loaded in another order: pairs in each of so many heads
    become two halves.
    """
    return replace(locator, reader="gguf", key=f"{locator.key or locator.dtype}/{heads}")


def _read(path: str) -> tuple[_Reader, list[_Entry], int]:
    with open_file(path) as file:
        size = file.size
    if size < 24:
        raise RecordError(f"truncated: {size} bytes are less than a GGUF header")
    reader = _Reader(storage_of(path).map(path, 0, size))
    try:
        entries = reader.entries()
    except (struct.error, IndexError) as error:
        raise RecordError("truncated: the header of a GGUF file is cut short") from error
    if not entries:
        raise RecordError("holds no tensor")
    return reader, entries, size


def read_header(record: Record) -> list[Record]:
    """Nothing is left to do: `list_records` gives complete records."""
    return [record]


def load_values(locator: Locator) -> Array:
    """Quantised blocks as float32, in the shape of the locator. Raises `RecordError`, `OSError`."""
    import numpy as np

    kind, _, heads = locator.key.partition("/")
    block = next((b for b in BLOCKS.values() if b.name == kind), None)
    if block is None and kind != locator.dtype:
        raise RecordError("the file has changed since it was listed")
    storage = np.dtype(DTYPES[locator.dtype].storage)
    per, nbytes = (block.elements, block.nbytes) if block is not None else (1, storage.itemsize)
    need = locator.count // per * nbytes
    with open_file(locator.path) as file:
        raw = file.read_at(locator.offset, need)
    if len(raw) != need:
        raise RecordError(f"truncated: {need} bytes promised, {len(raw)} are there")
    values = block.unpacked(raw) if block is not None else np.frombuffer(raw, storage)
    values = values.reshape(locator.shape)
    if not heads:
        return values
    pairs = values.reshape(int(heads), -1, 2, *locator.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(locator.shape)


def _located(path: str, sizes: list[int], code: int, offset: int, end: int) -> Locator:
    plain = PLAIN.get(code)
    block = BLOCKS.get(code)
    if plain is not None:
        shape = checked_shape(sizes[::-1], DTYPES[plain].itemsize)
        need = prod(shape) * DTYPES[plain].itemsize
        locator = Locator(path, plain, shape, offset)
    elif block is not None:
        shape = checked_shape(sizes[::-1], 4)
        if not shape or shape[-1] % block.elements:
            raise RecordError(
                f"rows of {shape[-1] if shape else 1} do not divide into {block.name}"
            )
        need = prod(shape) // block.elements * block.nbytes
        locator = Locator(path, "float32", shape, offset, reader="gguf", key=block.name)
    else:
        raise RecordError(f"quantised to a type ({code}) that is not read")
    if offset + need > end:
        raise RecordError(f"truncated: {need} bytes at {offset} promised, the file has {end}")
    return locator


class _Reader:
    """The header: magic, version, counts, metadata (passed over), and what tensors there are."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.at = 0
        self.data_at = 0
        self.budget = _MOST_ENTRIES
        self.header: dict[str, Any] = {}

    def entries(self) -> list[_Entry]:
        """Name, sizes, type and offset of each tensor. Raises `RecordError`, `struct.error`."""
        if bytes(self.data[:4]) != _MAGIC:
            raise RecordError("not a GGUF file: wrong magic bytes")
        self.at = 4
        version = self._number(_U32)
        if version not in (2, 3):
            raise RecordError(f"GGUF version {version} is not read, 2 and 3 are")
        tensors, pairs = self._number(_U64), self._number(_U64)
        self._spend(tensors + pairs)
        alignment = _ALIGNMENT
        for _ in range(pairs):
            key = self._string()
            value = self._value(self._number(_U32), 0)
            if isinstance(value, (int, float)) or key == "general.architecture":
                self.header[key] = value
            if key == "general.alignment" and type(value) is int and 0 < value <= 1 << 20:
                alignment = value
        entries: list[_Entry] = []
        for _ in range(tensors):
            name = plain_text(self._string())
            axes = self._number(_U32)
            if axes > 8:
                raise RecordError("damaged GGUF header: a tensor of more than 8 axes")
            sizes = [self._number(_U64) for _ in range(axes)]
            entries.append((name, sizes, self._number(_U32), self._number(_U64)))
        self.data_at = -(-self.at // alignment) * alignment
        return entries

    def _spend(self, items: int) -> None:
        self.budget -= items
        if self.budget < 0 or self.at > _MOST_HEADER:
            raise RecordError("refused: a GGUF header of too many entries")

    def _number(self, kind: struct.Struct) -> int:
        (value,) = kind.unpack_from(self.data, self.at)
        self.at += kind.size
        return value

    def _string(self) -> str:
        length = self._number(_U64)
        start = self.at
        self.at += length
        if self.at > len(self.data):
            raise IndexError
        return bytes(self.data[start : start + min(length, 1000)]).decode("utf-8", "replace")

    def _value(self, kind: int, depth: int) -> Any:
        """A value of metadata: whole numbers and floats of 4 bytes are given, and strings; all else
        is passed over.
        """
        if kind in _FIXED:
            start = self.at
            self.at += _FIXED[kind]
            if self.at > len(self.data):
                raise IndexError
            if kind == _FLOAT:  # 1e-05, not the 9.999999747378752e-06 that stands for it
                return float(f"{_F32.unpack_from(self.data, start)[0]:.7g}")
            return _U32.unpack_from(self.data, start)[0] if kind == 4 else None
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY or depth > _DEEPEST:
            raise RecordError("damaged GGUF header: metadata of an unknown type")
        inner, count = self._number(_U32), self._number(_U64)
        if inner in _FIXED:
            self.at += count * _FIXED[inner]
            if self.at > len(self.data):
                raise IndexError
            return None
        self._spend(count)
        for _ in range(count):
            self._value(inner, depth + 1)
        return None
