"""Text that goes to other people: places of the user's disk are shortened to the names at their
ends.
"""

from __future__ import annotations

import html
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ...capture.models.run_details import run_details

if TYPE_CHECKING:
    from ..comparison import Comparison

_ABSOLUTE = re.compile(r"(/|~/|[A-Za-z]:[\\/])[^\s]")  # where a path begins, not a URL


def without_places(text: str, comparison: Comparison, command: str = "") -> str:
    """The text, or page, without the folders that captures lie in, those of files that `command`
    names and those that captures tell of (the model's), and without the user's home.
    """
    for folder in sorted(set(_folders(comparison, command)), key=len, reverse=True):
        for spelling in dict.fromkeys((folder, html.escape(folder))):
            text = re.sub(rf"(?<![\w/.-]){re.escape(spelling + os.sep)}", "", text)
    home = str(Path.home())
    return text.replace(home, "~") if len(home) > 1 else text


def _folders(comparison: Comparison, command: str) -> Iterator[str]:
    """Folders to leave out; never the root."""
    places = list(_named(command))
    for capture in (comparison.reference, comparison.candidate):
        path = os.path.normpath(capture.path)
        places += [str(Path(path).absolute()), path]
        told = (capture.model or "", *run_details(capture.path).values())
        places += [value for value in told if _ABSOLUTE.match(value)]
    for place in places:
        folder = os.path.dirname(place.rstrip(os.sep))
        if len(folder) > 1:
            yield folder


def _named(command: str) -> Iterator[str]:
    """Paths that a command line names in full; a line whose quotes do not close counts as plain
    words.
    """
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    for word in words:
        value = word.partition("=")[2] if word.startswith("--") else word
        if _ABSOLUTE.match(value):
            yield value
