"""The directory of a new capture: made, or emptied of what an earlier capture wrote.

Nothing else is ever deleted. A shard says itself that layertui wrote it; torch files are listed in
`.layertui-files` before they are written.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from ...errors import CaptureError
from ...files import MANIFEST
from ...weights import recorded

FILES = ".layertui-files"
PARTIAL = ".layertui-partial"  # behind the name of a file that is being written
MARK = {"format": "pt", "layertui": "1"}  # `__metadata__` of our shards

_SHARD = re.compile(r"data-\d{5,}\.safetensors")
_STEP_FILE = re.compile(r"\d+/(?:[^/]+\.pt|tensor_names\.txt)")
_MOST_HEADER = 100_000_000
_PARAMETERS = (recorded.INDEX, recorded.TENSORS)


def prepare(path: str, overwrite: bool) -> None:
    """Make `path` an existing directory without a capture in it. Raises `CaptureError`."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
        entries = os.listdir(path)
        if not entries:
            return
        if not overwrite:
            raise CaptureError(f"{path}: not empty; choose another directory or overwrite=True")
        _refuse_while_written(path)
        for name in list(_written_by_capture(path)):
            Path(path, name).unlink()
        _remove_empty_steps(path)
        left = [name for name in os.listdir(path) if _collides(path, name)]
    except FileExistsError as error:
        raise CaptureError(f"{path}: a file, not a directory") from error
    except OSError as error:
        raise CaptureError(f"{path}: cannot be written: {error.strerror or error}") from error
    if left:
        raise CaptureError(
            f"{path}: {left[0]} was not written by a capture and would be replaced; remove it first"
        )


def _written_by_capture(path: str) -> Iterator[str]:
    """Files below `path` that earlier captures wrote, relative to it; plain files only."""
    for name in sorted(os.listdir(path)):
        full = os.path.join(path, name)
        if Path(full).is_symlink() or not os.path.isfile(full):
            continue
        ours = name.endswith(PARTIAL) and name.startswith(".")
        if name == MANIFEST:
            ours = _is_manifest(full)
        elif _SHARD.fullmatch(name):
            ours = _is_our_shard(full)
        elif name in _PARAMETERS:
            ours = recorded.is_ours(full)
        elif name == FILES:
            yield from _listed(path, full)
            ours = True
        if ours:
            yield name


def _listed(path: str, journal: str) -> Iterator[str]:
    with open(journal, encoding="utf-8", errors="replace") as file:
        names = dict.fromkeys(line.rstrip("\n") for line in file)
    for name in names:
        if not _STEP_FILE.fullmatch(name) or Path(path, name.split("/")[0]).is_symlink():
            continue
        folder, base = name.split("/")
        for candidate in (name, f"{folder}/.{base}{PARTIAL}"):
            full = os.path.join(path, candidate)
            if os.path.isfile(full) and not Path(full).is_symlink():
                yield candidate


def _is_manifest(path: str) -> bool:
    with open(path, "rb") as file:
        first = file.readline(1 << 20)
    try:
        header = json.loads(first)
    except ValueError:
        return not first  # a writer that was killed at once
    return isinstance(header, dict) and type(header.get("layertui")) is int


def _is_our_shard(path: str) -> bool:
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        text = file.read(length) if length <= _MOST_HEADER else b""
    try:
        header = json.loads(text)
        return "layertui" in header["__metadata__"]
    except (ValueError, KeyError, TypeError):
        return False


def _collides(path: str, name: str) -> bool:
    return name in (MANIFEST, *_PARAMETERS) or bool(_SHARD.fullmatch(name)) or (
        name.isdecimal() and os.path.isdir(os.path.join(path, name))
    )  # fmt: skip


def _remove_empty_steps(path: str) -> None:
    for name in os.listdir(path):
        full = os.path.join(path, name)
        if name.isdecimal() and os.path.isdir(full) and not Path(full).is_symlink():
            with contextlib.suppress(OSError):  # not empty: somebody else's
                Path(full).rmdir()


def lock(descriptor: int) -> None:
    """Mark an open file as being written; the mark goes away with the process."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):  # no such locks here: only the check below is lost
        return


def _refuse_while_written(path: str) -> None:
    try:
        import fcntl
    except ImportError:
        return
    for name in (MANIFEST, FILES):
        full = os.path.join(path, name)
        if not os.path.isfile(full):
            continue
        with open(full, "rb") as file:
            try:
                fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise CaptureError(f"{path}: another capture is writing here") from error


def sync_directory(path: str) -> None:
    """Make renames in `path` survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
