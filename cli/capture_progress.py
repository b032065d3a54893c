"""How far a capture or a rerun is: a line on the terminal that is drawn anew, or lines in a log."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType

import click

from ..capture.sizes import byte_text, size_of
from .output import stderr_is_terminal

_EVERY = 0.25  # seconds between two drawings on a terminal
EVERY_LINE = 10.0  # seconds between two lines where there is none: a log is not flooded
_CELLS = 20


class CaptureProgress:
    """A `Watcher` that prints sentences on standard output, and progress on standard error: on a
    terminal a line that goes away when this context is left, elsewhere a line every ten seconds, so
    that what is quick says nothing and what takes minutes is not silent.
    """

    def __init__(self) -> None:
        self._shown = stderr_is_terminal()
        self._lock = threading.Lock()
        self._text, self._folder = "", ""
        self._done = self._total = 0
        self._since = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._draw_often, daemon=True)

    def __enter__(self) -> CaptureProgress:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._shown:
            self._erase()

    def say(self, line: str) -> None:
        with self._lock:
            if self._shown:
                self._erase()
            click.echo(click.format_filename(line))

    def stage(self, text: str, folder: str = "") -> None:
        self._text, self._folder = text, folder
        self._done = self._total = 0
        self._since = time.monotonic()

    def detail(self, text: str) -> None:
        """What is done now, within the same stage: its time and its layers go on."""
        self._text = text

    def layers(self, done: int, total: int) -> None:
        self._done, self._total = done, total

    def _draw_often(self) -> None:
        start, end = ("\r", "\x1b[K") if self._shown else ("", "\n")
        while not self._stop.wait(_EVERY if self._shown else EVERY_LINE):
            if self._text:
                line = self._line()
                with self._lock:
                    print(f"{start}{line}", end=end, file=sys.stderr, flush=True)

    def _line(self) -> str:
        parts = [self._text]
        if self._total:
            filled = _CELLS * self._done // self._total
            parts.append(f"[{'#' * filled}{'.' * (_CELLS - filled)}]")
            parts.append(f"layer {self._done} of {self._total}")
        if self._folder:
            parts.append(byte_text(size_of(self._folder)))
        minutes, seconds = divmod(int(time.monotonic() - self._since), 60)
        parts.append(f"{minutes}:{seconds:02}")
        return "  ".join(parts)

    def _erase(self) -> None:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
