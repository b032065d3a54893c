"""Where notes on rows lie, and whether there are any."""

from __future__ import annotations

import os
from pathlib import Path

from ...capture.storage import is_url
from .row_notes import RowNotes

FILE = "layertui-notes.toml"


def note_files(reference: str, rules_path: str | None) -> list[str]:
    """Where notes are looked for: the first is written to."""
    own = "." if is_url(reference) else str(Path(reference).absolute().parent)
    folders = [own] if rules_path is None else [os.path.dirname(rules_path) or ".", own]
    paths = [os.path.join(folder, FILE) for folder in folders]
    return list({os.path.realpath(path): path for path in paths}.values())


def notes_on(reference: str, rules_path: str | None = None) -> RowNotes:
    """The notes on rows of comparisons with the capture `reference`. A file that cannot be read is
    a problem of the result.
    """
    paths = [path for path in note_files(reference, rules_path) if os.path.lexists(path)]
    if not paths:
        return RowNotes()
    from .notes_file import notes_in  # what reads and writes TOML is seldom needed

    return notes_in(paths, reference)
