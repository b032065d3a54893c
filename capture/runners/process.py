"""The process of a runner: started, asked, told to stop, and killed with all that it started.

What a runner prints on standard error goes to a log in the private directory; its last line is
quoted when the runner crashes. Standard output carries the protocol and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..dtypes import DTYPES
from ..errors import RecordError
from ..formats import safetensors_file
from ..records import Locator
from .guard import Guard
from .layers import RerunError
from .protocol import PROTOCOL, Answer, Hello, decode, encode, error_text, read_answer, read_hello

Progress = Callable[[str], None]
Cancelled = Callable[[], bool]

_POLL = 0.1
_GRACE = 2.0  # seconds that a runner has to end, or to give up a rerun
_MOST_LINE = 64 << 20
_LOG_END = 4096


class RerunCancelledError(Exception):
    """The user stopped the rerun. The runner may have been killed for it."""


class RunnerProcess:
    """One process. Not to be used by two threads at once; `kill` may come from any thread.

    `timeout` is how many seconds the start and each rerun may take.
    """

    def __init__(
        self, command: Sequence[str], guard: Guard, *, model: str = "", timeout: float = 600.0,
        environment: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self._command = list(command)
        self._guard = guard
        self._model = model
        self._timeout = timeout
        self._environment = dict(environment) if environment is not None else None
        self._log = guard.directory / "runner.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._pending = b""
        self._number = 0
        self._lock = threading.Lock()
        self.hello: Hello | None = None

    @property
    def alive(self) -> bool:
        """True while the process runs and has said hello."""
        process = self._process
        return self.hello is not None and process is not None and process.poll() is None

    @property
    def pid(self) -> int | None:
        """Of the process, None when there is none."""
        return self._process.pid if self._process is not None else None

    def start(self, progress: Progress, cancelled: Cancelled) -> Hello:
        """Start the process and wait for its hello. Raises `RerunError`, `RerunCancelledError`."""
        self.end()
        try:
            self._spawn()
            said = {"type": "hello", "protocol": PROTOCOL, "model": self._model,
                    "directory": str(self._guard.directory)}  # fmt: skip
            self._send(said)
            deadline = time.monotonic() + self._timeout
            while True:
                message = self._message(deadline, cancelled)
                if message["type"] != "progress":
                    break
                progress(_progress_text(message))
            self.hello = read_hello(message)
            return self.hello
        except BaseException:
            self.end()
            raise

    def rerun(
        self, layer: str, tensors: Path, into: Path, progress: Progress, cancelled: Cancelled,
        call: dict[str, Any] | None = None,
    ) -> tuple[Answer, dict[str, Locator]]:  # fmt: skip
        """Run one layer; returns where its outputs lie in `into`, by slot.

        Raises `RerunError` in words, after which `alive` tells whether the process is still of
        use, and `RerunCancelledError`.
        """
        self._number += 1
        number = self._number
        request: dict[str, Any] = {"type": "rerun", "id": number, "layer": layer,
                                   "tensors": str(tensors), "into": str(into)}  # fmt: skip
        if call is not None:
            request["call"] = call
        try:
            self._send(request)
            answer = self._answer(number, progress, cancelled)
            return answer, _located(into, answer)
        except _SaidError as error:
            raise RerunError(str(error)) from error
        except RerunCancelledError:
            raise  # it gave up, or was ended
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        """Let the process end by itself for a moment, then kill it and what it started."""
        with self._lock:
            process, self._process = self._process, None
            self.hello, self._pending = None, b""
            if process is None:
                return
            if process.stdin is not None:
                with contextlib.suppress(OSError):
                    process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE if process.poll() is None else 0)
            self._kill_group(process)
            if process.stdout is not None:
                process.stdout.close()

    def kill(self) -> None:
        """End the process at once, from any thread; whoever waits for it gets an error."""
        process = self._process
        if process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)

    # --- inside

    def _spawn(self) -> None:
        try:
            with open(self._log, "wb") as log:
                self._process = subprocess.Popen(
                    self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                    env=self._environment, start_new_session=True,  # Ctrl-C is heard here, once
                )  # fmt: skip
        except OSError as error:
            words = error.strerror or str(error)
            raise RerunError(f"{self._command[0]}: cannot be started: {words}") from error
        self._guard.watch(self._process.pid)

    def _kill_group(self, process: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # also what it left running
        process.wait()
        self._guard.watch(None)

    def _send(self, message: dict[str, Any]) -> None:
        process = self._process
        if process is None or process.stdin is None:
            raise RerunError("the runner is not running")
        try:
            process.stdin.write(encode(message))
            process.stdin.flush()
        except OSError as error:
            raise RerunError(self._ending()) from error

    def _answer(self, number: int, progress: Progress, cancelled: Cancelled) -> Answer:
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                message = self._message(deadline, cancelled)
            except RerunCancelledError:
                self._give_up(number)
                raise
            kind, about = message["type"], message.get("id")
            if kind == "progress":
                progress(_progress_text(message))
            elif kind == "error" and about is None:
                raise RerunError(error_text(message))
            elif about != number:
                raise RerunError(f"the runner answered {about!r}, which was not asked")
            elif kind == "error":
                raise _SaidError(error_text(message))
            elif kind == "outputs":
                return read_answer(message)
            else:
                raise RerunError(f"the runner answered {str(kind)[:40]!r} to a rerun")

    def _give_up(self, number: int) -> None:
        """Ask the runner to stop, which keeps what it has compiled; it is killed otherwise."""
        try:
            self._send({"type": "cancel", "id": number})
            deadline = time.monotonic() + _GRACE
            while True:
                message = self._message(deadline, _never)
                if message.get("id") == number and message["type"] in ("error", "outputs"):
                    return
        except RerunError:
            self.end()

    def _message(self, deadline: float, cancelled: Cancelled) -> dict[str, Any]:
        return decode(self._line(deadline, cancelled))

    def _line(self, deadline: float, cancelled: Cancelled) -> bytes:
        """One line. Raises `RerunError` at the end of the output or of the time."""
        process = self._process
        if process is None or process.stdout is None:
            raise RerunError("the runner is not running")
        parts, length = [self._pending], len(self._pending)
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while b"\n" not in parts[-1]:
                if cancelled():
                    self._pending = b"".join(parts)
                    raise RerunCancelledError
                left = deadline - time.monotonic()
                if left <= 0:
                    raise RerunError(f"the runner did not answer within {self._timeout:g} s")
                if not selector.select(min(_POLL, left)):
                    continue
                part = os.read(process.stdout.fileno(), 1 << 20)
                if not part:
                    raise RerunError(self._ending())
                parts.append(part)
                length += len(part)
                if length > _MOST_LINE:
                    raise RerunError("the runner printed an endless line")
        line, _, self._pending = b"".join(parts).partition(b"\n")
        return line

    def _ending(self) -> str:
        """How the process ended, with its last words."""
        process = self._process
        how = "ended"
        if process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = process.wait(_GRACE)
                how = f"ended with status {status}"
                if status < 0:
                    how = f"crashed ({_signal_name(-status)})"
        last = self._last_words()
        return f"the runner {how}" + (f"; its last output: {last}" if last else "")

    def _last_words(self) -> str:
        with contextlib.suppress(OSError), open(self._log, "rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - _LOG_END))
            lines = [line for line in log.read().decode("utf-8", "replace").splitlines() if line]
            words = lines[-1].strip()[:200] if lines else ""
            return "".join(c if c.isprintable() else "?" for c in words)
        return ""


class _SaidError(Exception):
    """The runner said in words that it cannot run this layer; it goes on."""


def _never() -> bool:
    return False


def _progress_text(message: dict[str, Any]) -> str:
    return error_text(message) if message.get("text") else ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _located(into: Path, answer: Answer) -> dict[str, Locator]:
    """The outputs in the file, in the runner's order. Raises `RerunError`."""
    if into.is_symlink() or not into.is_file():
        raise RerunError("the runner reported success, but wrote no outputs")
    found = located_in(into)
    if not found:
        raise RerunError("the runner reported success, but returned no outputs")
    order = [slot for slot in answer.slots if slot in found]
    return {slot: found[slot] for slot in dict.fromkeys([*order, *found])}


