"""`:note`: what a person writes on a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..commands import CommandError
from ..jobs.news import Ended, Made
from ..present.text import clean
from ..question import Question

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...compare.comparison import Comparison
    from ...compare.notes.row_notes import RowNotes
    from ..jobs.job import Job
    from ..jobs.news import News
    from ..list.face import ListFace
    from ..session import Host


@dataclass(frozen=True)
class Written:
    """The notes as they are now, and what became of the one that was written."""

    notes: RowNotes
    words: str
    problem: bool = False


class Notes:
    """Writes the note on the row under the cursor, or on the pair that is open, in a job: the file
    may lie on a slow disk.
    """

    def __init__(self, host: Host, face: ListFace) -> None:
        self._host, self._face = host, face
        self.job: Job | None = None

    def command(self, text: str) -> None:
        """`:note TEXT`; without a text the present one is asked for: it can be changed, or emptied,
        which takes it out.
        """
        from ...compare.notes.row_notes import record_of

        comparison, row = self._host.session.comparison, self._host.session.row
        if comparison is None or row is None:
            raise CommandError("rows are not aligned yet")
        found = comparison.rows[row]
        record, known = record_of(found), comparison.row_notes.text(found)
        if text:
            self._write(comparison, record, text, known)
            return

        shown = clean(known)  # written by whoever

        def answered(answer: str) -> None:
            if answer.strip() != shown:
                self._write(comparison, record, answer, known)

        self._host.ask(Question("note: ", answered, shown))

    def _write(self, comparison: Comparison, record: str, text: str, known: str) -> None:
        if self.job is not None:
            self._host.say("still writing the note before", warn=True)
            return
        rules = self._host.session.request.rules_path
        work = write_job(comparison, rules, record, text, known)
        self.job = self._host.start(work, lambda news: self._take(comparison, news))

    def _take(self, comparison: Comparison, news: News) -> None:
        if isinstance(news, Ended):
            self.job = None
            if news.error is not None:
                raise news.error
        elif isinstance(news, Made):
            written: Written = news.result
            for each in {comparison, self._host.session.comparison}:  # read again meanwhile
                if each is not None and each.reference.path == comparison.reference.path:
                    each.row_notes = written.notes
            self._face.show_marks()
            self._face.show_pane()
            self._host.front.after_command()
            self._host.say(written.words, warn=written.problem)


def write_job(
    comparison: Comparison, rules_path: str | None, record: str, text: str, known: str
) -> Callable[[Job], bool]:  # fmt: skip
    """Work that writes a note, and tells `Written`."""

    def work(job: Job) -> bool:
        from ...compare.notes.notes_file import NotesError, write_note
        from ...compare.notes.places import note_files, notes_on

        reference = comparison.reference.path
        place = comparison.row_notes.places.get(record) or note_files(reference, rules_path)[0]
        try:
            write_note(place, reference, record, text, known)
        except NotesError as error:
            words, problem = str(error), True
        else:
            words = f"note kept in {place}" if text.strip() else f"note taken out of {place}"
            problem = False
        job.tell(Made(Written(notes_on(reference, rules_path), words, problem)))
        return not problem

    return work
