"""The directories that `layertui capture` writes: refused when in use, emptied when asked to, and
large enough for what will be written.

Nothing is deleted that no capture wrote: a directory of MAX's files is ours when our
`layertui.json` lies in it, a matrix when our index does.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from ..cases import INDEX, read_index
from ..errors import CaptureError
from ..run_metadata import METADATA, is_ours
from ..sizes import byte_text

MAX_LOGS = ("max_stderr.log", "max_stdout.log")
_STEP_FILE = re.compile(r"[^/]+\.max|tensor_names\.txt")


def refuse_in_use(path: str, overwrite: bool) -> None:
    """Raises `CaptureError` when `path` is no directory, or not empty and `overwrite` is not asked
    for. Changes nothing: for the moment before a model is loaded.
    """
    if os.path.lexists(path) and not os.path.isdir(path):
        raise CaptureError(f"{path}: a file, not a directory")
    try:
        if os.path.isdir(path) and os.listdir(path) and not overwrite:
            raise CaptureError(f"{path}: not empty (--overwrite replaces a capture)")
    except OSError as error:
        raise CaptureError(f"{path}: cannot be listed: {error.strerror or error}") from error


def prepare_directory(path: str, overwrite: bool) -> None:
    """Make `path` a directory without a capture in it.

    Raises `CaptureError` when it is not empty and `overwrite` is not asked for, or when what lies
    in it was not written by a capture.
    """
    from ..recorder.sinks.directory import prepare

    refuse_in_use(path, overwrite)
    try:
        if overwrite:
            _clear(path)
        prepare(path, overwrite)
        for name in os.listdir(path):
            if name == METADATA:
                raise CaptureError(f"{path}: {METADATA} was not written by a capture")
    except OSError as error:
        raise CaptureError(f"{path}: cannot be written: {error.strerror or error}") from error


def _clear(path: str) -> None:
    if Path(path).is_symlink() or not os.path.isdir(path):
        return
    cases = read_index(path)
    for place in (cases or {}).values():
        _clear(place)
        if os.path.isdir(place) and not Path(place).is_symlink():
            from ..recorder.sinks.directory import prepare

            prepare(place, True)
            _remove_if_empty(place)
    if cases is not None:
        Path(path, INDEX).unlink()
    if is_ours(path):
        _clear_max(path)


def _clear_max(path: str) -> None:
    for name in os.listdir(path):
        full = os.path.join(path, name)
        if name.isdecimal() and os.path.isdir(full) and not Path(full).is_symlink():
            for inner in os.listdir(full):
                if _STEP_FILE.fullmatch(inner):
                    Path(full, inner).unlink()
            _remove_if_empty(full)
    for name in (*MAX_LOGS, METADATA):
        full = os.path.join(path, name)
        if os.path.lexists(full):
            Path(full).unlink()


def _remove_if_empty(path: str) -> None:
    if not os.listdir(path):
        Path(path).rmdir()


def check_space(path: str, need: float) -> None:
    """Raises `CaptureError` when the disk of `path` has less than `need` bytes free."""
    free = shutil.disk_usage(path).free
    if need > free:
        raise CaptureError(
            f"{path}: needs about {byte_text(need)}, {byte_text(free)} are free; --outputs-only, "
            "--include, --layers, --tokens and --stats-only make a capture smaller"
        )
