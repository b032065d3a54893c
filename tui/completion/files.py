"""Files as candidates. A directory is listed beside the screen: its disk may be slow, or gone."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

from .candidates import Candidates, fitting

_MOST_ENTRIES = 20_000  # that are looked at in one directory


def parts_of(path: str) -> tuple[str, str]:
    """The directory that a path is completed in, as it was typed, and the beginning of a name."""
    head, name = os.path.split(path)
    return path[: len(path) - len(name)] if head else "", name


def candidates_in(line: str, start: int) -> Candidates:
    """Files that the path from `start` on may mean; folders end with a slash. Hidden ones only
    where the name begins with a dot. Nothing where the directory cannot be listed.
    """
    typed = line[start:]
    folder, name = parts_of(typed)
    try:
        with os.scandir(Path(folder).expanduser()) as entries:
            found = [
                folder + entry.name + ("/" if _is_folder(entry) else "")
                for entry in islice(entries, _MOST_ENTRIES)
                if entry.name.isprintable() and (name.startswith(".") or entry.name[0] != ".")
            ]
    except (OSError, ValueError, RuntimeError):  # a zero byte in the name; no such user's home
        return Candidates(start)
    return fitting(line, start, sorted(found))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
