"""The storage of captures that are named by a URL.

What a listing says of files is believed for a few seconds, so that opening a capture does not ask
for every file again. What is read of them is kept in blocks (`block_cache`).
"""

from __future__ import annotations

import mmap
import os
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from errno import EISDIR, ENOENT, ENOSPC
from functools import cached_property
from typing import Any, BinaryIO
from urllib.parse import unquote

from ..errors import CaptureError
from ..files import FoundFile
from ..storage import DEEPEST, Status
from .block_cache import BlockCache
from .file_systems import fetched, file_system_of, status_from, told
from .remote_file import MOST_AT_ONCE, RemoteFile, stream_of
from .urls import WEB, is_below_query, name_in, scheme_of, sealed

_BELIEVED = 5.0  # seconds, of what there is
_KNOWN = 60.0  # seconds, of the size of a file to be read; one that shrank is noticed
_MOST_KNOWN = 100_000  # files whose size is known from elsewhere than a listing
_AT_ONCE = 16  # headers that are asked for at a time
_IN_MEMORY = 1 << 25  # bytes of a record that is loaded; a longer one is put into a file first
_ARCHIVE = b"PK\x03\x04"  # `.pt` and `.npz` files begin so
_LEFT_FREE = 1 << 30  # bytes of the disk that such a file leaves


@dataclass(frozen=True)
class _Listing:
    """All files below a URL at one time; None for one whose size the listing does not tell."""

    root: str
    time: float
    files: dict[str, Status | None]
    folders: frozenset[str]

    def younger(self, seconds: float) -> bool:
        return time.monotonic() - self.time < seconds

    def knows(self, url: str) -> bool:
        return url == self.root or url.startswith(self.root + "/")


class FsspecStorage:
    """Whatever fsspec reads. Paths are URLs, sealed or whole; all that it gives are sealed."""

    local = False

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listings: list[_Listing] = []
        self._asked: dict[str, tuple[float, Status]] = {}

    @cached_property
    def _blocks(self) -> BlockCache:
        return BlockCache()

    # What there is

    def files(self, path: str) -> list[FoundFile]:
        """See `Storage.files`. Hidden files are passed over, directories named by a number are
        steps.
        """
        url = sealed(path)
        try:
            listing = self._listing(url)
        except FileNotFoundError as error:
            raise CaptureError(f"{url}: no such file or directory") from error
        except OSError as error:
            raise CaptureError(f"{url}: cannot be listed: {error.strerror or error}") from error
        if list(listing.files) == [url]:
            return [FoundFile(url, url.rpartition("/")[0], name_in(url), 0)]
        found = [_placed(listing.root, file) for file in listing.files]
        return [file for file in found if file is not None]

    def _listing(self, url: str) -> _Listing:
        root = url if url.endswith("://") else url.rstrip("/")
        with self._lock:
            self._listings = [known for known in self._listings if known.younger(_KNOWN)]
            same = (known for known in reversed(self._listings) if known.root == root)
            known = next((listing for listing in same if listing.younger(_BELIEVED)), None)
        if known is None:
            known = _list(url, root)
            with self._lock:
                self._listings.append(known)
        return known

    def names(self, folder: str) -> list[str]:
        url = sealed(folder)
        inside = url.rstrip("/") + "/"
        known = self._known(url)
        if known is not None:
            below = [file for file in known.files if file.startswith(inside)]
            return list(dict.fromkeys(file[len(inside) :].partition("/")[0] for file in below))
        fs, name = file_system_of(url)
        with told(url):
            fs.invalidate_cache()
            found = fs.ls(name, detail=False)
        return [str(entry).rstrip("/").rpartition("/")[2] for entry in found]

    def _known(self, url: str, seconds: float = _BELIEVED) -> _Listing | None:
        """The last listing with all of what there is at and below `url`."""
        with self._lock:
            listings = [known for known in reversed(self._listings) if known.younger(seconds)]
        return next((known for known in listings if known.knows(url)), None)

    def status(self, path: str) -> Status | None:
        url = sealed(path)
        if is_below_query(url):
            return None
        known = self._known(url)
        plain = url.rstrip("/")
        if known is not None:
            if plain in known.folders:
                return Status(0, False, True)
            if plain not in known.files:
                return None
            status = known.files[plain]
            if status is not None:
                return status
        try:
            status = _ask(url)
        except FileNotFoundError:
            return None
        with self._lock:
            if len(self._asked) >= _MOST_KNOWN:
                self._asked.clear()
            self._asked[url] = time.monotonic(), status
        return status

    def _to_read(self, url: str) -> Status | None:
        """What was known of a file not long ago, or `status`."""
        known = self._known(url, _KNOWN)
        status = None if known is None else known.files.get(url)
        with self._lock:
            asked, answer = self._asked.get(url, (0.0, None))
        if status is None and answer is not None and time.monotonic() - asked < _KNOWN:
            status = answer
        return status or self.status(url)

    def is_link(self, path: str) -> bool:
        return False

    def real(self, path: str) -> str:
        return sealed(path)

    # What is in it

    def open(self, path: str) -> RemoteFile:
        url = sealed(path)
        status = self._to_read(url)
        if status is None:
            raise FileNotFoundError(ENOENT, "no such file or directory", url)
        if not status.is_file:
            raise IsADirectoryError(EISDIR, "is a directory", url)
        fs, name = file_system_of(url)
        size = status.size

        def fetch(start: int, end: int) -> bytes:
            return fetched(fs, name, url, start, end, size)

        kept = bool(status.identity) and self._blocks.limit > 0
        key = BlockCache.key(url, status.identity)
        return RemoteFile(size, fetch, self._blocks if kept else None, key)

    def stream(self, path: str) -> BinaryIO:
        return stream_of(self.open(path))

    def expect(self, paths: Sequence[str]) -> None:
        """Ask for the beginnings of many files at once, as far as they are kept then; of archives
        also for the ends, where their directories are.
        """
        if len(paths) > 1 and self._blocks.limit > 0:
            with ThreadPoolExecutor(_AT_ONCE, "layertui-headers") as pool:
                for _ in pool.map(self._look_at, paths):
                    pass

    def _look_at(self, path: str) -> None:
        with suppress(OSError, CaptureError), self.open(path) as file:
            if file.read_at(0, len(_ARCHIVE)) == _ARCHIVE:
                file.read_at(file.size - 1, 1)

    def map(self, path: str, offset: int, length: int) -> memoryview:
        """Bytes in memory, or, where they are many, in a file of their own, which has no name and
        is gone when nobody looks at it any more.
        """
        with self.open(path) as file:
            if length <= _IN_MEMORY:
                return memoryview(file.read_at(offset, length)).toreadonly()
            return self._in_a_file(file, offset, length, path)

    def _in_a_file(self, file: RemoteFile, offset: int, length: int, path: str) -> memoryview:
        place = self._blocks.folder
        with suppress(OSError):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = str(place) if os.access(place, os.W_OK) else None
        with tempfile.TemporaryFile(dir=folder) as whole:
            status = os.fstatvfs(whole.fileno())
            if length > status.f_bavail * status.f_frsize - _LEFT_FREE:
                raise OSError(ENOSPC, f"no room on the disk for its {length} bytes", sealed(path))
            for at in range(offset, offset + length, MOST_AT_ONCE):
                data = file.read_at(at, min(MOST_AT_ONCE, offset + length - at))
                if not data:
                    break
                whole.write(data)
            whole.flush()
            whole.truncate(length)
            return memoryview(mmap.mmap(whole.fileno(), length, access=mmap.ACCESS_READ))


