"""What earlier runs left, kept in the cache directory: captures, and answers of runners.

    runs/<key>/kept.json     when it was made, and the size and digest of every file
    runs/<key>/files/        the files

The key tells everything that the files depend on (see `capture.models.made_of`). They are copies,
so that an edit of an export never reaches them, and are compared with their digests when they are
taken. What cannot be kept or taken is no error: it is made anew.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

from ...capture.user.paths import cache_dir

SCHEMA = "layertui.kept/1"
MOST_BYTES = 1 << 30  # of one run: copying more takes longer than a run saves
MOST_ALL = 4 << 30
_INDEX, _FILES = "kept.json", "files"
_PIECE = 1 << 22


class KeptRuns:
    """The kept runs of the user."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def has(self, key: str) -> bool:
        """True where something is kept under `key`; `take` says whether it is sound."""
        return self._index(key) is not None

    def take(self, key: str, target: Path) -> str | None:
        """Copy what is kept under `key` to `target`, which must not exist; returns when it was
        made, `2026-11-29 14:05`. None, and no `target`, where nothing sound is kept.
        """
        index = self._index(key)
        if index is None:
            return None
        place = self._place() / key
        try:
            for name, (size, digest) in index["files"].items():
                into = target / name
                into.parent.mkdir(parents=True, exist_ok=True)
                if _copied(place / _FILES / name, into) != (size, digest):
                    raise OSError(f"{name} was changed")
            os.utime(place / _INDEX)  # those not asked for longest go first
            return str(index["made"])
        except (OSError, KeyError, TypeError, ValueError, AttributeError):
            shutil.rmtree(target, ignore_errors=True)
            shutil.rmtree(place, ignore_errors=True)
            return None

    def keep(self, key: str, source: Path) -> None:
        """Keep copies of the files below `source`, in place of what was kept under `key`."""
        partial: Path | None = None
        try:
            if sum(path.stat().st_size for path in _files(source)) > MOST_BYTES:
                return
            place = self._place()
            partial = place / f".{key}-{os.getpid()}"
            files: dict[str, tuple[int, str]] = {}
            for path in _files(source):
                name = path.relative_to(source)
                into = partial / _FILES / name
                into.parent.mkdir(parents=True, exist_ok=True)
                files[name.as_posix()] = _copied(path, into)
            made = time.strftime("%Y-%m-%d %H:%M")
            index = {"schema": SCHEMA, "made": made, "files": files}
            (partial / _INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
            shutil.rmtree(place / key, ignore_errors=True)
            partial.rename(place / key)
            self._drop_oldest()
        except (OSError, ValueError, RuntimeError):  # RuntimeError: no home directory
            if partial is not None:
                shutil.rmtree(partial, ignore_errors=True)

    def _place(self) -> Path:
        return self._folder or cache_dir() / "runs"

    def _index(self, key: str) -> dict[str, Any] | None:
        with contextlib.suppress(OSError, ValueError, RecursionError, RuntimeError):
            index = json.loads((self._place() / key / _INDEX).read_text(encoding="utf-8"))
            if isinstance(index, dict) and index.get("schema") == SCHEMA:
                return index
        return None

    def _drop_oldest(self) -> None:
        left = MOST_ALL
        entries = [path for path in self._place().iterdir() if (path / _INDEX).is_file()]
        for place in sorted(entries, key=_asked_for, reverse=True):
            left -= sum(path.stat().st_size for path in _files(place))
            if left < 0:
                shutil.rmtree(place, ignore_errors=True)


def _asked_for(place: Path) -> float:
    return (place / _INDEX).stat().st_mtime


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _copied(source: Path, target: Path) -> tuple[int, str]:
    """Copy a file; its size and digest."""
    size, digest = 0, blake2b(digest_size=16)
    with open(source, "rb") as file, open(target, "wb") as copy:
        while piece := file.read(_PIECE):
            copy.write(piece)
            digest.update(piece)
            size += len(piece)
    return size, digest.hexdigest()
