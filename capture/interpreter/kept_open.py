"""Descriptors of files that are read again and again, kept open between two readings.

Opening and closing a file give the interpreter's lock away, and the thread waits until it has it
again: where several threads read many small parts, that is a sixth of all their time.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

MOST = 64  # files; a process may have 1024 descriptors, often no more


class Descriptor(NamedTuple):
    """An open file and its size in bytes, as it was opened in a `round` of readings."""

    number: int
    size: int
    round: int


class KeptOpen:
    """Descriptors that nobody reads from at present, by path. Each is one reader's at a time.

    A round begins with every `reading`, and only descriptors of that round are kept: what is opened
    behind it sees the files that lie there then, even while an earlier one still goes on.
    """

    def __init__(self) -> None:
        self.round = 0
        self.forget()

    def forget(self) -> None:
        """Begin anew in a forked process: its threads are gone, and the lock may be held by one."""
        self.lock = threading.Lock()
        self._idle: dict[str, list[Descriptor]] = {}  # the first was put back first
        self._count = 0
        self._readings = 0
        self.round += 1

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Keep files open meanwhile."""
        with self.lock:
            self._readings += 1
            self.round += 1
            self._close_all()
        try:
            yield
        finally:
            with self.lock:
                self._readings -= 1
                if not self._readings:
                    self._close_all()

    def take(self, path: str) -> Descriptor | None:
        """One of this file, if there is one; the caller puts it back."""
        if not self._idle:
            return None
        with self.lock:
            found = self._idle.get(path)
            if not found:
                return None
            self._count -= 1
            one = found.pop()
            if not found:
                del self._idle[path]
            return one

    def put_back(self, path: str, descriptor: Descriptor) -> None:
        """Keep it, or close it."""
        with self.lock:
            if not self._readings or descriptor.round != self.round:
                os.close(descriptor.number)
                return
            while self._count >= MOST:
                self._close(next(iter(self._idle)))
            self._idle.setdefault(path, []).append(descriptor)
            self._count += 1

    def _close_all(self) -> None:
        while self._idle:
            self._close(next(iter(self._idle)))

    def _close(self, path: str) -> None:
        for one in self._idle.pop(path):
            os.close(one.number)
            self._count -= 1


KEPT_OPEN = KeptOpen()
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=KEPT_OPEN.forget)
