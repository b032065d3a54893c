"""msgpack files: Flax's (`flax.serialization.to_bytes`), nested maps with arrays as extension type
1, and those of msgpack-numpy and its like, where an array is a map with dtype, shape and data.

An array is a msgpack list of shape, dtype and bytes; its values lie in the file as they are. Arrays
of more than a gigabyte are cut into pieces (`__msgpack_chunked_array__`), which are not joined.
Format: https://github.com/msgpack/msgpack/blob/master/spec.md, flax/serialization.py.
"""

from __future__ import annotations

import struct
from math import prod
from typing import Any, NamedTuple

from ...dtypes import DTYPES, dtype_named
from ...errors import RecordError
from ...files import FoundFile
from ...records import Locator, Record
from ...storage import open_file, storage_of
from ..context import Context
from ..extents import checked_shape
from ..members import named_member, named_record, place_members
from ..raw_entries import dtype_of
from ..text.json_text import plain_text

_ARRAY, _COMPLEX, _SCALAR = 1, 2, 3
_MOST_ITEMS = 1_000_000
_DEEPEST = 32
_WHOLE = 64 << 20  # bytes of a file that is read at once; a larger one is mapped


class _Extension(NamedTuple):
    kind: int
    start: int
    end: int


class _Text(NamedTuple):
    """Bytes or text, by their place."""

    start: int
    end: int
    binary: bool


class _Described(NamedTuple):
    """An array as a map: `{"type": "<f4", "shape": [1, 8], "data": bytes}`."""

    shape: list[Any]
    dtype: str
    values: _Text


_WORDS = frozenset({"nd", "type", "dtype", "kind", "shape", "data", "complex", "name"})


def list_records(found: FoundFile, context: Context) -> list[Record]:
    """A record for each array, in the order of the file. Raises `RecordError`, `OSError`."""
    with open_file(found.path) as file:
        size = file.size
        data: Any = file.read_at(0, size) if size <= _WHOLE else None
    if data is None:
        data = storage_of(found.path).map(found.path, 0, size)
    reader = _Reader(data)
    leaves = reader.arrays()
    if not leaves:
        raise RecordError("holds no array")
    plain = named_record(found, found.stem)
    placed = place_members([keys for keys, _ in leaves])
    records: list[Record] = []
    for (_, extension), (key, step) in zip(leaves, placed, strict=True):
        single = len(leaves) == 1
        record = named_member(plain, key, None, alone=context.alone, single=single, step=step)
        record.key = key or "*"
        try:
            locator = reader.locate(found.path, extension)
            record.locator, record.shape, record.dtype = locator, locator.shape, locator.dtype
        except RecordError as error:
            record.error = str(error)
        records.append(record)
    return records


def read_header(record: Record) -> list[Record]:
    """Nothing is left to do: `list_records` gives complete records."""
    return [record]


_U16, _U32, _U64 = struct.Struct(">H"), struct.Struct(">I"), struct.Struct(">Q")
_LENGTHS = {1: struct.Struct(">B"), 2: _U16, 4: _U32}


