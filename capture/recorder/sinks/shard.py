"""One safetensors shard while it is being written.

Tensors are written as they come, so that their memory can be used again at once; the header, which
stands before them, gets room in advance. A shard that stays small is written in one go at its end.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...dtypes import DTYPES
from . import directory
from .dedup import Stored
from .snapshot import Snapshot

_SMALL = 4 << 20  # bytes that are gathered before the file is begun
_ROOM = 64 << 10  # for the header of a file that is begun before all is known
_SYNC = 64 << 20  # bytes after which the disk is set to work, before the shard is closed
_MOST_ODD = 32 << 20  # bytes of tensors that wait for the end, see `_write_even`
_ENTRY = 160  # bytes that an entry of the header takes at most, without its shape


@dataclass(slots=True)
class _Entry:
    key: str
    taken: Snapshot
    stored: Stored
    begin: int = 0  # in the data, behind the header


class Shard:
    """A shard that gets its `name` in `folder` when it is closed, whole and on disk."""

    def __init__(self, folder: str, name: str, release: Callable[[Snapshot], None]) -> None:
        self.name = name
        self.nbytes = 0
        self._folder = Path(folder)
        self._partial = self._folder / f".{name}{directory.PARTIAL}"
        self._release = release
        self._entries: list[_Entry] = []
        self._held: list[_Entry] = []
        self._held_bytes = 0
        self._header_bytes = 0
        self._file: Any = None
        self._end = 0  # of the data that have their place
        self._synced = 0

    def add(self, key: str, taken: Snapshot) -> Stored:
        """Store a tensor, now or at the end; the snapshot is released when it is in the file."""
        entry = _Entry(key, taken, Stored(int(key), taken.nbytes, taken.raw()))
        self._entries.append(entry)
        self._held.append(entry)
        self._held_bytes += taken.nbytes
        self._header_bytes += _ENTRY + len(str(taken.shape))
        self.nbytes += taken.nbytes
        if self._file is None and self._held_bytes > _SMALL and self._header_bytes < _ROOM // 2:
            self._file = self._open()
        if self._file is not None:
            self._write_even()
        return entry.stored

    @property
    def full(self) -> bool:
        """True when nothing more fits, however small."""
        crowded = self._header_bytes > _ROOM - 4096 or self._held_bytes > _MOST_ODD
        return self._file is not None and crowded

    def close(self) -> None:
        """Write the rest, bring all to the disk, give the file its name. Raises `OSError`."""
        self._held.sort(key=lambda entry: -DTYPES[entry.taken.dtype].itemsize)
        for entry in self._held:
            self._place(entry)
        begun = self._file is not None
        if not begun:
            self._file = self._open()
        header = self._header(_ROOM if begun else 0)
        _write_all(self._file, header, 0)
        for entry in self._held:
            _write_all(self._file, entry.stored.raw, len(header) + entry.begin)
        os.fsync(self._file.fileno())
        self._file.close()
        whole = self._folder / self.name
        self._partial.rename(whole)
        directory.sync_directory(str(self._folder))
        for entry in self._held:
            self._let_go(entry, len(header))
        for entry in self._entries:
            entry.stored.path = str(whole)

    def abandon(self) -> None:
        """Remove what was begun."""
        for entry in self._held:
            self._release(entry.taken)
        self._held = []
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            with contextlib.suppress(OSError):
                self._partial.unlink()

    def _open(self) -> Any:
        return open(self._partial, "xb", buffering=0)

    def _place(self, entry: _Entry) -> None:
        entry.begin = self._end
        self._end += entry.stored.nbytes

    def _write_even(self) -> None:
        """Write held tensors whose bytes come in eights: then all lie at multiples of their size.

        The format allows no gaps, so the others follow at the end, those with wide elements first.
        """
        odd: list[_Entry] = []
        for entry in self._held:
            if entry.stored.nbytes % 8:
                odd.append(entry)
                continue
            self._place(entry)
            _write_all(self._file, entry.stored.raw, _ROOM + entry.begin)
            self._held_bytes -= entry.stored.nbytes
            self._let_go(entry, _ROOM)
        self._held = odd
        if self._end - self._synced > _SYNC:
            os.fsync(self._file.fileno())
            self._synced = self._end

    def _let_go(self, entry: _Entry, data: int) -> None:
        """The bytes are in the file, whose data begin at `data`: the memory is free."""
        stored = entry.stored
        stored.path, stored.offset, stored.raw = str(self._partial), data + entry.begin, None
        self._release(entry.taken)

    def _header(self, room: int) -> bytes:
        """Length and text, `room` bytes where that is not 0, else a multiple of 64."""
        entries: dict[str, Any] = {"__metadata__": directory.MARK}
        for entry in sorted(self._entries, key=lambda entry: entry.begin):
            taken = entry.taken
            entries[entry.key] = {
                "dtype": DTYPES[taken.dtype].safetensors,
                "shape": list(taken.shape),
                "data_offsets": [entry.begin, entry.begin + taken.nbytes],
            }
        text = json.dumps(entries).encode()
        if room and len(text) + 8 > room:
            raise OSError("the header of a shard outgrew its reserved space")
        text += b" " * (room - 8 - len(text) if room else -(len(text) + 8) % 64)
        return len(text).to_bytes(8, "little") + text


def _write_all(file: Any, data: Any, offset: int) -> None:
    """All bytes at `offset`: the system may write less than it is given, at 2 GiB for one."""
    view = memoryview(data)
    while view.nbytes:
        written = os.pwrite(file.fileno(), view, offset)
        view, offset = view[written:], offset + written
