"""The process with torch, seen from here: started, asked, and killed with all that it started."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from ...capture.engines.child_process import search_path
from .messages import Idle, receive, send

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from layertui.compare.device.child import main; main()"
)
_LOOK = 0.02  # seconds between two looks whether to stop
_GRACE = 2.0  # seconds from the end of its messages to its own
_PATIENCE = 120.0  # seconds without a word: torch from a cold disk, a block from a slow one


class DeviceError(Exception):
    """There is no such device, or no torch; one line for the user."""


class LostError(Exception):
    """The process ended, or says nothing that is of use; a few words."""


class Hello(NamedTuple):
    """What the process says of itself: the version of torch (None: it cannot be imported), names of
    the GPUs that it sees, the device that it computes on (None: not there, `why` says so).
    """

    torch: str | None
    seen: tuple[str, ...]
    device: str | None
    why: str = ""


class DeviceProcess:
    """One process. Not to be used by two threads at once; `kill` may come from any thread."""

    def __init__(self, device: str) -> None:
        """Start it. Raises `LostError` where that cannot be done."""
        self._channel, theirs = socket.socketpair()
        self._channel.settimeout(_LOOK)
        command = [sys.executable, "-c", _START, json.dumps(search_path()), str(os.getpid())]
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [*command, device], stdin=theirs.fileno(), stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL, cwd="/", start_new_session=True,  # Ctrl-C is ours
                    env={**os.environ, "OMP_NUM_THREADS": "1"},  # cores are for the other pairs
                )  # fmt: skip
        except OSError as error:
            self._channel.close()
            raise LostError(f"cannot be started: {error.strerror or error}") from error

    @property
    def pid(self) -> int:
        return self._process.pid

    def hello(self, wait: bool = True) -> Hello | None:
        """What it says first; None where it has not said it yet and nobody is to `wait`. Raises
        `LostError`.
        """
        if not wait and not self._spoke():
            return None
        said = self.answer()
        seen = tuple(said.get("seen", ()))
        return Hello(said.get("torch"), seen, said.get("device"), said.get("why", ""))

    def _spoke(self) -> bool:
        self._channel.setblocking(False)
        try:
            self._channel.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True  # reading it says what is wrong
        finally:
            self._channel.settimeout(_LOOK)
        return True

    def ask(self, request: dict[str, Any], descriptors: tuple[int, int]) -> None:
        """Send a request. Raises `LostError`."""
        try:
            send(self._channel, request, descriptors)
        except OSError as error:
            raise LostError(self._ending()) from error

    def answer(self, stop: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """The next message. `stop` ends the waiting by what it raises. Raises `LostError`."""
        try:
            return receive(self._channel, _patient(stop))[0]
        except (EOFError, OSError) as error:
            raise LostError(self._ending()) from error
        except ValueError as error:
            raise LostError(f"says what cannot be understood: {error}") from error

    def kill(self) -> None:
        """End it now, and all that it started. May be called again."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self._process.returncode is None:
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._channel.close()

    def _ending(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self._process.wait(_GRACE)
            return f"was ended by {_name(-status)}" if status < 0 else f"ended with {status}"
        return "closed its connection"


def _patient(stop: Callable[[], None]) -> Idle:
    began = time.monotonic()

    def idle() -> None:
        stop()
        if time.monotonic() - began > _PATIENCE:
            raise LostError(f"said nothing for {_PATIENCE:g} s")

    return idle


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