class _Reader:
    """Goes through one msgpack object without making more of it than its outline."""

    def __init__(self, data: Any) -> None:
        self.data = data
        self.items = 0

    def arrays(self) -> list[tuple[tuple[str, ...], _Extension | _Described]]:
        """Every array with the keys that lead to it. Raises `RecordError`."""
        found: list[tuple[tuple[str, ...], _Extension | _Described]] = []
        try:
            end = self._walk(0, (), found)
        except (struct.error, IndexError) as error:
            raise RecordError("truncated: the file ends inside an object") from error
        if end != len(self.data):
            raise RecordError("not msgpack: bytes after the object")
        return found

    def locate(self, path: str, extension: _Extension | _Described) -> Locator:
        """Where the values of an array lie. Raises `RecordError`."""
        if isinstance(extension, _Described):
            dtype = dtype_of(extension.dtype)
            return self._located(path, dtype, extension.shape, extension.values)
        parts: list[Any] = []
        try:
            count, at = self._size(extension.start)
            for _ in range(min(count, 3)):
                value, at = self._value(at, 0)
                parts.append(value)
        except (struct.error, IndexError) as error:
            raise RecordError("damaged array") from error
        if len(parts) != 3 or not isinstance(parts[0], list):
            raise RecordError("damaged array: not shape, dtype and bytes")
        name, values = parts[1], parts[2]
        if not isinstance(name, _Text) or not isinstance(values, _Text):
            raise RecordError("damaged array: not shape, dtype and bytes")
        said = bytes(self.data[name.start : name.end][:40]).decode("utf-8", "replace")
        return self._located(path, dtype_named(said).name, parts[0], values)

    def _located(self, path: str, dtype: str, said: list[Any], values: _Text) -> Locator:
        shape = checked_shape(said, DTYPES[dtype].itemsize)
        need = prod(shape) * DTYPES[dtype].itemsize
        if values.end - values.start != need:
            raise RecordError(
                f"damaged array: {values.end - values.start} bytes, the shape {list(shape)} takes "
                f"{need}"
            )
        return Locator(path, dtype, shape, values.start)

    def _described(self, at: int, count: int) -> tuple[_Described, int] | None:
        """The array that a map is, and where the map ends; None for any other map."""
        known: dict[str, Any] = {}
        for _ in range(count):
            key, at = self._value(at, 0)
            word = self._key(key)
            if word not in _WORDS:
                return None
            if 0x80 <= self.data[at] <= 0x8F or self.data[at] in (0xDE, 0xDF):
                return None
            known[word], at = self._value(at, 0)
        shape, values = known.get("shape"), known.get("data")
        dtype = known.get("dtype", known.get("type"))
        if not isinstance(shape, list) or not isinstance(dtype, _Text):
            return None
        if not isinstance(values, _Text) or not values.binary:
            return None
        said = bytes(self.data[dtype.start : dtype.end][:60]).decode("utf-8", "replace")
        return _Described(shape, said, values), at

    def _walk(self, at: int, keys: tuple[str, ...], found: list[Any]) -> int:
        if len(keys) > _DEEPEST:
            raise RecordError("nested too deep")
        code = self.data[at]
        if 0x80 <= code <= 0x8F or code in (0xDE, 0xDF):
            count, at = self._size(at)
            described = self._described(at, count) if 3 <= count <= len(_WORDS) else None
            if described is not None:
                found.append((keys, described[0]))
                return described[1]
            for _ in range(count):
                key, at = self._value(at, 0)
                at = self._walk(at, (*keys, self._key(key)), found)
            return at
        if 0x90 <= code <= 0x9F or code in (0xDC, 0xDD):
            count, at = self._size(at)
            for index in range(count):
                at = self._walk(at, (*keys, str(index)), found)
            return at
        value, at = self._value(at, 0)
        if isinstance(value, _Extension) and value.kind in (_ARRAY, _SCALAR):
            found.append((keys, value))
        return at

    def _key(self, key: Any) -> str:
        if isinstance(key, _Text):
            key = bytes(self.data[key.start : key.end][:400]).decode("utf-8", "replace")
        return plain_text(key)

    def _size(self, at: int) -> tuple[int, int]:
        """Number of items of a map or list, and where the first begins."""
        code = self.data[at]
        if code < 0xA0:
            count, at = code & 15, at + 1
        elif code in (0xDC, 0xDE):
            count, at = _U16.unpack_from(self.data, at + 1)[0], at + 3
        elif code in (0xDD, 0xDF):
            count, at = _U32.unpack_from(self.data, at + 1)[0], at + 5
        else:
            raise RecordError("damaged msgpack")
        self.items += count
        if self.items > _MOST_ITEMS:
            raise RecordError("refused: too many items")
        return count, at

    def _value(self, at: int, depth: int) -> tuple[Any, int]:
        """A value that is no map, and where it ends; texts, bytes and extensions by their place."""
        code = self.data[at]
        if code < 0x80:
            return code, at + 1
        if code >= 0xE0:
            return code - 256, at + 1
        if 0xA0 <= code <= 0xBF:
            return self._text(at + 1, code & 31, False)
        if code in (0xC0, 0xC2, 0xC3):
            return (None, False, True)[max(0, code - 0xC1)], at + 1
        if code in (0xC4, 0xC5, 0xC6, 0xD9, 0xDA, 0xDB):
            width = 1 << (code - (0xC4 if code < 0xD0 else 0xD9))
            (length,) = _LENGTHS[width].unpack_from(self.data, at + 1)
            return self._text(at + 1 + width, length, code < 0xD0)
        if code in (0xC7, 0xC8, 0xC9):
            width = 1 << (code - 0xC7)
            (length,) = _LENGTHS[width].unpack_from(self.data, at + 1)
            return self._extension(at + 1 + width, length)
        if 0xD4 <= code <= 0xD8:
            return self._extension(at + 1, 1 << (code - 0xD4))
        if code in (0xCA, 0xCB):
            width = 4 if code == 0xCA else 8
            (number,) = struct.unpack_from(">f" if width == 4 else ">d", self.data, at + 1)
            return number, at + 1 + width
        if 0xCC <= code <= 0xD3:
            width = 1 << ((code - 0xCC) & 3)
            raw = bytes(self.data[at + 1 : at + 1 + width])
            if len(raw) < width:
                raise IndexError
            return int.from_bytes(raw, "big", signed=code >= 0xD0), at + 1 + width
        if (0x90 <= code <= 0x9F or code in (0xDC, 0xDD)) and depth < _DEEPEST:
            count, at = self._size(at)
            items = []
            for _ in range(count):
                value, at = self._value(at, depth + 1)
                items.append(value)
            return items, at
        raise RecordError("damaged msgpack")

    def _text(self, start: int, length: int, binary: bool) -> tuple[_Text, int]:
        if start + length > len(self.data):
            raise IndexError
        return _Text(start, start + length, binary), start + length

    def _extension(self, at: int, length: int) -> tuple[_Extension, int]:
        kind, start = self.data[at], at + 1
        if start + length > len(self.data):
            raise IndexError
        return _Extension(kind, start, start + length), start + length
