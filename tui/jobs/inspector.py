"""The thread that looks into records for the pair screen: one request at a time, the newest wins.

It keeps the records that it looked at last open, so that scrolling through values reads only what
is shown. Nothing here knows of widgets: news is posted, and whoever receives it owns the screen.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...compare.inspection.subject import Subject
    from ...compare.measuring.pair_reader import PairReader


@dataclass(frozen=True)
class Found:
    """What a request has found so far: all of it when `done` is `total`."""

    key: Hashable
    result: Any
    done: int
    total: int

    @property
    def final(self) -> bool:
        return self.done >= self.total


@dataclass(frozen=True)
class Failed:
    """Why a request found nothing, in one line; `stopped` when it was told to stop."""

    key: Hashable
    reason: str
    stopped: bool = False


@dataclass(frozen=True)
class Fault:
    """An error that no input explains: a fault of the program."""

    key: Hashable
    error: BaseException


InspectionNews = Found | Failed | Fault


class Work:
    """What a request gets: `tell(result, done, total)` for progress, `cancelled()` to look at."""

    def __init__(self, key: Hashable, post: Callable[[InspectionNews], None]) -> None:
        self.key = key
        self._post = post
        self._stop = threading.Event()
        self.by_user = False

    def cancelled(self) -> bool:
        return self._stop.is_set()

    def stop(self, by_user: bool = False) -> None:
        self.by_user = self.by_user or by_user
        self._stop.set()

    def tell(self, result: Any, done: int, total: int) -> None:
        if not self.cancelled():
            self._post(Found(self.key, result, done, max(total, done + 1)))


Look = Callable[["PairReader", Work], Any]
Task = Callable[[Work], Any]


@dataclass(frozen=True)
class _Request:
    work: Work
    subject: Subject | None
    look: Look | None
    task: Task | None


class Inspector:
    """Answers requests in a daemon thread of its own, started when it is first asked."""

    def __init__(self, post: Callable[[InspectionNews], None]) -> None:
        self._post = post
        self._wake = threading.Condition()
        self._waiting: _Request | None = None
        self._running: Work | None = None
        self._closed = False
        self._thread: threading.Thread | None = None
        self._open: tuple[Subject, PairReader] | None = None

    @property
    def busy(self) -> bool:
        return self._running is not None or self._waiting is not None

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def look(self, key: Hashable, subject: Subject, look: Look) -> None:
        """Open `subject` (unless it is open) and let `look` read it."""
        self._ask(_Request(Work(key, self._post), subject, look, None))

    def run(self, key: Hashable, task: Task) -> None:
        """Run something that opens its own records."""
        self._ask(_Request(Work(key, self._post), None, None, task))

    def stop(self) -> bool:
        """Stop what runs, because the user said so; False when nothing does."""
        with self._wake:
            if not self.busy:
                return False
            if self._waiting is not None:
                self._post(Failed(self._waiting.work.key, "stopped", stopped=True))
                self._waiting = None
            if self._running is not None:
                self._running.stop(by_user=True)
            return True

    def close(self) -> None:
        """End the thread; files are closed by it."""
        with self._wake:
            self._closed = True
            self._waiting = None
            if self._running is not None:
                self._running.stop()
            self._wake.notify()

    def _ask(self, request: _Request) -> None:
        with self._wake:
            if self._closed:
                return
            if self._running is not None:
                self._running.stop()
            self._waiting = request
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._loop, name="layertui-inspect", daemon=True
                )
                self._thread.start()
            self._wake.notify()

    def _loop(self) -> None:
        while True:
            with self._wake:
                self._running = None
                while self._waiting is None and not self._closed:
                    self._wake.wait()
                if self._closed:
                    break
                assert self._waiting is not None
                request, self._waiting = self._waiting, None
                self._running = request.work
            news = self._answer(request)
            with self._wake:
                self._running = None
            if news is not None:
                self._post(news)
        self._close_reader()

    def _answer(self, request: _Request) -> InspectionNews | None:
        """None when a newer request took its place."""
        from ...capture.errors import RecordError
        from ...compare.measuring.pair_reader import CancelledError
        from ...compare.recipes.errors import RecipeError

        key = request.work.key
        try:
            result = self._result(request)
        except CancelledError:
            stopped = request.work.by_user
            return Failed(key, "stopped", stopped=True) if stopped else None
        except (RecordError, RecipeError, OSError) as error:
            self._close_reader()
            return Failed(key, str(error))
        except MemoryError:
            self._close_reader()
            return Failed(key, "not enough memory to look at this record")
        except BaseException as error:
            self._close_reader()
            return Fault(key, error)
        return Found(key, result, 1, 1)

    def _result(self, request: _Request) -> Any:
        if request.task is not None:
            return request.task(request.work)
        assert request.subject is not None and request.look is not None
        return request.look(self._reader(request.subject), request.work)

    def _reader(self, subject: Subject) -> PairReader:
        from ...compare.measuring.pair_reader import PairReader

        if self._open is None or self._open[0] != subject:
            self._close_reader()
            reader = PairReader(subject.reference, subject.candidate)
            reader.__enter__()
            self._open = (subject, reader)
        return self._open[1]

    def _close_reader(self) -> None:
        if self._open is not None:
            self._open[1].__exit__(None, None, None)
            self._open = None
