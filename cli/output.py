"""Writing results: whole files only, nothing overwritten unasked, a closed pipe is no accident."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from .errors import UserError


def check_target(path: str, overwrite: bool) -> None:
    """Refuse a target that cannot be written, before any work is done for it.

    Raises `UserError` when `path` exists (unless `overwrite`), is a directory, or has no
    directory to lie in. Devices and pipes are written as they are.
    """
    if path == "-":
        return
    if os.path.isdir(path):
        raise UserError(f"{path}: is a directory, not a file to write")
    if os.path.lexists(path) and not _is_stream(path) and not overwrite:
        raise UserError(f"{path}: exists already (--overwrite replaces it)")
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise UserError(f"{path}: no directory {folder}")


def write_output(path: str, content: str | bytes, overwrite: bool) -> None:
    """Write `content` to `path` (`-`: standard output), whole or not at all.

    Raises `UserError` when the file cannot be written or has appeared meanwhile.
    """
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    if path == "-":
        write_stdout(data)
        return
    try:
        if _is_stream(path):
            with open(path, "wb") as stream:
                stream.write(data)
        else:
            _write_file(Path(path).resolve(), data, overwrite)
    except FileExistsError as error:
        raise UserError(f"{path}: exists already (--overwrite replaces it)") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error


def write_stdout(data: bytes) -> None:
    """Write to standard output; a reader that has gone away (`| head`) is not an error.

    Raises `UserError` when it is closed or full.
    """
    if sys.stdout is None:
        raise UserError("standard output is closed")
    flush_stdout(data)


def flush_stdout(more: bytes = b"") -> None:
    """Write what is still buffered, then `more`. Raises `UserError`; the rest is given up then."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
        if more:
            sys.stdout.buffer.write(more)
            sys.stdout.buffer.flush()
    except BrokenPipeError:
        _discard_stdout()
    except OSError as error:
        _discard_stdout()
        raise UserError(f"standard output: {error.strerror or error}") from error


def _discard_stdout() -> None:
    """Point standard output at the null device, so that the final flush has nowhere to fail."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def stderr_is_terminal() -> bool:
    """True where progress can be shown; standard error may be closed."""
    return sys.stderr is not None and sys.stderr.isatty()


def _is_stream(path: str) -> bool:
    """A device, pipe or socket: `/dev/null`, `>(command)`."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _write_file(path: Path, data: bytes, overwrite: bool) -> None:
    import tempfile  # half of what is imported for it is needed nowhere else

    handle, name = tempfile.mkstemp(prefix=".layertui-", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        _move(temporary, path, overwrite)
    finally:
        temporary.unlink(missing_ok=True)


def _move(temporary: Path, path: Path, overwrite: bool) -> None:
    """Rename; without `overwrite` a link is made instead, which fails if the name is taken."""
    if overwrite:
        temporary.replace(path)
        return
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError as error:  # a file system without hard links
        if path.exists():
            raise FileExistsError(path) from error
        temporary.replace(path)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
