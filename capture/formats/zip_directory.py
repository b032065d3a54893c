"""The table of contents of a zip archive, read with two or three small reads and no more.

Python's `zipfile` takes longer than all the rest of opening a dump of ten thousand `.pt` files.
Format: PKWARE APPNOTE 6.3.10, sections 4.3 (records) and 4.5.3 (zip64).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from typing import NamedTuple

from ..errors import RecordError
from ..storage import OpenFile, storage_of

STORED, DEFLATED = 0, 8

_END = struct.Struct("<4s4xHHII2x")
_END64 = struct.Struct("<4sQ12xQQQQ")
_LOCATOR64 = struct.Struct("<4s4xQ4x")
_CENTRAL = struct.Struct("<4s4xHH4xIIIHHH8xI")
_LOCAL = struct.Struct("<4s22xHH")
_WINDOW = 8192  # enough for everything but the data in a `.pt` with one tensor
_LONGEST_TAIL = _END.size + 0xFFFF
_MOST_DIRECTORY = 64 << 20
_NO_END = "truncated: the zip's table of contents at the end of the file is missing"


class Entry(NamedTuple):
    """One member: packed bytes in the file, unpacked size, offset of its local header."""

    name: str
    method: int
    packed: int
    size: int
    header: int
    crc: int
    encrypted: bool


class Archive:
    """An open zip file with its entries by name. Raises `RecordError` when it is damaged."""

    def __init__(self, file: OpenFile, path: str = "") -> None:
        """With a `path` the entries are known the next time, until the file has changed."""
        self._file = file
        self.size = file.size
        self._tail_at = max(0, self.size - _WINDOW)
        self._tail = file.read_at(self._tail_at, _WINDOW)
        self._head = self._tail if self._tail_at == 0 else file.read_at(0, _WINDOW)
        if not self._head.startswith(b"PK"):
            raise RecordError("not a zip archive")
        self.entries = _KNOWN.entries(self, path) if path else self.list_entries()

    def read_at(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`; raises `RecordError` when the file has fewer."""
        end = offset + length
        if offset < 0 or length < 0 or end > self.size:
            raise RecordError("truncated: a zip record points beyond the end of the file")
        if end <= len(self._head):
            return self._head[offset:end]
        if offset >= self._tail_at:
            return self._tail[offset - self._tail_at : end - self._tail_at]
        data = self._file.read_at(offset, length)
        if len(data) != length:
            raise RecordError("truncated: the file became shorter while it was read")
        return data

    def data_offset(self, entry: Entry) -> int:
        """Where the member's packed bytes begin; they are known to end inside the file."""
        if entry.encrypted:
            raise RecordError("an encrypted zip cannot be read")
        signature, name, extra = _LOCAL.unpack(self.read_at(entry.header, _LOCAL.size))
        if signature != b"PK\x03\x04":
            raise RecordError("damaged zip: a member's header is not where it should be")
        offset = entry.header + _LOCAL.size + name + extra
        if offset + entry.packed > self.size:
            raise RecordError(
                f"truncated: {entry.packed} bytes at {offset} promised, "
                f"the file has {self.size} bytes"
            )
        return offset

    def read(self, entry: Entry, most: int) -> bytes:
        """The unpacked bytes of a member of at most `most` bytes, checksum verified."""
        if entry.size > most or entry.packed > most:
            raise RecordError(f"refused: a zip member of {entry.size} bytes, {most} is the limit")
        packed = self.read_at(self.data_offset(entry), entry.packed)
        data = packed if entry.method == STORED else inflate(packed, entry.size, entry.method)
        if len(data) != entry.size or zlib.crc32(data) != entry.crc:
            raise RecordError("damaged zip: a member does not match its checksum")
        return data

    @property
    def ends(self) -> tuple[int, bytes, bytes]:
        """Its size, first and last bytes."""
        return self.size, self._head, self._tail

    def list_entries(self) -> dict[str, Entry]:
        """The members by name, as the table of contents has them."""
        count, length, offset = self._directory()
        if length > _MOST_DIRECTORY:
            raise RecordError(f"refused: a zip table of contents of {length} bytes")
        table = self.read_at(offset, length)
        found: dict[str, Entry] = {}
        at = 0
        for _ in range(count):
            entry, at = _central_entry(table, at)
            if entry.name in found:
                raise RecordError("damaged zip: two members have the same name")
            found[entry.name] = entry
        _refuse_overlaps(found.values())
        return found

    def _directory(self) -> tuple[int, int, int]:
        """Number of entries, bytes and offset of the table of contents."""
        at = self._tail.rfind(b"PK\x05\x06")
        tail, start = self._tail, self._tail_at
        if at < 0 and start > 0:  # a long comment at the end
            start = max(0, self.size - _LONGEST_TAIL)
            tail = self.read_at(start, self.size - start)
            at = tail.rfind(b"PK\x05\x06")
        if at < 0 or at + _END.size > len(tail):
            raise RecordError(_NO_END)
        _, _, count, length, offset = _END.unpack_from(tail, at)
        if count == 0xFFFF or length == 0xFFFFFFFF or offset == 0xFFFFFFFF:
            return self._directory64(start + at - _LOCATOR64.size)
        return count, length, offset

    def _directory64(self, at: int) -> tuple[int, int, int]:
        signature, end = _LOCATOR64.unpack(self.read_at(at, _LOCATOR64.size))
        if signature != b"PK\x06\x07":
            raise RecordError(_NO_END)
        signature, _, _, count, length, offset = _END64.unpack(self.read_at(end, _END64.size))
        if signature != b"PK\x06\x06":
            raise RecordError(_NO_END)
        return count, length, offset