def _list(url: str, root: str) -> _Listing:
    """Raises `FileNotFoundError` where nothing is there, `OSError`, `CaptureError`."""
    fs, name = file_system_of(url)
    web = scheme_of(url) in WEB
    if web:
        status = _ask(url)  # a page is a directory; asked for first, since it says why it fails
        if status.is_file:
            return _Listing(root, time.monotonic(), {url: status}, frozenset())
    with told(url):
        fs.invalidate_cache()
        found: dict[str, Any] = fs.find(name, detail=True, **_depth(web))
    inside = name.rstrip("/") + "/"
    files: dict[str, Status | None] = {}
    for full, info in found.items():
        if full.rstrip("/") == name.rstrip("/"):
            files[url] = status_from(info, not web) or _ask(url)
        elif full.startswith(inside) and _is_plain(full[len(inside) :], web):
            files[f"{root}/{full[len(inside) :]}"] = status_from(info, not web)
    if len(files) > 1:
        files.pop(url, None)  # the page that lists the others, or the marker of a directory
    if not files:
        raise FileNotFoundError(ENOENT, "no such file or directory", url)
    ordered = sorted(files, key=lambda file: file.split("/"))
    folders = {file[:at] for file in files for at in _slashes(file, len(root))}
    if folders and "?" in root:
        raise OSError(EISDIR, "a directory, and its URL has a query", url)
    return _Listing(
        root, time.monotonic(), {file: files[file] for file in ordered}, frozenset(folders)
    )  # fmt: skip


def _depth(web: bool) -> dict[str, int]:
    """Pages may link to one another without end."""
    return {"maxdepth": DEEPEST + 1} if web else {}


def _is_plain(relative: str, web: bool) -> bool:
    """False for what leads elsewhere, and for markers of directories."""
    parts = (unquote(relative) if web else relative).split("/")
    if web and ("?" in relative or "#" in relative):
        return False
    return not any(part in ("", ".", "..") or "\0" in part for part in parts)


def _slashes(file: str, first: int) -> list[int]:
    """The ends of the folders that a file lies in, that of the root at `first` included."""
    return [at for at in range(first, len(file)) if file[at] == "/"]


def _ask(url: str) -> Status:
    """What the server says of one file. Raises `OSError`."""
    fs, name = file_system_of(url)
    web = scheme_of(url) in WEB
    with told(url):
        fs.invalidate_cache()
        info = dict(fs.info(name))
    if web and (str(info.get("url", url)).endswith("/") or info.get("mimetype") == "text/html"):
        return Status(0, False, True)
    status = status_from(info, not web)
    if status is None:
        raise OSError(EISDIR, "the server does not tell its size", url)
    return status


def _placed(root: str, url: str) -> FoundFile | None:
    """A file by its step and name; None for a hidden one."""
    relative = url[len(root) + 1 :]
    *folders, base = (unquote(relative) if scheme_of(root) in WEB else relative).split("/")
    if base.startswith(".") or any(folder.startswith(".") for folder in folders):
        return None
    step, kept = 0, []
    for at, folder in enumerate(folders):
        if folder.isdecimal() and len(folders[:at]) == len(kept):
            step = int(folder)
        else:
            kept.append(folder)
    problem = None
    if len(folders) > DEEPEST:
        problem = f"directories are nested more than {DEEPEST} deep"
    return FoundFile(url, url.rpartition("/")[0], "/".join([*kept, base]), step, problem)


STORAGE = FsspecStorage()
