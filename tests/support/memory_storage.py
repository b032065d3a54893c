"""A storage that keeps the files of a directory in memory, under `memory://`."""

from __future__ import annotations

import io
import posixpath
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from layertui.capture.errors import CaptureError
from layertui.capture.files import FoundFile
from layertui.capture.storage import Status

SCHEME = "memory"


class MemoryFile:
    def __init__(self, data: bytes) -> None:
        self.data, self.size = data, len(data)

    def read_at(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]

    def read_into(self, buffer: memoryview, offset: int) -> int:
        part = self.data[offset : offset + min(len(buffer), 1000)]  # as a network may: in pieces
        buffer[: len(part)] = part
        return len(part)

    def close(self) -> None: ...

    def __enter__(self) -> MemoryFile:
        return self

    def __exit__(self, *_: object) -> None: ...


class MemoryStorage:
    local = False

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}

    def keep(self, folder: Path, name: str) -> str:
        """Take the files of `folder` in; their path from here on."""
        root = f"{SCHEME}://{name}"
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                self.held[f"{root}/{file.relative_to(folder)}"] = file.read_bytes()
        return root

    def _data(self, path: str) -> bytes:
        if path not in self.held:
            raise FileNotFoundError(2, "No such file or directory", path)
        return self.held[path]

    def files(self, path: str) -> list[FoundFile]:
        found = []
        for held in sorted(self.held):
            if held.startswith(path + "/"):
                inner = held[len(path) + 1 :]
                first, _, rest = inner.partition("/")
                step = int(first) if rest and first.isdecimal() else 0
                name = rest if rest and first.isdecimal() else inner
                found.append(FoundFile(held, posixpath.dirname(held), name, step))
        if not found:
            raise CaptureError(f"{path}: no such file or directory")
        return found

    def expect(self, paths: Sequence[str]) -> None: ...

    def names(self, folder: str) -> list[str]:
        inner = [held[len(folder) + 1 :] for held in self.held if held.startswith(folder + "/")]
        return list(dict.fromkeys(name.split("/")[0] for name in inner))

    def status(self, path: str) -> Status | None:
        if path in self.held:
            return Status(len(self.held[path]), True, False, (hash(self.held[path]),), (path,))
        return Status(0, False, True) if self.names(path) else None

    def is_link(self, path: str) -> bool:
        return False

    def real(self, path: str) -> str:
        return path

    def open(self, path: str) -> MemoryFile:
        return MemoryFile(self._data(path))

    def stream(self, path: str) -> BinaryIO:
        return io.BytesIO(self._data(path))

    def map(self, path: str, offset: int, length: int) -> memoryview:
        return memoryview(self._data(path))[offset : offset + length]
