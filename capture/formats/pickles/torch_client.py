"""Asks a child process with torch for tensors that the readers here do not know.

The child is started when first needed, serves one request at a time and ends with this process.
A file that makes torch crash or hang costs one record, not the program.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...dtypes import DTYPES
from ...errors import RecordError
from ...extras import has_package, needs
from ...records import Locator

if TYPE_CHECKING:
    from ...values import Array

START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from layertui.capture.formats.pickles.torch_child import main; main()"
)
SECONDS = 120.0  # importing torch from a cold disk takes a while
_BYTES_PER_SECOND = 20e6
_MOST_ANSWER = 256 << 20
_FORCING = ("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "PYTHONPATH")


@dataclass(frozen=True, slots=True)
class Listed:
    """A tensor that torch found; `index` counts them, `error` says why it cannot be had."""

    index: int
    keys: tuple[str, ...]
    dtype: str = ""
    shape: tuple[int, ...] = ()
    error: str | None = None


def list_tensors(path: str) -> list[Listed]:
    """The tensors of a file, in order. Raises `RecordError`."""
    answer = _CHILD.ask({"list": os.path.realpath(path)}, _timeout(path))
    return [
        Listed(
            index=tensor["index"],
            keys=tuple(tensor["keys"]),
            dtype=tensor.get("dtype", ""),
            shape=tuple(tensor.get("shape", ())),
            error=tensor.get("error"),
        )
        for tensor in answer["tensors"]
    ]


def load_tensor(locator: Locator) -> Array:
    """Raw elements, shape `locator.shape`; `locator.key` is the index. Raises `RecordError`."""
    import numpy as np

    with tempfile.TemporaryDirectory(prefix="layertui-") as private:
        into = os.path.join(private, "values")
        request = {
            "load": os.path.realpath(locator.path),
            "index": json.loads(locator.key),
            "into": into,
        }
        answer = _CHILD.ask(request, _timeout(locator.path))
        if answer["dtype"] != locator.dtype or tuple(answer["shape"]) != locator.shape:
            raise RecordError("the file has changed since it was listed")
        values = np.fromfile(into, np.dtype(DTYPES[locator.dtype].storage))
    if values.size != locator.count:
        raise RecordError("torch handed over fewer values than the tensor has")
    return values.reshape(locator.shape)


def _timeout(path: str) -> float:
    try:
        return SECONDS + os.path.getsize(path) / _BYTES_PER_SECOND
    except OSError as error:
        raise RecordError(f"cannot be read: {error.strerror or error}") from error


class _Child:
    """The process, and a lock that lets one thread at a time talk to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, request: dict[str, Any], timeout: float) -> dict[str, Any]:
        """The answer to a request. Raises `RecordError` for an error, a crash or `timeout`."""
        with self._lock:
            try:
                answer = self._exchange(request, time.monotonic() + timeout)
            except (RecordError, OSError, ValueError) as error:
                self._end()
                if isinstance(error, RecordError):
                    raise
                raise RecordError("torch could not read it: its process failed") from error
            except BaseException:  # an answer that nobody waited for must not meet the next request
                self._end()
                raise
        if "error" in answer:
            raise RecordError(answer["error"])
        return answer

    def end(self) -> None:
        """Kill the process, if there is one."""
        with self._lock:
            self._end()

    def _exchange(self, request: dict[str, Any], deadline: float) -> dict[str, Any]:
        process = self._process
        if process is None or process.poll() is not None:
            self._end()
            process = self._process = _started()
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
        answer = _line(process.stdout.fileno(), deadline)
        if answer is None:
            raise RecordError(f"torch crashed on this file ({_ending(process)})")
        return json.loads(answer)

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def _started() -> subprocess.Popen[bytes]:
    """Start a child that finds modules where this process does. It starts in `/`, since the
    directory of a capture may hold a `torch.py`. Raises `RecordError` without torch.
    """
    if not has_package("torch"):
        raise RecordError(needs("torch", "this kind of torch file"))
    environment = {key: value for key, value in os.environ.items() if key not in _FORCING}
    environment |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", START, json.dumps(sys.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=environment,
        start_new_session=True,  # Ctrl-C is for the program, not for its child
    )


def _line(pipe: int, deadline: float) -> bytes | None:
    """One line from a pipe; None at its end. Raises `RecordError` after `deadline`."""
    parts: list[bytes] = []
    length = 0
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while not parts or not parts[-1].endswith(b"\n"):
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise RecordError("torch took too long to read this file")
            part = os.read(pipe, 1 << 20)
            if not part:
                return None
            parts.append(part)
            length += len(part)
            if length > _MOST_ANSWER:
                raise RecordError("torch's answer did not end")
    return b"".join(parts)


def _ending(process: subprocess.Popen[bytes]) -> str:
    with contextlib.suppress(subprocess.TimeoutExpired):
        status = process.wait(timeout=5)
        return f"signal {-status}" if status < 0 else f"exit status {status}"
    return "no exit status"


_CHILD = _Child()


def _forget() -> None:
    """A forked process must not talk to its parent's child."""
    global _CHILD
    _CHILD = _Child()


def end_child() -> None:
    """End the process that reads files with torch; the next such file starts another."""
    _CHILD.end()


atexit.register(end_child)
os.register_at_fork(after_in_child=_forget)
