"""Walking a capture directory: one pass of `scandir`, no file is opened."""

from __future__ import annotations

import os
from dataclasses import dataclass

from .errors import CaptureError

# Texts, pictures and archives that lie beside tensors: no format of tensors ends in these, and
# `--raw` does not mean them.
NOT_TENSORS = (
    *(".txt", ".log", ".err", ".out", ".md", ".rst", ".html", ".pdf", ".py", ".sh"),
    *(".json", ".jsonl", ".csv", ".tsv", ".toml", ".yaml", ".yml", ".ini"),
    *(".png", ".jpg", ".jpeg", ".gif", ".svg", ".zip", ".gz", ".xz", ".tar"),
)
_DEEPEST = 8  # directories below the capture that are looked into


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A regular file below a capture.

    `name` is its path below the capture without the step directory (`model.norm-output.pt`,
    `block/out.npy`), `step` the number of the step directory it lies in (0 without one).
    `problem` says why it must not be opened (a link that leads out of the capture).
    """

    path: str
    folder: str
    name: str
    step: int
    problem: str | None = None

    @property
    def suffix(self) -> str:
        base = self.name[self.name.rfind("/") + 1 :]
        dot = base.rfind(".")
        return base[dot:].lower() if dot > 0 else ""

    @property
    def stem(self) -> str:
        """The record name that the file's name gives: no suffix, `/` as in sub-directories."""
        suffix = self.suffix
        return self.name[: -len(suffix)] if suffix else self.name


def list_files(path: str) -> list[FoundFile]:
    """Every regular file below `path`, or `path` itself when it is a file.

    Hidden files are passed over. Directories named by a number are steps. Links are followed
    only inside the capture. Raises `CaptureError` when `path` is missing or cannot be listed.
    """
    if not os.path.exists(path):
        raise CaptureError(f"{path}: no such file or directory")
    if os.path.isfile(path):
        return [FoundFile(path, os.path.dirname(path) or ".", os.path.basename(path), 0)]
    if not os.path.isdir(path):
        raise CaptureError(f"{path}: neither a file nor a directory")
    found: list[FoundFile] = []
    _walk(path, os.path.realpath(path), "", 0, False, 0, found)
    return found


def _walk(
    folder: str, root: str, prefix: str, step: int, stepped: bool, depth: int,
    found: list[FoundFile],
) -> None:  # fmt: skip
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        if depth == 0:
            raise CaptureError(f"{folder}: cannot be listed: {error.strerror}") from error
        found.append(FoundFile(folder, folder, prefix, step, f"cannot be listed: {error.strerror}"))
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        problem = _link_problem(entry, root)
        if problem is None and entry.is_dir():
            if depth == _DEEPEST:
                problem = f"directories nest more than {_DEEPEST} deep"
            elif not stepped and entry.name.isdecimal():
                _walk(entry.path, root, prefix, int(entry.name), True, depth + 1, found)
                continue
            else:
                inner = f"{prefix}{entry.name}/"
                _walk(entry.path, root, inner, step, stepped, depth + 1, found)
                continue
        if problem is not None or entry.is_file():
            found.append(FoundFile(entry.path, folder, prefix + entry.name, step, problem))


def _link_problem(entry: os.DirEntry[str], root: str) -> str | None:
    if not entry.is_symlink():
        return None
    target = os.path.realpath(entry.path)
    if target == root or root.startswith(target + os.sep):
        return "a link to a directory that it lies in"
    if not target.startswith(root + os.sep):
        return "a link that leads out of the capture directory"
    return None if os.path.exists(target) else "a link to nothing"
