"""A child process in which an engine runs: native code may print anything, and may crash.

Told is what happens, a JSON object a line, on a descriptor that is nobody's standard stream.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import IO, Any


class Pipe:
    """The descriptor that the parent reads."""

    def __init__(self, descriptor: int) -> None:
        self._file = os.fdopen(descriptor, "w", encoding="utf-8")

    def tell(self, **fields: Any) -> None:
        self._file.write(json.dumps(fields) + "\n")
        self._file.flush()


def begin() -> tuple[dict[str, Any], Pipe]:
    """In the child: the request, a JSON line on standard input, and the pipe, whose descriptor is
    the last argument. From now on the child ends when the parent does.
    """
    pipe = Pipe(int(sys.argv[-1]))
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    return request, pipe


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


def messages(told: IO[str]) -> Iterator[dict[str, Any]]:
    """What the child tells, until it ends."""
    for line in told:
        try:
            message = json.loads(line)
        except ValueError:
            continue  # cut by a crash
        if isinstance(message, dict):
            yield message


def end_child(child: subprocess.Popen[bytes]) -> None:
    """Let a child that is done end by itself; kill it, and what it started, otherwise."""
    if child.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
    try:
        child.wait(timeout=2)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def search_path() -> list[str]:
    """Where this process finds modules, but not the working directory: it may hold a `max.py`."""
    return [place for place in sys.path if place]
