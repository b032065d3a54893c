"""`:watch`: the candidate is read again when it was written anew, and what changed is said."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ...capture.storage import is_url
from ..commands import CommandError
from ..jobs.news import Ended, Made
from .watch_job import Rewritten, Watched, Watching, watch
from .writing_state import Pace

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..before.before import Before
    from ..jobs.job import Job
    from ..jobs.news import News
    from ..list.comparing import Comparing
    from ..list.face import ListFace
    from ..session import Host


class Watch:
    """Begins and ends the watching, and reads again when there is something new. `pace` says how
    often files are looked at; `read` reads both captures again.
    """

    def __init__(
        self, host: Host, face: ListFace, comparing: Comparing, before: Before,
        read: Callable[[], None],
    ) -> None:  # fmt: skip
        self._host, self._face, self._comparing, self._before = host, face, comparing, before
        self._read = read
        self._now = threading.Event()
        self.pace = Pace()
        self.job: Job | None = None

    def command(self, text: str) -> None:
        """`:watch [on|off]`."""
        if text not in ("", "on", "off"):
            raise CommandError("watch, or watch off")
        if text == "off":
            self._end()
        elif self.job is not None:
            self._host.say("watching the candidate; :watch off ends it")
        else:
            self.begin()
            self._host.say("watching: the candidate is read again when it is written anew")

    def begin(self) -> None:
        """Watch from now on. Raises `CommandError` where that is not possible."""
        session = self._host.session
        if is_url(session.request.candidate):
            raise CommandError("only captures on this machine can be watched")
        self._now.clear()
        watching = Watching(
            lambda: session.request, lambda: self._comparing.read_at, self._now, self.pace
        )
        self.job = self._host.start(watch(watching), self._take)
        self._show("watching")
        self._before.keeps = True
        self._before.refresh()

    def read_now(self) -> bool:
        """Read again, whatever the files look like; False where nothing is watched."""
        if self.job is None:
            return False
        self._now.set()
        return True

    def _end(self) -> None:
        if self.job is None:
            self._host.say("nothing is watched")
            return
        self.job.drop()
        self._now.set()  # so that it hears of it at once
        self.job = None
        self._before.keeps, self._before.latest, self._before.last = False, None, None
        self._show("")
        self._host.say("not watching any more")

    def _take(self, news: News) -> None:
        if isinstance(news, Ended):
            self.job = None
            self._show("")
            if news.error is not None:
                raise news.error
        elif isinstance(news, Made) and isinstance(news.result, Watched):
            self._show(news.result.words or "watching")
            if news.result.words:
                reason = news.result.reason or _SAID[news.result.words]
                self._host.say(f"{reason}: read when it is there (Ctrl-R: now)")
        elif isinstance(news, Made) and isinstance(news.result, Rewritten):
            self._show("watching")
            session = self._host.session
            session.touched = True  # the cursor stays where it is
            if session.before is None:
                self._before.last = self._before.latest
            self._before.announce = True
            self._read()

    def _show(self, words: str) -> None:
        self._host.session.watched = words
        self._face.show_watched()


_SAID = {
    "candidate gone": "the candidate is gone",
    "being written": "the candidate is being written",
}
