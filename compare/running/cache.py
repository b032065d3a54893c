"""Measurements remembered on disk, so that a pair of captures opens with all its badges.

One SQLite file in the user's cache directory. A measurement is found by what was measured: on
each side the file's path, inode, size, times of change and a hash of its first bytes and of samples
of the record (MAX overwrites files of equal size within one tick of the clock), where in the file
the record lies, the recipes, the tolerance, and the version of the arithmetic. A cache that cannot
be opened, read or written is never an error: the pair is measured again.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import fields
from hashlib import blake2b
from math import prod
from pathlib import Path
from typing import Any, Literal

from ...capture.dtypes import DTYPES
from ...capture.records import Locator
from ...capture.storage import first_bytes, open_file, storage_of
from ...capture.user.paths import cache_dir
from ..measuring.error_structure import Part, Structure
from ..measuring.metrics import NUMBERS
from ..measuring.pair_reader import PairTask, SideTask
from ..model import Measurement, SideStatistics, Totals

ENGINE = 14  # raise when a number changes its meaning or its arithmetic
_SAMPLES, _SAMPLE = 16, 4096
_SMALL = _SAMPLES * _SAMPLE
_MOST_ROWS = 400_000
_MOST_TEXTS = 200  # each may be a megabyte
_ATTEMPTS = 5
_INDEX_FIELDS = ("shape", "max_abs_index", "max_rel_index", "max_abs_values", "max_rel_values",
                 "partial")  # fmt: skip


class MeasurementCache:
    """Get and put measurements by task. Use from one thread."""

    def __init__(self, path: Path | None = None) -> None:
        self._db: sqlite3.Connection | None = None
        with contextlib.suppress(OSError, RuntimeError, sqlite3.Error):  # RuntimeError: no home
            place = path or cache_dir() / "measurements.sqlite"
            place.parent.mkdir(parents=True, exist_ok=True)
            self._db = _connect(place)

    def get(self, keys: Iterable[str]) -> dict[str, Measurement]:
        """The measurements known under `keys`."""
        found: dict[str, Measurement] = {}
        if self._db is None:
            return found
        wanted = list(keys)
        for at in range(0, len(wanted), 500):
            part = wanted[at : at + 500]
            marks = ",".join("?" * len(part))
            try:
                rows = self._db.execute(
                    f"SELECT key, value FROM measurements WHERE key IN ({marks})", part
                ).fetchall()
            except sqlite3.Error:
                return found
            for key, value in rows:
                measurement = decoded(value)
                if measurement is not None:
                    found[key] = measurement
        return found

    def put(self, results: Iterable[tuple[str, Measurement]]) -> None:
        """Remember measurements; the oldest go when there are too many."""
        if self._db is None:
            return
        rows = [(key, encoded(measurement)) for key, measurement in results]
        with contextlib.suppress(sqlite3.Error), self._db:
            self._db.executemany("INSERT OR REPLACE INTO measurements VALUES (?, ?)", rows)

    def close(self) -> None:
        """Drop what is too old and close the file."""
        if self._db is None:
            return
        with contextlib.suppress(sqlite3.Error), self._db:
            self._db.execute(
                "DELETE FROM measurements WHERE rowid <= (SELECT max(rowid) FROM measurements) - ?",
                (_MOST_ROWS,),
            )
        with contextlib.suppress(sqlite3.Error):
            self._db.close()
        self._db = None


def _connect(place: Path) -> sqlite3.Connection:
    """Open the file; one that is damaged is made anew, one that is being made is waited for."""
    for attempt in range(_ATTEMPTS):
        db = sqlite3.connect(place, timeout=2.0, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=OFF")
            db.execute("CREATE TABLE IF NOT EXISTS measurements (key TEXT PRIMARY KEY, value TEXT)")
            db.execute("SELECT key FROM measurements LIMIT 1").fetchone()
            return db
        except sqlite3.DatabaseError as error:
            db.close()
            if attempt == _ATTEMPTS - 1:
                raise
            if not isinstance(error, sqlite3.OperationalError):
                for suffix in ("", "-wal", "-shm"):  # a log left behind would be played back
                    Path(f"{place}{suffix}").unlink(missing_ok=True)
            elif "locked" not in str(error):  # switching to WAL does not wait for its lock
                raise
            else:
                time.sleep(0.05)
    raise sqlite3.DatabaseError("unreachable")


class TextCache:
    """Texts by key, in a table of their own in the same file. Use as a context manager, from one
    thread; what cannot be opened, read or written is never an error.
    """

    def __init__(self, table: Literal["laws", "content"], path: Path | None = None) -> None:
        self._table = table
        self._path = path
        self._db: sqlite3.Connection | None = None

    def __enter__(self) -> TextCache:
        with contextlib.suppress(OSError, RuntimeError, sqlite3.Error):  # RuntimeError: no home
            place = self._path or cache_dir() / "measurements.sqlite"
            place.parent.mkdir(parents=True, exist_ok=True)
            self._db = _connect(place)
            self._db.execute(
                f"CREATE TABLE IF NOT EXISTS {self._table} (key TEXT PRIMARY KEY, value TEXT)"
            )
        return self

    def __exit__(self, *error: object) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()

    def get(self, key: str) -> str | None:
        if self._db is None:
            return None
        try:
            query = f"SELECT value FROM {self._table} WHERE key = ?"
            found = self._db.execute(query, (key,)).fetchone()
        except sqlite3.Error:
            return None
        return None if found is None else str(found[0])

    def put(self, key: str, text: str) -> None:
        """Remember a text; the oldest go when there are too many."""
        if self._db is None:
            return
        with contextlib.suppress(sqlite3.Error), self._db:
            self._db.execute(f"INSERT OR REPLACE INTO {self._table} VALUES (?, ?)", (key, text))
            self._db.execute(
                f"DELETE FROM {self._table} WHERE rowid <= "
                f"(SELECT max(rowid) FROM {self._table}) - ?",
                (_MOST_TEXTS,),
            )


class FileIdentities:
    """Identities of records' bytes; a file's own part is computed once."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[str, int, bytes | None]] = {}

    def key(self, task: PairTask) -> str | None:
        """The cache key of a task; None when a file cannot be looked at."""
        digest = blake2b(digest_size=24)
        _feed(digest, ENGINE, tuple(NUMBERS), task.rtol, task.atol, task.ulp, task.mask)
        try:
            for side in (task.reference, task.candidate):
                self.feed(digest, side)
        except OSError:
            return None
        return digest.hexdigest()

    def feed(self, digest: blake2b, side: SideTask) -> None:
        """Hash what identifies one side. Raises `OSError`."""
        _feed(digest, side.dtype, side.recipe, side.total)
        own = [("", locator) for locator in _places(side.locator)]
        others = [(name, part) for name, locator in side.others for part in _places(locator)]
        for name, locator in (*own, *others):
            status, size, head = self._file(locator.path)
            _feed(
                digest, name, status, locator.dtype, locator.shape, locator.offset,
                locator.strides, locator.reader, locator.key,
            )  # fmt: skip
            if head is not None:
                digest.update(head)
                digest.update(_samples(locator, size))

    def _file(self, path: str) -> tuple[str, int, bytes | None]:
        """What is known of a file, its size, and its first bytes unless there is no need of them:
        where it is known by its content.
        """
        found = self._files.get(path)
        if found is None:
            storage = storage_of(path)
            status = storage.status(path)
            if status is None:
                raise FileNotFoundError(path)
            head = None if status.exact else first_bytes(path, _SAMPLE)
            found = (repr((storage.real(path), *status.identity)), status.size, head)
            self._files[path] = found
        return found


