"""Where captures lie. Everything that reads a capture reads it through a `Storage`.

A path says which storage it belongs to: `scheme://...` to the one that is registered for the
scheme, or else to `remote`, which is loaded with the first such path; any other path to the local
file system. So records, which carry paths, can be sent to other processes as they are. Paths are
taken apart and joined with `/`, as `posixpath` does.

Captures are not trusted: `files` never leads out of the directory that it lists.
"""

from __future__ import annotations

import codecs
import errno
import io
import mmap
import os
from collections.abc import Sequence
from importlib import import_module
from stat import S_ISDIR, S_ISLNK, S_ISREG
from typing import BinaryIO, NamedTuple, Protocol, TextIO

from .errors import CaptureError
from .files import FoundFile
from .interpreter.kept_open import KEPT_OPEN, Descriptor

DEEPEST = 8  # directories below the capture that are looked into


class Status(NamedTuple):
    """What a path is. `identity` changes whenever the file's content may have; `place` is equal for
    all names of one file, links of both kinds included, and for no other file; empty: not known.
    `exact` says that `identity` is made of the content itself, so that nothing need be read to know
    it again.
    """

    size: int
    is_file: bool
    is_folder: bool
    identity: tuple[object, ...] = ()
    place: tuple[object, ...] = ()
    exact: bool = False


class OpenFile(Protocol):
    """A file that is read at any place, from several threads if need be."""

    size: int

    def read_at(self, offset: int, length: int) -> bytes:
        """Bytes from `offset` on, fewer than `length` only at the end of the file."""
        ...

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill the beginning of `buffer`; how many bytes, 0 only at the end of the file."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> OpenFile: ...

    def __exit__(self, *_: object) -> None: ...


class Storage(Protocol):
    """A place that holds captures. All methods raise `OSError`."""

    local: bool
    """True when other programs of this machine can open its paths too."""

    def files(self, path: str) -> list[FoundFile]:
        """Every regular file below `path`, sorted, or `path` itself when it is a file; with a
        `problem` what must not be opened. Raises `CaptureError` where there is nothing to list.
        """
        ...

    def expect(self, paths: Sequence[str]) -> None:
        """The beginnings of these files are read next: a storage that answers slowly may ask for
        all of them at once. Never an error.
        """
        ...

    def names(self, folder: str) -> list[str]:
        """What lies directly in `folder`, unsorted."""
        ...

    def status(self, path: str) -> Status | None:
        """What `path` is, links followed; None when there is nothing."""
        ...

    def is_link(self, path: str) -> bool:
        """True when `path` is a link, which could lead out of its capture; to nothing, too."""
        ...

    def real(self, path: str) -> str:
        """The one name of a file or directory that has several."""
        ...

    def open(self, path: str) -> OpenFile:
        """Open a file to be read at any place."""
        ...

    def stream(self, path: str) -> BinaryIO:
        """Open a file to be read from its beginning."""
        ...

    def map(self, path: str, offset: int, length: int) -> memoryview:
        """Bytes of a file, read-only; in memory only as far as they are looked at, if possible.
        The file is known to be long enough.
        """
        ...