def _refuse_overlaps(entries: Iterable[Entry]) -> None:
    """Members that share bytes are the way of a small file to promise thousands of large arrays."""
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.header):
        if entry.header < end:
            raise RecordError("damaged zip: the bytes of two members overlap")
        end = entry.header + _LOCAL.size + entry.packed


class _Known:
    """The entries of the archives that were opened last: an `.npz` is opened for each of its
    members, and reading ten thousand of them ten thousand times takes minutes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._found: dict[object, dict[str, Entry]] = {}

    def entries(self, archive: Archive, path: str) -> dict[str, Entry]:
        status = storage_of(path).status(path)
        key = path, status and status.identity, archive.ends
        found = self._found.get(key)
        if found is None:
            found = archive.list_entries()
            older = list(self._found.items())[1 - self._most :]
            self._found = {**dict(older), key: found}  # as a whole, for other threads
        return found


_KNOWN = _Known(2)  # one a side


def _central_entry(table: bytes, at: int) -> tuple[Entry, int]:
    """The entry at `at` of the table of contents and where the next one starts."""
    end = at + _CENTRAL.size
    if end > len(table):
        raise RecordError("damaged zip: the table of contents ends too early")
    signature, flags, method, crc, packed, size, names, extras, comments, header = (
        _CENTRAL.unpack_from(table, at)
    )
    following = end + names + extras + comments
    if signature != b"PK\x01\x02" or following > len(table):
        raise RecordError("damaged zip: invalid table of contents")
    if size == 0xFFFFFFFF or packed == 0xFFFFFFFF or header == 0xFFFFFFFF:
        extra = table[end + names : end + names + extras]
        size, packed, header = _sizes64(extra, size, packed, header)
    name = table[end : end + names].decode("utf-8", "backslashreplace")
    return Entry(name, method, packed, size, header, crc, bool(flags & 1)), following


def _sizes64(extra: bytes, *small: int) -> tuple[int, ...]:
    """Sizes and offset with those that did not fit 32 bits taken from the zip64 extra field."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            field = extra[at + 4 : at + 4 + length]
            large = iter(struct.unpack(f"<{len(field) // 8}Q", field[: len(field) // 8 * 8]))
            sizes = tuple(next(large, -1) if n == 0xFFFFFFFF else n for n in small)
            if -1 not in sizes:
                return sizes
        at += 4 + length
    raise RecordError("damaged zip: a large member without its size")


def inflate(packed: bytes, size: int, method: int) -> bytes:
    """Unpack deflated bytes, never more than `size` of them. Raises `RecordError`."""
    if method != DEFLATED:
        raise RecordError(f"zip compression method {method} is not read, only deflate is")
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        return engine.decompress(packed, max(size, 1))
    except zlib.error as error:
        raise RecordError("damaged zip: a member cannot be unpacked") from error