def located_in(path: Path) -> dict[str, Locator]:
    """Where the tensors of a safetensors file lie, by key. Raises `RerunError`."""
    try:
        found = safetensors_file.locate_all(safetensors_file.read_file_header(str(path)))
    except RecordError as error:
        raise RerunError(f"the runner's outputs cannot be read: {error}") from error
    except OSError as error:
        words = error.strerror or error
        raise RerunError(f"the runner's outputs cannot be read: {words}") from error
    located: dict[str, Locator] = {}
    for slot, place in found.items():
        if isinstance(place, RecordError):
            raise RerunError(f"the runner's {slot} cannot be read: {place}") from place
        located[slot] = place
    return located


def write_tensors(path: Path, tensors: Mapping[str, tuple[str, tuple[int, ...], bytes]]) -> None:
    """Write a safetensors file of dtype, shape and plain little-endian bytes by key.

    Raises `OSError`, and `RerunError` for a dtype that the format has no code for.
    """
    import json

    entries: dict[str, Any] = {}
    at = 0
    for key, (dtype, shape, data) in tensors.items():
        code = DTYPES[dtype].safetensors
        if code is None:
            raise RerunError(f"{key}: {dtype} cannot be handed to a runner")
        entries[key] = {"dtype": code, "shape": list(shape), "data_offsets": [at, at + len(data)]}
        at += len(data)
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8)
    with open(path, "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for _, _, data in tensors.values():
            file.write(data)
