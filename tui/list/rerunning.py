"""Reruns of layers on the reference's inputs: asking what runs them, and their news."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..commands import CommandError
from ..jobs.compare_job import is_bad_input
from ..jobs.news import Ended, Reran
from ..jobs.rerun_job import recall_job, rerun_job
from ..question import Question

if TYPE_CHECKING:
    from ...compare.comparison import Comparison
    from ...compare.rerun.results import RerunProgress
    from ...compare.rerun.session import RerunSession
    from ..completion.completer import Completions
    from ..jobs.job import Job
    from ..jobs.news import News
    from ..session import Host
    from .face import ListFace

EXAMPLE = "~/models/llama, package.module:make, ! ./run"
_MINUTES = "MAX compiles a layer for seconds to minutes the first time: go on? (y/n) "


class Rerunning:
    """Reruns the chosen rows in the background, and takes in what earlier sessions found."""

    def __init__(self, host: Host, face: ListFace, completions: Completions) -> None:
        self._host, self._face, self._path = host, face, completions.path
        self.job: Job | None = None
        self._recalling: Job | None = None

    @property
    def busy(self) -> bool:
        """Whether layers are rerun, or earlier results are read."""
        return self.job is not None or self._recalling is not None

    def command(self, text: str) -> None:
        """`:rerun [fresh]`."""
        if text not in ("", "fresh"):
            raise CommandError("rerun, or rerun fresh to run again what was run before")
        self.rerun(fresh=bool(text))

    def runner(self, text: str) -> None:
        """`:runner DIR|MODULE:FUNCTION|! CMD`: choose what runs the candidate's layers."""
        session = self._host.session
        if session.comparison is None:
            raise CommandError("rows are not aligned yet")
        from ..jobs.rerun_job import RunnerAnswerError, spec_of

        reruns = session.reruns.session(session.comparison)
        question = reruns.needs()
        proposal = question.proposal if question is not None else reruns.spec
        assert proposal is not None
        try:
            reruns.choose(spec_of(text, proposal))
        except RunnerAnswerError as error:
            raise CommandError(str(error)) from error
        spec = reruns.spec
        self._host.say(f"layers are run by {spec.describe()}" if spec else "no runner")

    def rerun(self, *, fresh: bool = False) -> None:
        """Rerun the marked rows or this one; asks for the model, and before MAX compiles."""
        session = self._host.session
        rows, comparison = session.chosen(), session.comparison
        if comparison is None or not rows:
            self._host.say("no row to rerun")
            return
        if not session.marks:
            rows = [blamed_row(comparison, rows[0])]
        reruns = session.reruns.session(comparison)
        known = session.reruns.result(comparison, rows[0])
        fresh = fresh or (len(rows) == 1 and known is not None and known.output is None)
        if reruns.needs() is not None:
            self._ask_runner(reruns, fresh)
        elif reruns.may_take_minutes(rows) and reruns.hello is None:
            self._ask_patience(reruns, rows, fresh)
        else:
            self._start(reruns, rows, fresh)

    def _ask_runner(self, reruns: RerunSession, fresh: bool) -> None:
        question = reruns.needs()
        assert question is not None
        proposal = question.proposal

        def answered(text: str) -> None:
            try:
                self.runner(text)
            except CommandError as error:
                self._host.say(str(error), warn=True)
            else:
                self.rerun(fresh=fresh)

        start = proposal.model or proposal.factory or ""
        label = f"{question.text}? "
        self._host.ask(Question(label, answered, start, "R", complete=self._path, example=EXAMPLE))

    def _ask_patience(self, reruns: RerunSession, rows: list[int], fresh: bool) -> None:
        def answered(answer: str) -> None:
            if answer.strip().lower() in ("y", "yes"):
                self._start(reruns, rows, fresh)
            else:
                self._host.say("not rerun")

        self._host.ask(Question(_MINUTES, answered, "y"))

    def _start(self, reruns: RerunSession, rows: list[int], fresh: bool) -> None:
        if self.job is not None:
            self._host.say("still rerunning; Ctrl-C stops that", warn=True)
            return
        self._host.session.rerun_state = "starting the runner"
        self._host.say(self._host.session.rerun_state)
        self.job = self._host.start(rerun_job(reruns, rows, fresh), self._take)
        self._changed()

    def recall(self) -> None:
        """Show what earlier sessions reran, where the runner of this capture is known."""
        session = self._host.session
        if session.comparison is None or self._recalling is not None:
            return
        reruns = session.reruns.session(session.comparison)
        if not reruns.results:
            self._recalling = self._host.start(recall_job(reruns), self._recalled)

    def _recalled(self, news: News) -> None:
        if isinstance(news, Ended):
            self._recalling = None
            if news.error is not None and not is_bad_input(news.error):
                raise news.error
        else:
            self._changed()

    def _take(self, news: News) -> None:
        session = self._host.session
        if isinstance(news, Reran):
            session.rerun_state = _state(news.progress)
            self._host.say(session.rerun_state)
            if news.progress.rows:
                self._changed()
        elif isinstance(news, Ended):
            self.job, session.rerun_state = None, ""
            self._changed()
            self._say_ended(news)

    def _say_ended(self, news: Ended) -> None:
        from ...capture.runners.layers import RerunError

        error = news.error
        if error is not None and not (isinstance(error, RerunError) or is_bad_input(error)):
            raise error
        if error is not None:
            self._host.say(str(error), warn=True)
        elif not news.complete:
            self._host.say("rerun stopped")
        else:
            self._say_found()

    def _say_found(self) -> None:
        """The layers that are wrong on their own, or what is known of the one that was rerun."""
        session = self._host.session
        comparison = session.comparison
        if comparison is None:
            return
        wrong = session.reruns.wrong_layers(comparison)
        names = list(dict.fromkeys(comparison.rows[row].canonical for row in wrong))
        words = "no layer that was rerun is wrong on its own"
        if names:
            words = f"wrong on their own: {', '.join(names[:3])}"
        here = session.row
        if here is not None and session.reruns.result(comparison, here) is not None:
            words = session.reruns.sentence(comparison, here)
        self._host.say(words, warn=bool(names))

    def _changed(self) -> None:
        self._face.show_singles()
        self._host.rerun_changed()


def _state(progress: RerunProgress) -> str:
    of = f"{progress.done} of {progress.total} " if progress.total > 1 else ""
    return f"rerun {of}" + ": ".join(part for part in (progress.layer, progress.text) if part)


def blamed_row(comparison: Comparison, row: int) -> int:
    """The output of the module that the first divergence was introduced inside, for the row where
    that was seen (a part of it, whose own rerun would say nothing); any other row itself.
    """
    from ..present.origin import first_known

    first, seen = first_known(comparison), comparison.rows[row]
    if first is None or first.index != row or first.module == seen.canonical:
        return row
    return next(
        (
            other.index
            for other in comparison.rows
            if other.kind == "pair" and other.role == "output"
            and (other.canonical, other.step) == (first.module, seen.step)
        ),
        row,
    )  # fmt: skip
