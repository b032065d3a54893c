"""The work that the list is about: reading, aligning, measuring, judging. One job at a time."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from ...capture.interpreter.garbage import hold, settle
from ..jobs.compare_job import (
    compare_again,
    compare_directories,
    is_bad_input,
    judge_again,
    measure_rest,
)
from ..jobs.news import (
    Aligned,
    CasesFound,
    Checked,
    Checking,
    Counted,
    Ended,
    Judged,
    Listed,
    Measured,
    ModelsTaken,
    Reading,
)
from ..present.working import checking_laws
from .folds.prepared import Prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ...compare.case_pairs import CasePair
    from ...compare.comparison import Comparison
    from ...compare.judging.policy import Policy
    from ..jobs.job import Job
    from ..jobs.news import News
    from ..session import Host
    from .face import ListFace
    from .limits import Limits


def _pass() -> None:
    """What happens where nobody listens."""


class Comparing:
    """Starts and stops the job behind the list, and hands its news on.

    Others listen: `on_start` is called before a job begins (rows may be made anew), `on_complete`
    when everything is measured and checked, `on_refused` when what was asked for cannot be done,
    `on_models` with why other checkpoints could not be taken, or nothing, `on_cases` with the
    captures of two folders, of which one pair is to be read.
    """

    def __init__(self, host: Host, face: ListFace) -> None:
        self._host, self._face = host, face
        self.job: Job | None = None
        self.read_at = 0.0  # when the directories were read last, in seconds since 1970
        self._then: Callable[[], None] | None = None
        self.on_start: Callable[[], None] = _pass
        self.on_complete: Callable[[], None] = _pass
        self.on_refused: Callable[[], None] = _pass
        self.on_models: Callable[[str], None] = lambda _: None
        self.on_cases: Callable[[Sequence[CasePair]], None] = lambda _: None

    @property
    def working(self) -> bool:
        """Whether something is being read or measured."""
        return self.job is not None

    # What can be asked for

    def read_again(self) -> None:
        """List both directories, align, measure."""
        session = self._host.session
        session.checked = False
        self.read_at = time.time()
        self.start(compare_directories(lambda: session.request, session.visible, Prepare()))

    def measure_again(self) -> None:
        """Measure what the comparison lacks."""
        comparison = self._host.session.comparison
        if comparison is not None:
            self.start(self.rest(comparison))

    def rest(self, comparison: Comparison) -> Callable[[Job], bool]:
        """Work that measures what a comparison lacks, and checks what was not checked."""
        session = self._host.session
        return measure_rest(comparison, session.visible, not session.checked)

    def judge_again(self, policy: Policy) -> None:
        """Judge by a policy that takes its time, once nothing else runs."""
        session = self._host.session
        if session.comparison is not None:
            check = not session.checked
            work = judge_again(session.comparison, policy, session.visible, check)
            self.after_work(lambda: self.start(work))

    def measure_with(self, limits: Limits, *, again: bool = False, ulp: bool = False) -> None:
        """Keep other limits for what comes; `again` and `ulp` need all values once more."""
        session = self._host.session
        request = session.request
        again = again or (ulp and not request.ulp)
        session.request = replace(
            request, policy=limits.make(), rtol=limits.rtol, atol=limits.atol,
            ulp=ulp or request.ulp,
        )  # fmt: skip
        if again and session.comparison is not None:
            self.start(
                compare_again(session.request, session.comparison, session.visible, Prepare())
            )

    # The job

    def start(self, work: Callable[[Job], bool]) -> None:
        """Run other work in place of what runs, whose news is ignored from now on."""
        working = self.job is not None
        if self.job is not None:
            self.job.drop()
        self.on_start()
        if not working:  # else the dropped job holds, and what it made is not settled
            hold()
        self._then = None
        self.job = self._host.start(work, self._take)

    def stop(self) -> bool:
        """Stop the job; False when none runs, or it was stopped already."""
        if self.job is None or self.job.stopped():
            return False
        self.job.stop()
        self._host.say("stopping; Ctrl-C again quits")
        return True

    def after_work(self, callback: Callable[[], None]) -> None:
        """Stop what runs, and call back when it has stopped."""
        if self.job is None:
            callback()
        else:
            self._then = callback
            self.job.stop()

    def _take(self, news: News) -> None:
        face = self._face
        if isinstance(news, CasesFound):
            self.on_cases(news.cases)
        elif isinstance(news, Listed):
            face.listed(news.reference, news.candidate, news.prepared)
        elif isinstance(news, Reading):
            face.reading(news.done, news.total)
        elif isinstance(news, Aligned):
            face.aligned(news.comparison, news.counts, news.prepared)
        elif isinstance(news, Counted):
            face.counted(news.counts)
        elif isinstance(news, Measured):
            face.measured(news.rows)
            self._host.rows_changed(news.rows)
        elif isinstance(news, Checking):
            face.checking()
        elif isinstance(news, Checked):
            self._host.session.checked = not news.early
            face.checked(news.findings)
        elif isinstance(news, Judged):
            face.verdicts_changed()
            self._show_row()
        elif isinstance(news, ModelsTaken):
            self.on_models(news.problem)
        elif isinstance(news, Ended):
            self._ended(news)

    def _show_row(self) -> None:
        row = self._host.session.row
        self._host.rows_changed(() if row is None else (row,))

    def _ended(self, news: Ended) -> None:
        self.job = None
        settle()
        if news.error is not None:
            if not is_bad_input(news.error):
                raise news.error
            self._refuse(str(news.error))
            return
        self._face.ended(news.complete)
        self._show_row()
        if news.complete:
            self.on_complete()
        callback, self._then = self._then, None
        if callback is not None:
            callback()
        elif not news.complete:
            self._say_stopped()

    def _refuse(self, reason: str) -> None:
        """A capture that cannot be opened ends the program; read again, the old rows stay."""
        if self._host.session.comparison is None:
            self._host.give_up(reason)
        else:
            self.on_refused()
            self._host.say(reason, warn=True)

    def _say_stopped(self) -> None:
        comparison = self._host.session.comparison
        done = "" if comparison is None else _progress(comparison)
        self._host.say(f"stopped{done}; Ctrl-R goes on")


def _progress(comparison: Comparison) -> str:
    if checking_laws(comparison):
        done, total = comparison.laws_progress
        return f" at {done} of {total} layers" if total else " before the layers were checked"
    return f" at {comparison.measured} of {comparison.to_measure} pairs"
