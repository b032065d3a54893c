"""Writing rows to a file that the user names."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...capture.storage import is_folder
from ..state import write_atomically
from .news import Exported

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ...compare.changes.changes import Changes
    from ...compare.comparison import Comparison
    from ..scene import Scene
    from .job import Job


_FORMS = {".html": "html", ".htm": "html", ".json": "json", ".txt": "text"}  # of a report


class ExportError(Exception):
    """A file that cannot be written; one line for the user."""


@dataclass(frozen=True)
class ExportChoice:
    """The rows to be written, as they are looked at."""

    scenes: tuple[Scene, ...]
    views: tuple[str, ...] = ("stats", "top")
    top: int = 20

    @property
    def labels(self) -> list[str]:
        return [scene.row.label for scene in self.scenes]

    @property
    def words(self) -> str:
        """`1 row`, `3 rows`."""
        count = len(self.scenes)
        return f"{count} row{'s' if count != 1 else ''}"


def default_name(labels: Sequence[str]) -> str:
    """`layertui-layers.0.mlp-output.txt`, or with the number of rows when there are several."""
    if len(labels) == 1:
        stem = re.sub(r"[^A-Za-z0-9._-]+", "_", labels[0]).strip("._") or "row"
        return f"layertui-{stem[:80]}.txt"
    return f"layertui-{len(labels)}-rows.txt"


def target(text: str, name: str) -> Path | None:
    """The path that `text` means: `~` is the home, a directory gets the file `name`; None for `-`,
    standard output.
    """
    if text.strip() == "-":
        return None
    path = Path(os.path.expanduser(text.strip() or name))
    return path / name if is_folder(str(path)) else path


def export_text(
    choice: ExportChoice, options: Sequence[str], progress: Callable[[int, int], None],
    cancelled: Callable[[], bool], more: Callable[[int], list[str]],
) -> str:  # fmt: skip
    """The rows as text, each with its statistics, its greatest differences, and the lines that
    `more` has of it; of those that fail, as they were aligned, what the difference looks like is
    worked out for it.

    Raises `CancelledError`.
    """
    from ...compare.inspection.report import row_report

    parts: list[str] = []
    for done, scene in enumerate(choice.scenes):
        progress(done, len(choice.scenes))
        comparison = scene.comparison
        if scene.verdict.fails and comparison.complete and scene.trial is scene.injected is None:
            comparison.find_symptoms(scene.index)
        text = row_report(
            scene.comparison, scene.index, row=scene.row if scene.trial else None,
            result=scene.result, views=choice.views, options=options, top=choice.top,
            cancelled=cancelled,
        )  # fmt: skip
        parts.append("\n".join([text.rstrip("\n"), *more(scene.index)]))
    return "\n\n\n".join(parts) + "\n"


def write_export(path: Path, content: str | bytes) -> None:
    """Write to `path`, whole or not at all. Raises `ExportError`."""
    try:
        write_atomically(path, content)
    except OSError as error:
        raise ExportError(f"{path}: cannot be written: {error.strerror or error}") from error


def export_job(
    choice: ExportChoice, path: Path | None, options: Sequence[str],
    done: Callable[[str], None], more: Callable[[int], list[str]],
) -> Callable[[Job], bool]:  # fmt: skip
    """Work that writes the rows (or, without a path, hands the text to `done`)."""

    def work(job: Job) -> bool:
        from ...compare.measuring.pair_reader import CancelledError

        def progress(at: int, total: int) -> None:
            job.tell(Exported(at, total))

        try:
            text = export_text(choice, options, progress, job.stopped, more)
        except CancelledError:
            return False
        if path is not None:
            write_export(path, text)
        done(text)
        return True

    return work


def report_job(
    comparison: Comparison, path: Path | None, options: Sequence[str], metric: str,
    done: Callable[[str], None], changes: Changes | None = None,
) -> Callable[[Job], bool]:  # fmt: skip
    """Work that writes a bug report, or the report that the file's name asks for: a page (.html),
    JSON (.json), text (.txt); without a path it hands the text to `done`. Bug report and page have
    no places of the user's disk. What has changed since an earlier candidate is at the end of the
    report, of a page nowhere.
    """

    def work(job: Job) -> bool:
        from ...compare.inspection.naming import command_line
        from ...compare.reports import Settings, part_of, whole

        sides = [comparison.reference.path, comparison.candidate.path]
        command = command_line(["layertui", "compare"], sides, options)
        form = _FORMS.get("" if path is None else path.suffix.lower(), "bug-report")
        settings = Settings(command, metric)
        text = whole([part_of(comparison, form, settings)], form, settings)
        if form == "html":  # as the bug report, it is for other people
            from ...compare.reports.places import without_places

            text = without_places(text, comparison, command)
        if changes is not None and form != "html":
            from ...compare.changes.since import with_changes

            text = with_changes(text, form, changes)
        if job.stopped():
            return False
        if path is not None:
            write_export(path, text)
        done(text)
        return True

    return work


def picture_job(
    make: Callable[[], str | bytes], path: Path | None, done: Callable[[str | bytes], None]
) -> Callable[[Job], bool]:
    """Work that writes a picture (or, without a path, hands it to `done`)."""

    def work(job: Job) -> bool:
        content = make()
        if job.stopped():
            return False
        if path is not None:
            write_export(path, content)
        done(content)
        return True

    return work


def reproduction_job(
    comparison: Comparison, row: int, done: Callable[[str], None]
) -> Callable[[Job], bool]:
    """Work that writes a test of a row's layer to a new directory here, and says so to `done`.

    The job fails with `ExportError` where no test can be made.
    """

    def work(job: Job) -> bool:
        from ...compare.measuring.pair_reader import CancelledError
        from ...compare.repro.files import reproduction, write
        from ...compare.repro.place import NothingToReproduceError

        try:
            found = reproduction(comparison, f"#{row}", job.stopped)
            if job.stopped():
                return False
            folder = _free_folder(found.layer)
            write(found, folder)
        except NothingToReproduceError as error:
            raise ExportError(str(error)) from error
        except CancelledError:
            return False
        ends = "test_candidate fails" if found.broken else "both pass: the layer satisfies its law"
        done(f"wrote {folder}/{found.name} of {found.label}: {ends}")
        return True

    return work


def _free_folder(layer: str) -> str:
    """`./repro-LAYER`, with a number behind it where that is taken."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", layer)[:80]
    number = 1
    while True:
        folder = Path(f"./repro-{name}" + (f"-{number}" if number > 1 else ""))
        if not os.path.lexists(folder):
            return f"./{folder}"
        number += 1
