"""A real terminal for tests: a pty around `run_app`, with a pyte screen to look at."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Mapping
from pathlib import Path

import pyte

_RUN = (
    "import sys; from layertui.tui import run_app; "
    "sys.exit(run_app(sys.argv[1], sys.argv[2], **eval(sys.argv[3])))"
)
# What a terminal answers: synchronised output is supported.
_SYNC_QUERY, _SYNC_ANSWER = b"\x1b[?2026$p", b"\x1b[?2026;2$y"
# Every terminal says what it is; few tests want more than that.
_WHO, _IT_IS = b"\x1b[c", b"\x1b[?62;22c"
_PRIVATE = re.compile(rb"\x1b\[[<>=][0-9;]*[a-zA-Z]")  # kitty keys; pyte prints them


class PtyApp:
    """`run_app` in a pty. Use as a context manager; the process is gone at its end."""

    def __init__(
        self, reference: Path, candidate: Path, *, size: tuple[int, int] = (200, 50),
        env: Mapping[str, str] | None = None, options: str = "{}", ground: bytes = b"",
    ) -> None:  # fmt: skip
        self.columns, self.rows = size
        self._ground = ground  # what it answers about the colour of its ground
        self.screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self.screen)
        self.sent = bytearray()
        argv = [sys.executable, "-c", _RUN, str(reference), str(candidate), options]
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            # The size must be there before the program asks for it.
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
            os.execve(sys.executable, argv, _environment(env or {}))
        self.status: int | None = None
        self._kept_open: int | None = None

    def __enter__(self) -> PtyApp:
        return self

    def __exit__(self, *_: object) -> None:
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)
        if self._kept_open is not None:
            os.close(self._kept_open)

    def read(self, quiet: float = 0.25, limit: float = 10.0, first: float = 0.0) -> bytes:
        """What the program writes until it has written nothing for `quiet` seconds, or for `first`
        seconds at the beginning.
        """
        out = bytearray()
        end = time.monotonic() + limit
        while time.monotonic() < end:
            ready, _, _ = select.select([self.fd], [], [], quiet if out else max(quiet, first))
            if not ready:
                break
            try:
                data = os.read(self.fd, 1 << 16)
            except OSError:  # the program has closed its side
                break
            if not data:
                break
            if _SYNC_QUERY in data:
                os.write(self.fd, _SYNC_ANSWER)
            if _WHO in data:
                os.write(self.fd, self._ground + _IT_IS)
            out += data
        self.sent += out
        self._stream.feed(_PRIVATE.sub(b"", bytes(out)))
        return bytes(out)

    def wait_for(self, text: str, limit: float = 90.0) -> None:
        """Until `text` is on the screen."""
        end = time.monotonic() + limit
        while text not in self.text:
            assert time.monotonic() < end, f"{text!r} is not on the screen:\n{self.text}"
            self.read(0.05, 0.5)

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display)

    def press(self, keys: str | bytes, quiet: float = 0.15, first: float = 0.0) -> bytes:
        """Send keys; what the program writes in answer, which may take `first` seconds to come."""
        os.write(self.fd, keys.encode() if isinstance(keys, str) else keys)
        return self.read(quiet, first=first)

    def hang_up(self) -> None:
        """Close the terminal's own end, as a connection that breaks does."""
        silent, self._kept_open = os.pipe()
        os.dup2(silent, self.fd)
        os.close(silent)

    def wait_for_exit(self, limit: float = 60.0) -> int:
        """The exit status; negative for a signal that killed it."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            self.read(0.05, 0.2)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.read(0.05, 0.2)
                self.status = os.waitstatus_to_exitcode(status)
                return self.status
        raise AssertionError(f"still running:\n{self.text}")


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    dropped = (
        "SSH_CONNECTION", "NO_COLOR", "TMUX", "LC_ALL", "LC_CTYPE", "COLUMNS", "LINES",
    )  # fmt: skip
    base = {k: v for k, v in os.environ.items() if k not in dropped and "TEXTUAL" not in k}
    base |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
    return {**base, **extra}
