"""What the candidate is compared with besides the reference: an earlier one of a path, or what was
read last.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ...capture.interpreter.garbage import hold, settle
from ...capture.storage import exists, is_url
from ..commands import CommandError
from ..jobs.compare_job import is_bad_input
from ..jobs.news import Ended, Made, Reading
from .before_job import Compared, EarlierMeasured, find_changes, measured_before

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...compare.changes.earlier import Earlier, RowChanges
    from ...compare.comparison import Comparison
    from ..jobs.job import Job
    from ..jobs.news import News
    from ..jobs.request import Request
    from ..list.comparing import Comparing
    from ..list.face import ListFace
    from ..session import Host


class Before:
    """Measures an earlier candidate once the present one is measured, and shows what changed.

    The one that `--before` or `:before` names is measured again when it is judged in another way;
    of what was read before (`last`) only the verdicts of then are known. Where `keeps` is set, what
    is on the screen now will be that: it is `latest`, once it is complete.
    """

    def __init__(self, host: Host, face: ListFace, comparing: Comparing) -> None:
        self._host, self._face, self._comparing = host, face, comparing
        self.job: Job | None = None
        self.last: Earlier | None = None
        self.latest: Earlier | None = None
        self.keeps = False
        self.announce = False  # whether what changed is said once it is known
        self._measured: tuple[Request, Earlier] | None = None

    def command(self, text: str) -> None:
        """`:before [DIR|off]`; without either say what there is."""
        session = self._host.session
        if not text:
            self._host.say(self._now())
            return
        if session.request.case:
            raise CommandError("one case at a time: open the captures of one case")
        path = text if is_url(text) else os.path.expanduser(text)
        if text != "off" and not is_url(text) and not exists(path):
            raise CommandError(f"{text}: no such file or directory")
        self.drop()
        session.before, self.last, self._measured = (None if text == "off" else path), None, None
        self._show(None, "")
        if text == "off":
            self._host.say("not compared with an earlier candidate any more")
        else:
            self.refresh()

    def _now(self) -> str:
        changes, session = self._host.session.changes, self._host.session
        if session.before is not None:
            return f"compared with {session.before}"
        if changes is not None or self.last is not None:
            return "compared with the last reading"
        return "no earlier candidate; :before DIR compares with one"

    def refresh(self) -> None:
        """Find what changed, where everything is measured and there is something earlier."""
        session = self._host.session
        comparison = session.comparison
        self.drop()
        if comparison is None or not comparison.complete or self._comparing.working:
            return
        if session.before is not None:
            if session.request.case:
                self._show(None, "--before: one case at a time; open the captures of one case")
                return
            self._show_progress(f"comparing with {session.before}")
            self._start(find_changes(comparison, partial(self._named, comparison)))
        elif self.last is not None and _is_of(self.last, comparison):
            last = self.last
            same = last.policy == comparison.policy.describe()
            if not same:
                self._show(None, "the last reading was judged by another policy")
            self._start(find_changes(comparison, (lambda _: last) if same else None))
        else:
            self._show(None, "")
            if self.keeps:
                self._start(find_changes(comparison, None))

    def _start(self, work: Callable[[Job], bool]) -> None:
        hold()
        self.job = self._host.start(work, self._take)

    def _named(self, comparison: Comparison, job: Job) -> Earlier | None:
        """The earlier candidate that was named, measured unless that was done in the same way."""
        session = self._host.session
        assert session.before is not None
        request = replace(
            session.request, rules=comparison.rules, models=comparison.model_paths,
            policy=comparison.policy, candidate=session.before,
        )  # fmt: skip
        if self._measured is not None and self._measured[0] == request:
            return self._measured[1]
        found = measured_before(request, session.before, job)
        if found is not None:
            self._measured = (request, found)
        return found

    def drop(self) -> None:
        """Stop what is being compared: rows or verdicts are about to be others."""
        if self.job is not None:
            self.job.drop()
            self.job = None
            settle()

    def stop(self) -> bool:
        """Stop what is being compared, and say so; False where nothing is."""
        if self.job is None or self.job.stopped():
            return False
        self.job.stop()
        return True

    def _take(self, news: News) -> None:
        if isinstance(news, Reading):
            self._show_progress(f"reading headers {news.done} of {news.total}")
        elif isinstance(news, Made) and isinstance(news.result, EarlierMeasured):
            self._show_progress(f"measured {news.result.done} of {news.result.total} pairs")
        elif isinstance(news, Made):
            self._compared(news.result)
        elif isinstance(news, Ended):
            self.job = None
            settle()
            if news.error is not None and not is_bad_input(news.error):
                raise news.error
            if news.error is not None:
                self._show(None, f"not compared with the earlier candidate: {news.error}")
            elif not news.complete:
                self._show(None, "stopped; :reload compares with the earlier candidate again")

    def _compared(self, found: Compared) -> None:
        comparison = self._host.session.comparison
        if self.keeps and comparison is not None and comparison.candidate.complete is not False:
            self.latest = found.latest
        if found.changes is None:
            return
        self._show(found.changes, "")
        if self.announce:
            self.announce = False
            self._host.say(f"read again: {found.changes.changes.headline}")

    def _show_progress(self, words: str) -> None:
        self._face.show_earlier(f"before: {words}")

    def _show(self, changes: RowChanges | None, problem: str) -> None:
        self._host.session.changes = changes
        self._face.show_changes(changes, problem)


def _is_of(earlier: Earlier, comparison: Comparison) -> bool:
    """Whether both are of the same two paths, not of another case."""
    sides = (comparison.reference.path, comparison.candidate.path)
    return (earlier.report.reference, earlier.report.candidate) == sides
