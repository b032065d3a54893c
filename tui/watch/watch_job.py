"""Waiting for the candidate to be written anew. Nothing here knows of widgets."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..jobs.news import Made

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..jobs.job import Job
    from ..jobs.request import Request
    from .writing_state import Glance, Pace

_IDLE_TIMES = 20  # as long as a glance takes is waited between two: a 20th of a core at most


@dataclass(frozen=True)
class Watched:
    """What the candidate does, in a few words; empty: it is as it was read. `reason` says more."""

    words: str
    reason: str = ""


@dataclass(frozen=True)
class Rewritten:
    """The candidate was written anew, or is to be read again."""


@dataclass(frozen=True)
class Watching:
    """What is watched and how: the request of now, and when its files were read (seconds since
    1970).
    """

    request: Callable[[], Request]
    read_at: Callable[[], float]
    now: threading.Event  # set: read again at once
    pace: Pace


def watch(watching: Watching) -> Callable[[Job], bool]:
    """Work that tells `Watched` and `Rewritten` until it is stopped."""
    return lambda job: _Watch(watching, job).run()


class _Watch:
    def __init__(self, watching: Watching, job: Job) -> None:
        from .writing_state import Writing

        self._watching, self._job = watching, job
        self._path = watching.request().candidate
        self._writing = Writing(watching.pace, self._as_read())
        self._told = Watched("")
        self._unfinished: Glance | None = None  # one that was found to be no complete capture

    def _as_read(self) -> Glance | None:
        """The files as they were when they were read; None where they are newer than that."""
        from .writing_state import glance

        now = glance(self._path)
        fresh = now is not None and now.newest >= 1e9 * self._watching.read_at()
        return None if fresh else now

    def run(self) -> bool:
        from .writing_state import Writing, glance

        pause, watching = 0.0, self._watching
        while not self._job.stopped():
            asked = watching.now.wait(max(pause, watching.pace.glances))
            if self._job.stopped():
                break
            started = time.monotonic()
            if watching.request().candidate != self._path:  # another case
                self._path = watching.request().candidate
                self._writing = Writing(watching.pace, glance(self._path))
            now = glance(self._path)
            state = self._writing.see(now, started)
            if asked:
                watching.now.clear()
                self._read(now)
            elif state == "rested" and now is not None:
                self._rested(now)
            elif state != "rested":
                words = {"same": "", "gone": "candidate gone", "writing": "being written"}[state]
                self._tell(Watched(words))
            pause = _IDLE_TIMES * (time.monotonic() - started)
        return True

    def _rested(self, now: Glance) -> None:
        """Nothing was written for a while: read it, unless it says itself that more is to come."""
        from .writing_state import unfinished

        if self._unfinished is not None and self._unfinished.stamp == now.stamp:
            return
        reason = unfinished(self._path, self._watching.request().raw)
        if reason:
            self._unfinished = now
            self._tell(Watched("incomplete", reason))
        else:
            self._read(now)

    def _read(self, now: Glance | None) -> None:
        self._writing.known = now
        self._told = Watched("")
        self._job.tell(Made(Rewritten()))

    def _tell(self, news: Watched) -> None:
        if news != self._told:
            self._told = news
            self._job.tell(Made(news))
