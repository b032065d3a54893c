"""Completing the lines of prompts from what the program knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ..jobs.news import Made
from .arguments import wanted
from .candidates import Candidates, fitting
from .files import candidates_in
from .names import next_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ..jobs.job import Job
    from ..jobs.news import News
    from ..session import Host
    from .arguments import Kind


class Completions:
    """Completes commands with all that follows them, and paths of files."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._looking: Job | None = None
        self.views: Sequence[str] = ()  # of the pair screen, where it is in front

    def line(self, line: str, done: Callable[[Candidates], None]) -> None:
        """A line of the `:` prompt."""
        sought = wanted(line)
        if sought is None or (sought.kind == "files" and line[sought.start :].startswith("!")):
            done(Candidates())
        elif sought.kind == "files":
            self._files(line, sought.start, done)
        else:
            done(fitting(line, sought.start, self._words(sought.kind, line[sought.start :])))

    def words(self, line: str, done: Callable[[Candidates], None]) -> None:
        """Words of records' names, as searches take them."""
        start = line.rfind(" ") + 1
        done(fitting(line, start, self._words("records", line[start:])))

    def path(self, line: str, done: Callable[[Candidates], None]) -> None:
        """A line that is the path of a file or folder, or a command after `!`."""
        if line.startswith("!"):
            done(Candidates())
        else:
            self._files(line, 0, done)

    def _files(self, line: str, start: int, done: Callable[[Candidates], None]) -> None:
        """List a directory beside the screen. What an earlier Tab looks for is waited for no more:
        a disk that does not answer keeps its thread, and nothing else.
        """

        def look(job: Job) -> bool:
            job.tell(Made(candidates_in(line, start)))
            return True

        def take(news: News) -> None:
            if isinstance(news, Made):
                done(cast(Candidates, news.result))

        if self._looking is not None:
            self._looking.drop()
        self._looking = self._host.start(look, take)

    def _words(self, kind: Kind, typed: str) -> Iterable[str]:
        session = self._host.session
        comparison = session.comparison
        if kind == "records":
            rows = () if comparison is None else comparison.rows
            return next_parts((row.canonical for row in rows), typed)
        if kind == "stored names":
            sides = () if comparison is None else (comparison.reference, comparison.candidate)
            return next_parts((record.name for side in sides for record in side.records), typed)
        if kind == "views":
            return self.views
        if kind == "cases":
            return [] if session.cases is None else [pair.name for pair in session.cases.pairs]
        if kind == "settings":
            from ..settings.table import settings_table

            pairs = [(name, each.choices) for name, each in settings_table().items()]
            values = [f"{name}={choice}" for name, choices in pairs for choice in choices]
            return values if "=" in typed else [*(f"{name}=" for name, _ in pairs), "save"]
        from .vocabulary import words_of_kind

        return words_of_kind(kind)
