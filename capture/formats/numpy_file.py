"""numpy's files: `.npy`, and `.npz`, a zip of them. Headers are read without numpy.

Format: `numpy.lib.format` (versions 1.0, 2.0, 3.0). Arrays of objects are pickles and never read.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

from ..dtypes import DTYPES
from ..errors import RecordError
from ..files import FoundFile
from ..records import Locator, Record
from ..storage import OpenFile, open_file
from .context import Context
from .extents import refuse_bomb
from .members import named_member, named_record, place_members
from .npy_header import MOST_HEADER, Header, header_length, parse_header
from .tools.onnx_names import name_values
from .zip_directory import STORED, Archive, Entry, inflate

if TYPE_CHECKING:
    from ..values import Array

_USUAL = 256  # one read gets most headers


def list_records(found: FoundFile, context: Context) -> list[Record]:
    """One record for an `.npy`, which is not opened; for an `.npz` one a member."""
    record = named_record(found, found.stem)
    if found.suffix == ".npy":
        record.key = _ALONE if context.alone else ""
        return [record]
    with open_file(found.path) as file:
        names = [name for name in Archive(file, found.path).entries if name.endswith(".npy")]
    if not names:
        raise RecordError("holds no array")
    placed = place_members([(name.removesuffix(".npy"),) for name in names])
    records: list[Record] = []
    for name, (label, step) in zip(names, placed, strict=True):
        member = named_member(
            record, label, None, alone=context.alone, single=len(names) == 1, step=step
        )
        member.key = name
        records.append(member)
    return name_values(records, found.folder, context)


def read_header(record: Record) -> list[Record]:
    """Complete `record`. Raises `RecordError`, `OSError`."""
    with open_file(record.path) as file:
        if record.key and record.path.lower().endswith(".npz"):
            locator = _locate_member(record, file)
        elif _OBJECTS.search(_header_bytes(file, 0, file.size)):
            return _read_objects(record)
        else:
            locator = _locate_file(record.path, file)
            record = replace(record, key="")
    return [replace(record, locator=locator, shape=locator.shape, dtype=locator.dtype)]


_OBJECTS = re.compile(rb"'descr':\s*'[|<>=]?O'")
_ALONE = "*"  # in `Record.key` of an `.npy` that is the whole capture


def _read_objects(record: Record) -> list[Record]:
    """`np.save` of a dictionary: an array of one object, followed as pickles are."""
    from .pickles.pickle_file import read_header as read_pickle

    return read_pickle(record)


def _locate_file(path: str, file: OpenFile) -> Locator:
    size = file.size
    header = parse_header(_header_bytes(file, 0, size))
    if header.data + header.nbytes > size:
        raise RecordError(
            f"truncated: {header.nbytes} bytes of data promised at {header.data}, "
            f"the file has {size} bytes"
        )
    return _locator(path, header, header.data, "")


def _locate_member(record: Record, file: OpenFile) -> Locator:
    archive = Archive(file, record.path)
    entry = _entry(archive, record.key)
    offset = archive.data_offset(entry)
    if entry.method == STORED:
        if entry.packed != entry.size:
            raise RecordError("damaged zip: a stored member with two sizes")
        header = parse_header(_header_bytes(file, offset, offset + entry.size))
    else:
        refuse_bomb(entry.size, archive.size)
        packed = archive.read_at(offset, min(entry.packed, MOST_HEADER))
        header = parse_header(inflate(packed, min(entry.size, MOST_HEADER), entry.method))
    if header.data + header.nbytes > entry.size:
        raise RecordError(
            f"truncated: {header.nbytes} bytes of data promised, "
            f"the zip member has {entry.size - header.data}"
        )
    if entry.method == STORED:
        return _locator(record.path, header, offset + header.data, record.key)
    return Locator(record.path, header.dtype, header.shape, reader="npz", key=record.key)


def _locator(path: str, header: Header, offset: int, key: str) -> Locator:
    if header.big_endian:
        return Locator(path, header.dtype, header.shape, reader="npz", key=key)
    return Locator(path, header.dtype, header.shape, offset, header.strides)


def _entry(archive: Archive, key: str) -> Entry:
    entry = archive.entries.get(key)
    if entry is None:
        raise RecordError("the file has changed since it was listed")
    return entry


def _header_bytes(file: OpenFile, start: int, end: int) -> bytes:
    """The bytes from `start` that hold a header, none behind `end`."""
    head = file.read_at(start, min(_USUAL, end - start))
    need = header_length(head)
    if need > len(head):
        head += file.read_at(start + len(head), min(need, end - start) - len(head))
    return head


def load_values(locator: Locator) -> Array:
    """Raw elements of an array that cannot be mapped: packed in an `.npz` or big-endian.

    Shape `locator.shape`. Raises `RecordError`, also for a member that fails its checksum.
    """
    try:
        with open_file(locator.path) as file:
            data = _unpacked(file, locator)
    except OSError as error:
        raise RecordError(f"cannot be read: {error.strerror or error}") from error
    return array_of(data, locator)


def array_of(data: bytes, locator: Locator) -> Array:
    """The array that the bytes of a whole `.npy` file hold. Raises `RecordError` where they do not
    hold what was listed.
    """
    import numpy as np

    header = parse_header(data[:MOST_HEADER])
    if header.dtype != locator.dtype or header.shape != locator.shape:
        raise RecordError("the file has changed since it was listed")
    if header.data + header.nbytes > len(data):
        raise RecordError(f"truncated: {header.nbytes} bytes promised, fewer are there")
    plain = np.dtype(DTYPES[header.dtype].storage)
    stored = plain.newbyteorder(">") if header.big_endian else plain
    flat = np.frombuffer(data, stored, header.nbytes // plain.itemsize, header.data)
    order = "F" if header.fortran else "C"
    return flat.astype(plain, copy=False).reshape(header.shape, order=order)


def _unpacked(file: OpenFile, locator: Locator) -> bytes:
    if not locator.key:
        return file.read_at(0, file.size)
    archive = Archive(file, locator.path)
    entry = _entry(archive, locator.key)
    refuse_bomb(entry.size, archive.size)
    data = archive.read_at(archive.data_offset(entry), entry.packed)
    if entry.method != STORED:
        data = inflate(data, entry.size, entry.method)
    if len(data) != entry.size or zlib.crc32(data) != entry.crc:
        raise RecordError("damaged zip: a member does not match its checksum")
    return data
