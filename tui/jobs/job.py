"""One piece of work in a thread that can stop."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from .news import Ended

if TYPE_CHECKING:
    from collections.abc import Callable

    from .news import News

_TURN = 0.01  # seconds of work after which a job gives way
_GIVEN = 0.0003  # seconds: what a thread takes to wake up, several times


class Job:
    """One piece of work in a daemon thread: stopping it, or the program, never waits for it.

    `post` gets its news in the job's thread and hands it to the thread of the screens, which calls
    `deliver` there.
    """

    def __init__(
        self, work: Callable[[Job], bool], post: Callable[[Job, News], None],
        take: Callable[[News], None],
    ) -> None:  # fmt: skip
        self._work, self._post, self._take = work, post, take
        self._stop = threading.Event()
        self._dropped = False
        self._gave_way = 0.0
        self._thread = threading.Thread(target=self.run, name="layertui-job", daemon=True)

    def start(self) -> Job:
        self._thread.start()
        return self

    def stop(self) -> None:
        """Ask it to end soon; `Ended` follows."""
        self._stop.set()

    def stopped(self) -> bool:
        """Whether it was asked to end, which work asks often; now and then it pauses here.

        A thread that reads many small files lets go of the interpreter's lock all the time, for
        less than the screen's thread takes to wake up, which then may not get it for 0.1 s.
        """
        now = time.monotonic()
        if now - self._gave_way > _TURN:
            self._gave_way = now
            time.sleep(_GIVEN)
        return self._stop.is_set()

    def drop(self) -> None:
        """Stop it, and let nobody hear of it any more."""
        self._dropped = True
        self._stop.set()

    def tell(self, news: News) -> None:
        """Post news, from the job's thread."""
        self._post(self, news)

    def deliver(self, news: News) -> None:
        """Hand news to who started the job, in that one's thread, unless it was dropped."""
        if not self._dropped:
            self._take(news)

    def run(self) -> None:
        """Do the work, in the thread that calls this; `Ended` follows."""
        try:
            complete = self._work(self)
        except BaseException as error:
            self.tell(Ended(False, error))
        else:
            self.tell(Ended(complete))