def _feed(digest: blake2b, *parts: object) -> None:
    """Hash values so that no two lists of them look alike."""
    digest.update(repr(parts).encode())


def _places(locator: Locator) -> list[Locator]:
    """The locator, and those of the parts that it is put together from."""
    if not locator.of_ranks:
        return [locator]
    from ...capture.ranks.join_tree import part_locators

    try:
        return [locator, *part_locators(locator)]
    except ValueError:
        return [locator]


def _samples(locator: Locator, size: int) -> bytes:
    """A hash of blocks spread evenly over the record's bytes, first and last included."""
    if locator.in_place:
        start = locator.offset
        length = prod(locator.shape) * DTYPES[locator.dtype].itemsize
        if locator.strides is not None:
            length = size - start
    else:
        start, length = 0, size
    digest = blake2b(digest_size=16)
    with open_file(locator.path) as file:
        if length <= _SMALL:
            digest.update(file.read_at(start, max(0, length)))
        else:
            gap = (length - _SAMPLE) / (_SAMPLES - 1)
            for index in range(_SAMPLES):
                digest.update(file.read_at(start + int(index * gap), _SAMPLE))
    return digest.digest()


def encoded(measurement: Measurement) -> str:
    """A measurement as JSON text (with Python's words for NaN and infinity)."""
    return json.dumps(_shallow(measurement), default=_shallow)


def _shallow(value: Measurement | SideStatistics | Structure | Part) -> dict[str, object]:
    """The fields as they are; `dataclasses.asdict` would copy every value, which takes longer."""
    return {f.name: getattr(value, f.name) for f in fields(value)}


def decoded(text: str) -> Measurement | None:
    """A measurement from its stored form; None when it is of another make."""
    try:
        data = json.loads(text)
        if set(data) != {f.name for f in fields(Measurement)}:
            return None
        for name in _INDEX_FIELDS:
            if data[name] is not None:
                data[name] = tuple(data[name])
        if data["totals"] is not None:
            data["totals"] = Totals(*data["totals"])
        for name in ("reference", "candidate"):
            if data[name] is not None:
                data[name] = SideStatistics(**data[name])
        if data["structure"] is not None:
            data["structure"] = _structure(data["structure"])
        return Measurement(**data)
    except (ValueError, TypeError, KeyError):
        return None


def _structure(data: dict[str, Any]) -> Structure:
    for name, value in data.items():
        if isinstance(value, list):
            data[name] = tuple(value)
        elif isinstance(value, dict):
            data[name] = Part(**value)
    return Structure(**data)
