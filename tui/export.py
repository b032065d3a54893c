"""Writing rows to a file that the user names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from .state import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class ExportError(Exception):
    """A file that cannot be written; one line for the user."""


def default_name(labels: Sequence[str]) -> str:
    """`layertui-layers.0.mlp-output.txt`, or with the number of rows when there are several."""
    if len(labels) == 1:
        stem = re.sub(r"[^A-Za-z0-9._-]+", "_", labels[0]).strip("._") or "row"
        return f"layertui-{stem[:80]}.txt"
    return f"layertui-{len(labels)}-rows.txt"


def target(text: str, name: str) -> Path:
    """The path that `text` means: `~` is the home, a directory gets the file `name`."""
    path = Path(text.strip() or name).expanduser()
    return path / name if path.is_dir() else path


def export_rows(path: Path, rows: Sequence[int], row_text: Callable[[int], str]) -> None:
    """Write the texts of `rows` to `path`, whole or not at all. Raises `ExportError`."""
    text = "\n\n".join(row_text(row).rstrip("\n") for row in rows) + "\n"
    try:
        write_atomically(path, text)
    except OSError as error:
        raise ExportError(f"{path}: cannot be written: {error.strerror or error}") from error
