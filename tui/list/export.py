"""Marks, and what is exported: rows to a file, a row to the clipboard, a layer as a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...capture.storage import exists
from ..commands import CommandError
from ..jobs.news import Ended, Exported
from ..question import Question

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ...compare.comparison import Comparison
    from ..completion.completer import Completions
    from ..jobs.export_job import ExportChoice
    from ..jobs.job import Job
    from ..jobs.news import News
    from ..pictures.forms import Form
    from ..present.pieces import Pieces
    from ..session import Host
    from .face import ListFace

REPORT = "layertui-report.md"


class Export:
    """Writes what the screen in front has chosen, in the background; one file at a time."""

    def __init__(self, host: Host, face: ListFace, completions: Completions) -> None:
        self._host, self._face, self._path = host, face, completions.path
        self.job: Job | None = None

    # Marks

    def mark(self) -> None:
        """Mark the row under the cursor, or unmark it, and go on to the next; of a folded line all
        rows, which are unmarked where all are marked.
        """
        session = self._host.session
        if session.row is not None:
            rows = set(self._face.members)
            session.marks.symmetric_difference_update(
                rows if rows <= session.marks else rows - session.marks
            )
            self._face.show_marks(only_here=True)
            self._face.next_line()

    def unmark(self, _: str = "") -> None:
        marks = self._host.session.marks
        self._host.say(f"{len(marks)} unmarked")
        marks.clear()
        self._face.show_marks()

    def rows_chosen(self) -> ExportChoice | None:
        """The marked rows, else the one under the cursor."""
        session = self._host.session
        rows = session.chosen()
        if session.comparison is None or not rows:
            return None
        from ..jobs.export_job import ExportChoice
        from ..scene import Scene

        return ExportChoice(tuple(Scene(session.comparison, row) for row in rows))

    # Files

    def ask(self) -> None:
        """Ask where to write what the screen in front shows."""
        chosen = self._host.front.export_choice()
        if chosen is None:
            self._host.say("no row to export")
            return
        from ..jobs.export_job import default_name

        name = default_name(chosen.labels)
        label = f"export {chosen.words} to "

        def answer(text: str) -> None:
            try:
                if not self._screen_to(text):
                    self._to(chosen, text)
            except CommandError as error:
                self._host.say(str(error), warn=True)

        self._host.ask(Question(label, answer, name, complete=self._path))

    def command(self, text: str) -> None:
        """`:export [FILE]`."""
        chosen = self._host.front.export_choice()
        if not text:
            self.ask()
        elif self._screen_to(text):
            return
        elif chosen is None:
            raise CommandError("no row to export")
        else:
            self._to(chosen, text)

    def _to(self, chosen: ExportChoice, text: str) -> None:
        from ..jobs.export_job import default_name, target

        path = target(text, default_name(chosen.labels))
        self._unless_it_exists(path, lambda: self._write(chosen, path))

    def _screen_to(self, text: str) -> bool:
        """Write what is on the screen, where the name of the file is that of a picture; False where
        it is not. Raises `CommandError` for a form of picture that is not written.
        """
        from ..jobs.export_job import target
        from ..pictures.forms import form_of

        path = target(text, "")
        if path is None or form_of(text, ("text", "svg")) == "text":
            return False

        def write() -> None:
            self._host.take_picture(lambda svg: self._write_picture(lambda: svg, path))

        self._unless_it_exists(path, write)
        return True

    def picture(self, text: str, name: str, lines: Callable[[Form], Sequence[Pieces]]) -> None:
        """`:save [FILE]` of a picture in `lines`: as text, SVG or PNG, by the suffix; asks where to
        without a file, and proposes `name`. Raises `CommandError`.
        """
        from ..jobs.export_job import target
        from ..pictures.forms import check_form, content_of, form_of

        if not text:
            self._host.ask(Question("picture to ", self._answered(name, lines), name))
            return
        path = target(text, name)
        form = "text" if path is None else form_of(str(path))
        check_form(form)
        drawn = lines(form)
        self._unless_it_exists(
            path, lambda: self._write_picture(lambda: content_of(drawn, form), path)
        )

    def _answered(
        self, name: str, lines: Callable[[Form], Sequence[Pieces]]
    ) -> Callable[[str], None]:
        def answer(text: str) -> None:
            try:
                self.picture(text or name, name, lines)
            except CommandError as error:
                self._host.say(str(error), warn=True)

        return answer

    def _write_picture(self, make: Callable[[], str | bytes], path: Path | None) -> None:
        from ..jobs.export_job import picture_job

        def done(content: str | bytes) -> None:
            if path is None:
                self._host.print_at_end(str(content))
            where = path or "standard output, when the screen is left"
            self._host.say_from_thread(f"wrote the picture to {where}")

        self._start(lambda: picture_job(make, path, done))

    def _unless_it_exists(self, path: Path | None, write: Callable[[], None]) -> None:
        """Write; where that would replace a file, only if the user says so."""

        def confirmed(answer: str) -> None:
            if answer.strip().lower() in ("y", "yes"):
                write()
            else:
                self._host.say("not written")

        if path is not None and exists(str(path)):
            self._host.ask(Question(f"{path} exists, replace it? (y/n) ", confirmed))
        else:
            write()

    def _write(self, chosen: ExportChoice, path: Path | None) -> None:
        """Without a path to standard output, once the screens are left."""
        from ..jobs.export_job import export_job

        session = self._host.session
        comparison = chosen.scenes[0].comparison

        def done(text: str) -> None:
            if path is None:
                self._host.print_at_end(text)
            where = path or "standard output, when the screen is left"
            self._host.say_from_thread(f"wrote {chosen.words} to {where}")

        def more(row: int) -> list[str]:
            return [*self._changed(comparison, row), *session.reruns.lines(comparison, row)]

        self._start(lambda: export_job(chosen, path, session.command_options(), done, more))

    def report(self, text: str = "") -> None:
        """`:report [FILE]`: write a bug report of the comparison; asks where to without a file."""
        comparison = self._host.session.comparison
        if comparison is None or not comparison.complete:
            raise CommandError("a report can be written when all rows are measured")
        if not text:
            question = Question("bug report to ", self._report_to, REPORT, complete=self._path)
            self._host.ask(question)
        else:
            self._report_to(text)

    def _report_to(self, text: str) -> None:
        from ..jobs.export_job import report_job, target

        session = self._host.session
        comparison, path = session.comparison, target(text, REPORT)
        assert comparison is not None

        def write() -> None:
            def done(report: str) -> None:
                if path is None:
                    self._host.print_at_end(report)
                where = path or "standard output, when the screen is left"
                self._host.say_from_thread(f"wrote a report to {where}")

            options, metric = session.command_options(), session.metric
            found = None if session.changes is None else session.changes.changes
            if found is not None and session.before is not None:
                options += ["--before", session.before]
            if self._start(lambda: report_job(comparison, path, options, metric, done, found)):
                self._host.say("writing a report")

        self._unless_it_exists(path, write)

    def _changed(self, comparison: Comparison, row: int) -> list[str]:
        """What a row was before, where that is known of these rows."""
        from ..before.change_words import change_lines

        changes = self._host.session.changes
        if changes is None or changes.rows is not comparison.rows:
            return []
        return change_lines(changes, row)

    def reproduce(self, _: str = "") -> None:
        """`:repro`: write a test of the layer under the cursor."""
        comparison, row = self._host.session.comparison, self._host.session.row
        if comparison is None or row is None:
            raise CommandError("no row to write a test of")
        if not comparison.complete:
            raise CommandError("a layer can be judged only when all rows are measured")
        from ..jobs.export_job import reproduction_job

        if self._start(lambda: reproduction_job(comparison, row, self._host.say_from_thread)):
            self._host.say("writing a test of this layer")

    def _start(self, make: Callable[[], Callable[[Job], bool]]) -> bool:
        if self.job is not None:
            self._host.say("still writing; Ctrl-C stops that", warn=True)
            return False
        self.job = self._host.start(make(), self._take)
        return True

    def _take(self, news: News) -> None:
        from ..jobs.export_job import ExportError

        if isinstance(news, Exported):
            if news.total > 1:
                self._host.say(f"writing row {news.done + 1} of {news.total}")
        elif isinstance(news, Ended):
            self.job = None
            if isinstance(news.error, ExportError):
                self._host.say(str(news.error), warn=True)
            elif news.error is not None:
                raise news.error
            elif not news.complete:
                self._host.say("stopped; nothing was written")

    # The clipboard

    def yank(self, text: str = "") -> None:
        """`:yank [long]`: copy the row under the cursor, or what the screen in front has in its
        place: a headline and five numbers, or everything known of it.
        """
        if text not in ("", "long"):
            raise CommandError("yank, or yank long")
        comparison, row = self._host.session.comparison, self._host.session.row
        if comparison is None or row is None:
            self._host.say("no row to yank")
            return
        from ...compare.reports.row_text import judged_report, short_text, text_of
        from ..yank import yank

        report = self._host.front.yank_report()
        own = report is None
        report = report or judged_report(comparison, row)
        if not text:
            copied = short_text(report)
        else:
            changed = self._changed(comparison, row) if own else []
            copied = "".join([text_of(report), *(f"{line}\n" for line in changed)])
        self._host.say(yank(copied, self._host.copy))
