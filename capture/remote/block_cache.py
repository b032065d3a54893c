"""Blocks of remote files, kept in the user's cache directory up to a limit.

A block is a file of its own, named by what it is a part of: the object's URL and what identifies
its content. So an object that is replaced never meets the blocks of its predecessor, and several
processes may share the directory. What cannot be read or written is never an error.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import threading
from hashlib import blake2b
from pathlib import Path

from ..errors import CaptureError
from ..user.paths import cache_dir

VARIABLE = "LAYERTUI_REMOTE_CACHE"
_USUAL = 8 << 30  # bytes, but never more than half of what is free on the disk
_SHARE = 16  # this part of the limit may be written before old blocks are looked for
_KEPT = 0.875  # of the limit is left by tidying up, so that it is not done for every block
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:I?B)?", re.IGNORECASE)


def limit_of(folder: Path) -> int:
    """Bytes that blocks may take: `LAYERTUI_REMOTE_CACHE` (`20GB`; `0` keeps none), or the usual.
    Raises `CaptureError` for what is no size.
    """
    said = os.environ.get(VARIABLE, "").strip()
    if said:
        match = _SIZE.fullmatch(said)
        if match is None:
            raise CaptureError(f"{VARIABLE}={said}: not a size such as 20GB, or 0")
        return int(float(match[1]) * _UNITS[match[2].upper()])
    return min(_USUAL, _free(folder) // 2)


def _free(folder: Path) -> int:
    """Free bytes of the disk that `folder` is, or would be, on."""
    for place in (folder, *folder.parents):
        with contextlib.suppress(OSError):
            return shutil.disk_usage(place).free
    return 0


class BlockCache:
    """Get and put blocks, from any thread."""

    def __init__(self, folder: Path | None = None, limit: int | None = None) -> None:
        self.folder = folder or cache_dir() / "blocks"
        self.limit = limit_of(self.folder) if limit is None else limit
        self._lock = threading.Lock()
        self._unseen = self.limit  # written since old blocks were looked for; earlier runs count

    @staticmethod
    def key(url: str, identity: tuple[object, ...]) -> str:
        """The name under which blocks of an object are kept."""
        return blake2b(repr((url, identity)).encode(), digest_size=16).hexdigest()

    def get(self, key: str, block: str) -> bytes | None:
        """A block that was kept, or None."""
        place = self._place(key, block)
        try:
            data = place.read_bytes()
            os.utime(place)  # the oldest go first
        except OSError:
            return None
        return data

    def put(self, key: str, block: str, data: bytes | memoryview) -> None:
        """Keep a block, whole or not at all."""
        if len(data) > self.limit // _SHARE:
            return
        place = self._place(key, block)
        with contextlib.suppress(OSError):
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=".block-", dir=place.parent)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                os.replace(name, place)  # noqa: PTH105
            except BaseException:
                os.unlink(name)  # noqa: PTH108
                raise
            self._count(len(data))

    def _place(self, key: str, block: str) -> Path:
        return self.folder / key[:2] / f"{key}-{block}"

    def _count(self, size: int) -> None:
        with self._lock:
            self._unseen += size
            if self._unseen * _SHARE < self.limit:
                return
            self._unseen = 0
            self._tidy()

    def _tidy(self) -> None:
        """Remove the blocks that were not asked for longest."""
        found: list[tuple[float, int, str]] = []
        for folder in self._folders():
            with contextlib.suppress(OSError), os.scandir(folder) as scan:
                for entry in scan:
                    with contextlib.suppress(OSError):
                        status = entry.stat(follow_symlinks=False)
                        found.append((status.st_mtime, status.st_size, entry.path))
        total = sum(size for _, size, _ in found)
        if total <= self.limit * _KEPT:
            return
        for _, size, path in sorted(found):
            with contextlib.suppress(OSError):
                os.unlink(path)  # noqa: PTH108
            total -= size
            if total <= self.limit * _KEPT:
                return

    def _folders(self) -> list[str]:
        try:
            with os.scandir(self.folder) as scan:
                return [entry.path for entry in scan if entry.is_dir(follow_symlinks=False)]
        except OSError:
            return []
