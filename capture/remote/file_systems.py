"""What fsspec's file systems say and do, in the words and errors of the storage.

Nothing of fsspec is imported before the first URL is opened. Credentials are found by the
packages themselves (`AWS_PROFILE`, `~/.aws`, `GOOGLE_APPLICATION_CREDENTIALS`, fsspec's own
configuration).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from errno import EACCES, EINVAL, EIO, ENOENT
from functools import cache
from typing import Any

from ..errors import CaptureError
from ..extras import has_package, needs
from ..storage import Status
from .urls import WEB, opened, scheme_of, scrubbed, sealed

_ATTEMPTS = 3  # of a request that the network failed
_PAUSE = 0.5  # seconds before the second attempt, twice as long before the third
_LONGEST = 200  # characters of what a library says
# What tells two contents of an object apart, best first; `created` is that of fsspec's `memory`.
_CONTENT = ("etag", "generation", "md5hash", "content-md5", "content_md5", "md5", "digest")
_TIMES = (
    "last-modified",
    "lastmodified",
    "last_modified",
    "mtime",
    "updated",
    "modified",
    "created",
)


def file_system_of(url: str) -> tuple[Any, str]:
    """The file system of a sealed URL, and the file's name in it. Raises `OSError`;
    `CaptureError` where a package is missing.
    """
    whole, scheme = opened(url), scheme_of(url)
    if not has_package("fsspec"):
        raise CaptureError(f"{scheme}://: {needs('remote', 'reading captures by URL')}")
    from fsspec.core import url_to_fs

    if scheme not in _protocols():
        raise CaptureError(
            f"{scheme}://: of no kind that fsspec reads, such as s3, gs, abfs, https"
        )
    with told(url):
        return url_to_fs(whole)


@cache
def _protocols() -> frozenset[str]:
    from fsspec import available_protocols

    local = {"file", "local"}  # a path says it shorter, and without leaving the capture by links
    return frozenset(available_protocols()) - local


@contextlib.contextmanager
def told(url: str) -> Iterator[None]:
    """Let what a library raises be an `OSError` that names the sealed `url`, or, where a package
    is missing, a `CaptureError`. Nothing of the original is kept: it may quote a password.
    """
    try:
        yield
    except CaptureError:
        raise
    except Exception as error:
        raise _as_ours(error, sealed(url)) from None


def _as_ours(error: BaseException, url: str) -> Exception:
    if isinstance(error, ImportError):
        return CaptureError(f"{scheme_of(url)}:// needs a package that is missing: {_words(error)}")
    if isinstance(error, FileNotFoundError) and scheme_of(url) in WEB:
        error = error.__cause__ or error  # fsspec says "not found" of every failure here
    if isinstance(error, (FileNotFoundError, NotADirectoryError)) or _status(error) == 404:
        return FileNotFoundError(ENOENT, "no such file or directory", url)
    if isinstance(error, PermissionError) or _status(error) in (401, 403):
        return PermissionError(EACCES, f"access is denied ({_words(error)})", url)
    # What an argument is to blame for, as a server that knows no ranges, stays so.
    return OSError(EINVAL if isinstance(error, ValueError) else EIO, _words(error), url)


def _status(error: BaseException) -> int | None:
    """The status of an answer over HTTP."""
    status = getattr(error, "status", None)
    return status if isinstance(status, int) else None


def _words(error: BaseException) -> str:
    """One line of what a library says, without what is secret."""
    plain = type(error).__module__ == "builtins" and getattr(error, "strerror", None)
    said = str(plain or error)
    line = " ".join(scrubbed(said).split())[:_LONGEST]
    return line if line else type(error).__name__


def fetched(fs: Any, name: str, url: str, start: int, end: int, size: int) -> bytes:
    """The bytes `[start, end)` of a file of `size`, in memory. What the network fails is tried
    again. Raises `OSError`, also where fewer came.
    """
    data = _tried(lambda: _range(fs, name, url, start, end, size), url)
    if len(data) != end - start:
        said = f"truncated: {len(data)} of the {end - start} bytes at {start} came"
        raise OSError(EIO, said, url)
    return data


def _tried(call: Callable[[], bytes], url: str) -> bytes:
    for attempt in range(1, _ATTEMPTS):
        try:
            with told(url):
                return call()
        except OSError as error:
            if error.errno != EIO:
                raise
            time.sleep(_PAUSE * attempt)
    with told(url):
        return call()


def _range(fs: Any, name: str, url: str, start: int, end: int, size: int) -> bytes:
    if scheme_of(url) not in WEB:
        return fs.cat_file(name, start=start, end=end)
    # `cat_file` takes the whole file where a web server ignores ranges; an open file says so.
    with fs.open(name, "rb", size=size, cache_type="none") as file:
        file.seek(start)
        return file.read(end - start)


def status_from(info: dict[str, Any], exact: bool) -> Status | None:
    """What a listing or a question says of a file; None where it does not tell the size. `exact`
    where digests are of the content: those of web servers are made of sizes and times.
    """
    if info.get("type") == "directory":
        return Status(0, False, True)
    size = info.get("size")
    if not isinstance(size, int):
        return None
    facts = {key.lower(): value for key, value in info.items()}
    for name in (*_CONTENT, *_TIMES):
        if facts.get(name):
            identity = (size, name, str(facts[name]).strip('"'))
            return Status(size, True, False, identity, exact=exact and name in _CONTENT)
    return Status(size, True, False)
