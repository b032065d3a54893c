"""`layertui-notes.toml`: notes on rows, beside the rules file, else beside the reference.

    schema = "layertui.notes/1"

    [[note]]
    reference = "torch_dump"                            # from the folder of this file
    record = "layers.0.self_attn.q_norm-output"
    text = "eps is 1e-6 here"

People may edit it: what the program does not change stays as it is, comments included. What lies in
it is not trusted. Notes of other references stay in it and are counted.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

from ...capture.storage import is_url
from ..rules.edit import content_of, replace_content, toml_string
from ..rules.rules import RulesError
from .row_notes import RowNotes

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

SCHEMA = "layertui.notes/1"
LONGEST = 2000  # characters of one note
_MOST_BYTES = 4 << 20  # of a file: thousands of notes
_PATIENCE = 2.0  # seconds to wait for another program that writes


class NotesError(Exception):
    """A file of notes that cannot be read or written; one line for the user."""


def notes_in(paths: Iterable[str], reference: str) -> RowNotes:
    """The notes that files have on rows of comparisons with the capture `reference`. A file that
    cannot be read is a problem of the result.
    """
    texts: dict[str, str] = {}
    places: dict[str, str] = {}
    problems: list[str] = []
    elsewhere = 0
    for path in paths:
        try:
            notes = _read(path)[1]
        except NotesError as error:
            problems.append(f"{error}; notes in it are not shown")
            continue
        here = _name_of(reference, path)
        for note in notes:
            if note["reference"] != here:
                elsewhere += 1
            elif note["record"] not in texts or places[note["record"]] == path:
                texts[note["record"]] = _one_line(note["text"])
                places[note["record"]] = path
    return RowNotes(texts, places, elsewhere, tuple(problems))


def write_note(path: str, reference: str, record: str, text: str, known: str = "") -> None:
    """Put a note on a record into the file `path`, which is made where there is none, in the place
    of the note that is `known`; an empty `text` takes it out. Raises `NotesError`, and then nothing
    is written: also where the note in the file is another one than `known`.
    """
    text = _one_line(text)
    if len(text) > LONGEST:
        raise NotesError(f"a note has at most {LONGEST} characters, this one {len(text)}")
    with _alone(path):
        before, notes = _read(path)
        here = _name_of(reference, path)
        mine = [n for n in notes if (n["reference"], n["record"]) == (here, record)]
        now = _one_line(mine[-1]["text"]) if mine else ""
        if now not in (known, text):
            raise NotesError(f"the note was changed meanwhile: {now or 'it was taken out'}")
        kept = [n for n in notes if n not in mine]
        new = {"reference": here, "record": record, "text": text}
        after = [*kept, *([new] if text else [])]
        content = _changed(before, here, record, text)
        try:
            if _in_order(_parsed(content, path)[1]) != _in_order(after):
                raise NotesError(f"{path}: cannot be changed without other notes changing too")
            replace_content(path, os.path.realpath(path), content)
        except RulesError as error:
            raise NotesError(str(error)) from error


def _read(path: str) -> tuple[bytes, list[dict[str, str]]]:
    """The file and its notes; both empty where there is none. Raises `NotesError`."""
    try:
        if os.path.exists(path) and os.path.getsize(path) > _MOST_BYTES:
            raise NotesError(f"{path}: too large for a file of notes")
        content = content_of(path)[1]
    except (RulesError, OSError) as error:
        raise NotesError(str(error)) from error
    return (b"", []) if content is None else _parsed(content, path)


def _parsed(content: bytes, path: str) -> tuple[bytes, list[dict[str, str]]]:
    try:
        found: dict[str, Any] = tomllib.loads(content.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        line = (str(error).splitlines() or ["?"])[0]
        raise NotesError(f"{path}: no TOML, or not all of it: {line}") from error
    if content.strip() and found.get("schema") != SCHEMA:
        raise NotesError(f'{path}: not a file of notes: it has no schema = "{SCHEMA}"')
    notes = found.get("note", [])
    keys = ("reference", "record", "text")
    whole = isinstance(notes, list) and all(
        isinstance(note, dict) and all(isinstance(note.get(key), str) for key in keys)
        for note in notes
    )
    if not whole:
        raise NotesError(f"{path}: damaged: a note lacks its reference, record or text")
    return content, [{key: note[key] for key in keys} for note in notes]


def _in_order(notes: list[dict[str, str]]) -> list[tuple[str, ...]]:
    return sorted(tuple(note.values()) for note in notes)


def _changed(before: bytes, reference: str, record: str, text: str) -> bytes:
    """The file with this note alone; everything else as it is."""
    import tomlkit

    document: Any = tomlkit.parse(before.decode("utf-8"))
    if "schema" not in document:
        document.add(tomlkit.comment("Notes on rows, written by layertui (:note); may be edited."))
        document.add("schema", SCHEMA)
    if "note" not in document:
        document.add("note", tomlkit.aot())
    notes = document["note"]
    comments: list[str] = []
    for at in reversed(range(len(notes))):
        if (notes[at]["reference"], notes[at]["record"]) != (reference, record):
            continue
        if text:
            notes[at]["text"], text = toml_string(text), ""
            continue
        comments = [*_comments(notes[at].as_string()), *comments]
        del notes[at]
    if text:
        table = tomlkit.table()
        for key, value in (("reference", reference), ("record", record), ("text", text)):
            table.add(key, toml_string(value))
        notes.append(table)
    elif not len(notes):
        del document["note"]
    whole = "".join([document.as_string(), *(f"{line}\n" for line in comments)])
    return whole.encode("utf-8", "backslashreplace")


def _comments(table: str) -> list[str]:
    """Lines of a table that are comments and nothing else: those above the next one, too."""
    return [line.strip() for line in table.splitlines() if line.lstrip().startswith("#")]


def _name_of(reference: str, path: str) -> str:
    """What the file `path` calls a reference: its place from there, or its URL."""
    if is_url(reference):
        return reference
    folder = os.path.dirname(os.path.realpath(path))
    try:
        return os.path.relpath(os.path.realpath(reference), folder).replace(os.sep, "/")
    except ValueError:  # another drive
        return os.path.realpath(reference)


def _one_line(text: str) -> str:
    return " ".join(text.split())


@contextlib.contextmanager
def _alone(path: str) -> Iterator[None]:
    """Nobody else changes files of notes in this folder meanwhile. Raises `NotesError`."""
    folder = os.path.dirname(os.path.realpath(path))
    try:
        handle = os.open(folder, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError as error:
        if fcntl is None:
            yield
            return
        raise NotesError(f"{path}: cannot be written: {error.strerror or error}") from error
    try:
        _lock(handle, path)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, path: str) -> None:
    if fcntl is None:
        return
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                raise NotesError(f"{path}: another program is writing notes there") from None
            time.sleep(0.02)
        except OSError:  # a file system without locks
            return
