"""A remote file, read in ranges: by blocks, which are kept, and ahead where it is read on."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import BinaryIO

from .block_cache import BlockCache

HEAD = 1 << 14  # bytes: most headers are in them, and 1,000 of them are little to move
BLOCK = 1 << 17  # bytes; an object store takes as long to find them as to send them
MOST_AT_ONCE = 1 << 23  # bytes of one request, and so of what an open file holds in memory
_HEAD = "head"

Fetch = Callable[[int, int], bytes]
"""The bytes from a first to before a last place, all of them. Raises `OSError`."""


class RemoteFile:
    """An open remote file of `size` bytes. `key` is its name in the `blocks` that are kept; without
    them nothing is. May be read by several threads.
    """

    __slots__ = ("_blocks", "_ended", "_fetch", "_held", "_key", "_next", "size")

    def __init__(self, size: int, fetch: Fetch, blocks: BlockCache | None, key: str) -> None:
        self.size = size
        self._fetch, self._blocks, self._key = fetch, blocks, key
        self._held: tuple[int, bytes] = (0, b"")  # the last bytes that came, and where they lie
        self._ended = -1  # where the last request ended
        self._next = BLOCK  # bytes of the next request, if it goes on there

    def read_at(self, offset: int, length: int) -> bytes:
        """Bytes from `offset` on, fewer than `length` only at the end. Raises `OSError`."""
        data = bytearray(max(0, min(length, self.size - offset)))
        view = memoryview(data)
        while view:
            got = self.read_into(view, offset)
            view, offset = view[got:], offset + got
        return bytes(data)

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill the beginning of `buffer`; 0 only at the end of the file. Raises `OSError`."""
        wanted = min(len(buffer), self.size - offset)
        if wanted <= 0 or offset < 0:
            return 0
        at, data = self._held
        if not at <= offset < at + len(data):
            at, data = self._kept(offset, wanted) or self._fetched(offset, wanted)
            self._held = (at, data)
        part = memoryview(data)[offset - at : offset - at + wanted]
        buffer[: len(part)] = part
        return len(part)

    def _kept(self, offset: int, wanted: int) -> tuple[int, bytes] | None:
        """The block around `offset`, where it is kept, and the place of its first byte."""
        if self._blocks is None:
            return None
        number = offset // BLOCK
        start = number * BLOCK
        data = self._blocks.get(self._key, str(number))
        if data is not None and len(data) == min(BLOCK, self.size - start):
            return start, data
        if offset + min(wanted, 1) > HEAD:
            return None
        data = self._blocks.get(self._key, _HEAD)
        return (0, data) if data is not None and len(data) == min(HEAD, self.size) else None

    def _fetched(self, offset: int, wanted: int) -> tuple[int, bytes]:
        """A request for what is wanted, more of it where the file is read on from the last."""
        if offset + wanted <= HEAD:
            return 0, self.fetch_head()
        start = offset // BLOCK * BLOCK
        least = -(-(offset + wanted - start) // BLOCK) * BLOCK
        on = self._next if start == self._ended else BLOCK
        length = min(max(least, on), MOST_AT_ONCE, self.size - start)
        data = self._fetch(start, start + length)
        self._ended, self._next = start + length, min(2 * max(least, on), MOST_AT_ONCE)
        if self._blocks is not None:
            view = memoryview(data)
            for at in range(0, length, BLOCK):
                number = str((start + at) // BLOCK)
                self._blocks.put(self._key, number, view[at : at + BLOCK])
        return start, data

    def fetch_head(self) -> bytes:
        """The first `HEAD` bytes, which are kept. Raises `OSError`."""
        data = self._fetch(0, min(HEAD, self.size))
        if self._blocks is not None:
            self._blocks.put(self._key, _HEAD, data)
        return data

    def close(self) -> None:
        self._held = (0, b"")

    def __enter__(self) -> RemoteFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Stream(io.RawIOBase):
    """A remote file read from its beginning, or any other place."""

    def __init__(self, file: RemoteFile) -> None:
        self._file, self._at = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = (0, self._at, self._file.size)[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        got = self._file.read_into(memoryview(buffer).cast("B"), self._at)
        self._at += got
        return got

    def close(self) -> None:
        self._file.close()
        super().close()


def stream_of(file: RemoteFile) -> BinaryIO:
    """A file as a stream, which closes it."""
    return io.BufferedReader(_Stream(file), BLOCK)
