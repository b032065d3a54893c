"""`:model`: which checkpoints belong to the captures, said on the screen."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..commands import CommandError
from ..jobs.models_job import find_models, use_models
from ..jobs.news import Ended

if TYPE_CHECKING:
    from ...compare.comparison import Comparison
    from ...compare.weights.models import ModelPaths
    from ..jobs.job import Job
    from ..jobs.news import News
    from ..session import Host
    from .comparing import Comparing
    from .face import ListFace


class Checkpoints:
    """Says which checkpoints are known, and takes others."""

    def __init__(self, host: Host, face: ListFace, comparing: Comparing) -> None:
        self._host, self._face, self._comparing = host, face, comparing
        self.job: Job | None = None
        comparing.on_models = self._taken

    def command(self, text: str) -> None:
        """`:model reference|candidate PATH`; without a path say which are known."""
        comparison = self._host.session.comparison
        if comparison is None:
            raise CommandError("rows are not aligned yet")
        if text:
            self._use(comparison, with_model(text, comparison.model_paths))
        else:
            self.job = self._host.start(find_models(comparison), self._found)

    def _use(self, comparison: Comparison, paths: ModelPaths) -> None:
        """Take other checkpoints, once nothing reads those of before, and hold the layers against
        their laws anew.
        """
        session, comparing = self._host.session, self._comparing
        session.request = replace(session.request, models=paths)
        work = use_models(comparison, paths, comparing.rest(comparison))
        comparing.after_work(lambda: comparing.start(work))

    def _taken(self, problem: str) -> None:
        session = self._host.session
        if session.comparison is None:
            return
        if problem:
            session.request = replace(session.request, models=session.comparison.model_paths)
            self._host.say(problem, warn=True)
        else:
            self._host.say(models_text(session.comparison))
            self._face.verdicts_changed()

    def _found(self, news: News) -> None:
        comparison = self._host.session.comparison
        if not isinstance(news, Ended) or comparison is None:
            return
        self.job = None
        if news.error is not None:
            raise news.error
        self._host.say(models_text(comparison))


def with_model(text: str, known: ModelPaths) -> ModelPaths:
    """`known` with what `reference PATH` or `candidate PATH` says; raises `CommandError`."""
    from ...compare.weights.models import SIDES

    word, _, path = text.partition(" ")
    side = next((side for side in SIDES if word and side.startswith(word)), None)
    if side is None or not path.strip():
        raise CommandError("model reference PATH, or model candidate PATH")
    return replace(known, **{side: path.strip()})


def models_text(comparison: Comparison) -> str:
    """Which checkpoints are known, in one line."""
    return "; ".join(comparison.models.lines()) or "no checkpoint is known"
