"""MAX checkpoints (`.max`), the files of `PrintStyle.BINARY_MAX_CHECKPOINT`.

Layout, little-endian: magic, u32 major, u32 minor, u64 metadata size; then per tensor u32 key
length, key, u8 dtype, u8 rank, u32 dimensions, u64 offset of the data from the start of the file.
The data follow without alignment; scalars have rank 0, empty tensors no bytes. Measured on files
of MAX 26.7; the `max` package is not needed.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from math import prod

from ..dtypes import BY_MAX_CODE
from ..errors import RecordError
from ..names import parse_name
from ..records import Locator, Record
from ..storage import open_file
from .extents import checked_shape

_MAGIC = b"\x93\xf0\x9f\x94\xa5\x2b\x2b\x93"
_HEADER = struct.Struct("<8sIIQ")
_MOST_METADATA = 64 << 20
_USUAL = 4096  # one read gets the whole header of a file with one tensor


def read_header(record: Record) -> list[Record]:
    """Complete `record`; a file with several tensors gives `<name>/<key>` for each."""
    tensors = _tensors(record.path)
    if len(tensors) == 1:
        _, locator = tensors[0]
        return [replace(record, locator=locator, shape=locator.shape, dtype=locator.dtype)]
    if not tensors:
        raise RecordError("holds no tensor")
    several = []
    for key, locator in tensors:
        name = f"{record.name}/{key}"
        parsed = parse_name(key)
        several.append(
            replace(
                record, name=name, module=parsed.module, slot=parsed.slot, call=parsed.call,
                key=key, locator=locator, shape=locator.shape, dtype=locator.dtype,
            )
        )  # fmt: skip
    return several


def _tensors(path: str) -> list[tuple[str, Locator]]:
    with open_file(path) as file:
        size = file.size
        head = file.read_at(0, _USUAL)
        if len(head) < _HEADER.size:
            raise RecordError(f"truncated: {size} bytes are less than a .max header")
        magic, major, minor, length = _HEADER.unpack_from(head)
        if magic != _MAGIC:
            raise RecordError("not a .max file: wrong magic bytes")
        if major != 0:
            raise RecordError(f".max version {major}.{minor} is newer than this reader knows (0.1)")
        if length > _MOST_METADATA or _HEADER.size + length > size:
            raise RecordError(f"truncated: header of {length} bytes in a file of {size} bytes")
        end = _HEADER.size + length
        if end > len(head):
            head += file.read_at(len(head), end - len(head))
    return _parse(path, head[:end], size)


def _parse(path: str, head: bytes, size: int) -> list[tuple[str, Locator]]:
    tensors: list[tuple[str, Locator]] = []
    at = _HEADER.size
    try:
        while at < len(head):
            (key_length,) = struct.unpack_from("<I", head, at)
            key_bytes = head[at + 4 : at + 4 + key_length]
            at += 4 + key_length
            code, rank = struct.unpack_from("<BB", head, at)
            shape = struct.unpack_from(f"<{rank}I", head, at + 2)
            (offset,) = struct.unpack_from("<Q", head, at + 2 + 4 * rank)
            at += 2 + 4 * rank + 8
            if offset < len(head):
                raise RecordError("damaged .max header: data would lie inside the header")
            tensors.append((key_bytes.decode("utf-8"), _locate(path, code, shape, offset, size)))
    except (struct.error, UnicodeDecodeError) as error:
        raise RecordError("damaged .max header") from error
    return tensors


def _locate(path: str, code: int, shape: tuple[int, ...], offset: int, size: int) -> Locator:
    dtype = BY_MAX_CODE.get(code)
    if dtype is None:
        raise RecordError(f"unknown .max dtype code 0x{code:02x}")
    checked = checked_shape(shape, dtype.itemsize)
    need = prod(checked) * dtype.itemsize
    if offset + need > size:
        raise RecordError(
            f"truncated: {need} bytes of data promised at {offset}, the file has {size} bytes"
        )
    return Locator(path, dtype.name, checked, offset)