class LocalFile:
    """An open file of this machine; several may share one descriptor, one after the other."""

    __slots__ = ("_kept", "_path", "descriptor", "size")

    def __init__(self, path: str) -> None:
        self._path = path
        self._kept: Descriptor | None = KEPT_OPEN.take(path) or _opened(path)
        self.descriptor = self._kept.number
        self.size = self._kept.size

    def read_at(self, offset: int, length: int) -> bytes:
        data = os.pread(self.descriptor, length, offset)
        while 0 < len(data) < length and offset + len(data) < self.size:  # 2 GiB a read at most
            more = os.pread(self.descriptor, length - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def read_into(self, buffer: memoryview, offset: int) -> int:
        return os.preadv(self.descriptor, [buffer], offset)

    def close(self) -> None:
        if self._kept is not None:
            kept, self._kept, self.descriptor = self._kept, None, -1
            KEPT_OPEN.put_back(self._path, kept)

    def __enter__(self) -> LocalFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _opened(path: str) -> Descriptor:
    current = KEPT_OPEN.round
    try:
        number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except ValueError as error:  # a null byte, or characters that no file's name can have
        raise FileNotFoundError(errno.ENOENT, str(error), path) from error
    try:
        status = os.fstat(number)
        if S_ISDIR(status.st_mode):
            raise IsADirectoryError(21, "Is a directory", path)
    except BaseException:
        os.close(number)
        raise
    return Descriptor(number, status.st_size, current)


class LocalStorage:
    """The file system of this machine."""

    local = True

    def files(self, path: str) -> list[FoundFile]:
        """See `Storage.files`. One pass of `scandir`, no file is opened.

        Hidden files are passed over. Directories named by a number are steps. Links are followed
        only inside the capture.
        """
        try:
            status = self.status(path)
        except OSError:
            status = None
        if status is None:
            raise CaptureError(f"{path}: no such file or directory")
        if status.is_file:
            return [FoundFile(path, os.path.dirname(path) or ".", os.path.basename(path), 0)]
        if not status.is_folder:
            raise CaptureError(f"{path}: neither a file nor a directory")
        found: list[FoundFile] = []
        _walk(path, os.path.realpath(path), "", 0, False, 0, found)
        return found

    def expect(self, paths: Sequence[str]) -> None:
        """Files of this machine are at hand."""

    def names(self, folder: str) -> list[str]:
        return os.listdir(folder)

    def status(self, path: str) -> Status | None:
        try:
            status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        mode = status.st_mode
        # The time of the inode's change cannot be set back as that of the content can.
        identity = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        place = (status.st_dev, status.st_ino)
        return Status(status.st_size, S_ISREG(mode), S_ISDIR(mode), identity, place)

    def is_link(self, path: str) -> bool:
        try:
            return S_ISLNK(os.lstat(path).st_mode)
        except (OSError, ValueError):
            return False

    def real(self, path: str) -> str:
        return os.path.realpath(path)

    def open(self, path: str) -> LocalFile:
        return LocalFile(path)

    def stream(self, path: str) -> BinaryIO:
        return open(path, "rb")

    def map(self, path: str, offset: int, length: int) -> memoryview:
        start = offset - offset % mmap.ALLOCATIONGRANULARITY
        with open(path, "rb") as file:
            whole = mmap.mmap(
                file.fileno(), offset + length - start, access=mmap.ACCESS_READ, offset=start
            )
        return memoryview(whole)[offset - start :]


def _walk(
    folder: str, root: str, prefix: str, step: int, stepped: bool, depth: int,
    found: list[FoundFile],
) -> None:  # fmt: skip
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        if depth == 0:
            raise CaptureError(f"{folder}: cannot be listed: {error.strerror}") from error
        found.append(FoundFile(folder, folder, prefix, step, f"cannot be listed: {error.strerror}"))
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        problem = _link_problem(entry, root)
        if problem is None and entry.is_dir():
            if depth == DEEPEST:
                problem = f"directories are nested more than {DEEPEST} deep"
            elif not stepped and entry.name.isdecimal():
                _walk(entry.path, root, prefix, int(entry.name), True, depth + 1, found)
                continue
            else:
                inner = f"{prefix}{entry.name}/"
                _walk(entry.path, root, inner, step, stepped, depth + 1, found)
                continue
        if problem is not None or entry.is_file():
            found.append(FoundFile(entry.path, folder, prefix + entry.name, step, problem))


def _link_problem(entry: os.DirEntry[str], root: str) -> str | None:
    if not entry.is_symlink():
        return None
    target = os.path.realpath(entry.path)
    if target == root or root.startswith(target + os.sep):
        return "a link to a directory that it lies in"
    if not target.startswith(root + os.sep):
        return "a link that leads out of the capture directory"
    return None if os.path.exists(target) else "a link to nothing"


LOCAL = LocalStorage()
_BY_SCHEME: dict[str, Storage] = {}
_SIGNS_OF_SCHEMES = str.maketrans("", "", "+.-")  # beside letters and digits
_REMOTE = ".remote.fsspec_storage"  # by name: it is built upon this module, and rarely needed


def register(scheme: str, storage: Storage) -> None:
    """Let paths `scheme://...` be read from `storage`, in this process."""
    _BY_SCHEME[scheme] = storage


def unregister(scheme: str) -> None:
    """Paths `scheme://...` are URLs like any other again."""
    _BY_SCHEME.pop(scheme, None)


def is_url(path: str) -> bool:
    """True for `scheme://...`. A directory of that name is `./scheme://...`."""
    scheme, mark, _ = path.partition("://")
    plain = scheme.translate(_SIGNS_OF_SCHEMES)
    return bool(mark) and plain.isalnum() and plain.isascii() and scheme[0].isalpha()


def storage_of(path: str) -> Storage:
    """The storage that holds `path`."""
    if "://" not in path or not is_url(path):
        return LOCAL
    known = _BY_SCHEME.get(path.partition("://")[0])
    return known or import_module(_REMOTE, __package__).STORAGE


def is_file(path: str) -> bool:
    """True for a regular file, or a link to one; False where that cannot be told."""
    status = _status_or_none(path)
    return status is not None and status.is_file


def is_folder(path: str) -> bool:
    """True for a directory, or a link to one; False where that cannot be told."""
    status = _status_or_none(path)
    return status is not None and status.is_folder


def _status_or_none(path: str) -> Status | None:
    try:
        return storage_of(path).status(path)
    except OSError:
        return None


def exists(path: str) -> bool:
    """True for a file, a directory and anything else; False where that cannot be told."""
    return _status_or_none(path) is not None


def size_of(path: str) -> int:
    """Bytes of a file. Raises `OSError`."""
    status = storage_of(path).status(path)
    if status is None:
        raise FileNotFoundError(2, "No such file or directory", path)
    return status.size


def open_file(path: str) -> OpenFile:
    """A file to be read at any place. Raises `OSError`."""
    return storage_of(path).open(path)


def open_stream(path: str) -> BinaryIO:
    """A file to be read from its beginning. Raises `OSError`."""
    return storage_of(path).stream(path)


def open_text(path: str) -> TextIO:
    """A text file in UTF-8, or in UTF-16 where its first bytes say so; bytes that are no text are
    replaced. Raises `OSError`.
    """
    wide = first_bytes(path, 2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    encoding = "utf-16" if wide else "utf-8-sig"
    return io.TextIOWrapper(storage_of(path).stream(path), encoding=encoding, errors="replace")


def first_bytes(path: str, most: int) -> bytes:
    """The first `most` bytes of a file, or all. Raises `OSError`."""
    with open_file(path) as file:
        return file.read_at(0, most)
