"""A program in a pseudo-terminal: when a text appears, what a key costs in bytes and time."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from dataclasses import dataclass
from pathlib import Path

# Compiled modules are kept, as those of an installed package are.
_NOT_INHERITED = ("NO_COLOR", "TMUX", "PYTHONDONTWRITEBYTECODE")
# What the program asks of its terminal, and the answers.
SYNC_QUERY, SYNC_ANSWER = b"\x1b[?2026$p", b"\x1b[?2026;2$y"
WHO, IT_IS = (
    b"\x1b[c",
    b"\x1b]11;rgb:0000/0000/0000\x1b\\\x1b[?62;22c",
)


@dataclass(slots=True)
class Terminal:
    """A child process on a pseudo-terminal of `columns` x `rows`, truecolor by default."""

    pid: int
    fd: int

    @classmethod
    def start(
        cls, argv: list[str], home: Path, columns: int = 200, rows: int = 50, **env: str
    ) -> Terminal:
        """Run `argv`; caches and settings go below `home`."""
        pid, fd = pty.fork()
        if pid == 0:
            inherited = {k: v for k, v in os.environ.items() if k not in _NOT_INHERITED}
            xdg = {f"XDG_{name}_HOME": str(home) for name in ("CACHE", "CONFIG", "STATE")}
            terminal = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
            os.execvpe(argv[0], argv, {**inherited, **xdg, **terminal, **env})
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        return cls(pid, fd)

    def read(self, quiet: float, until: bytes | None = None, limit: float = 60.0) -> bytes:
        """What arrives until `quiet` seconds pass without a byte, or until a text has arrived."""
        seen = bytearray()
        end = time.perf_counter() + limit
        while time.perf_counter() < end:
            wait = min(quiet if until is None else limit, max(0.0, end - time.perf_counter()))
            if not select.select([self.fd], [], [], wait)[0]:
                break
            try:
                data = os.read(self.fd, 1 << 16)
            except OSError:
                break
            if SYNC_QUERY in data:
                os.write(self.fd, SYNC_ANSWER)
            if WHO in data:
                os.write(self.fd, IT_IS)
            seen += data
            if until is not None and until in seen:
                break
        return bytes(seen)

    def key(self, keys: bytes, quiet: float = 0.15, first: float = 2.0) -> tuple[bytes, float]:
        """Send a key; what it made the program write, and seconds until its last byte: the first
        one may take `first` seconds, others `quiet` after the one before.
        """
        started = last = time.perf_counter()
        os.write(self.fd, keys)
        seen = bytearray()
        while select.select([self.fd], [], [], quiet if seen else first)[0]:
            seen += os.read(self.fd, 1 << 16)
            last = time.perf_counter()
        return bytes(seen), last - started

    def stop(self) -> None:
        """Kill the program and take its exit status."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)
