"""The native format: `manifest.jsonl` and safetensors shards. See `formats.native` for reading.

A line is appended after the bytes that it speaks of are on disk, so the capture of a process that
was killed opens up to its last shard.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from typing import Any

from ...files import MANIFEST
from . import directory
from .dedup import Seen, Stored
from .expected import Expected
from .shard import Shard
from .sink import CallItem, Ending, Item, MetaItem, RecordItem, TokensItem
from .sketch import position_sensitive
from .snapshot import Snapshot
from .stats import statistics


class NativeSink:
    """Writes one capture directory, which must be empty of captures.

    A shard is closed at `shard_bytes`, or `shard_seconds` after the first line that waits for it.
    Of what agrees with `expected` only statistics are written.
    """

    def __init__(
        self, path: str, header: dict[str, Any], *, stats_only: bool,
        shard_bytes: int, shard_seconds: float, expected: Expected | None = None,
    ) -> None:  # fmt: skip
        self.path = path
        self.records = 0
        self._header = header
        self._stats_only, self._expected = stats_only, expected
        self._most, self._seconds = shard_bytes, shard_seconds
        self._seen = Seen()
        self._lines: list[dict[str, Any]] = []
        self._shard: Shard | None = None
        self._number = 1
        self._since: float | None = None
        self._waiting = 0  # records among `_lines`
        self._stored_bytes = 0
        self._tokens: dict[int, Any] = {}
        self._manifest = -1
        self._good = 0  # bytes of the manifest that are whole lines
        self._release: Callable[[Snapshot], None] = lambda snapshot: None

    def begin(self, release: Callable[[Snapshot], None]) -> None:
        """Write the header."""
        self._release = release
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        self._manifest = os.open(os.path.join(self.path, MANIFEST), flags, 0o644)
        directory.lock(self._manifest)
        self._append([self._header])
        directory.sync_directory(self.path)

    def accept(self, item: Item) -> None:
        if isinstance(item, RecordItem):
            self._accept_record(item)
        elif isinstance(item, CallItem):
            self._line({"call": item.fields})
        elif isinstance(item, TokensItem):
            self._accept_tokens(item)
        elif isinstance(item, MetaItem):
            self._line({"meta": item.fields})

    def due(self) -> float | None:
        if self._since is None:
            return None
        return max(0.0, self._since + self._seconds - time.monotonic())

    def flush(self) -> None:
        """Close the shard, then append all waiting lines."""
        if self._shard is not None:
            self._shard.close()
            self._stored_bytes += self._shard.nbytes
            self._number += 1
            self._shard = None
        if self._lines:
            self._append(self._lines)
            self.records += self._waiting
        self._lines, self._waiting, self._since = [], 0, None

    def finish(self, ending: Ending) -> None:
        if self._tokens:
            steps = [self._tokens[step] for step in sorted(self._tokens)]
            self._line({"meta": {"tokens": steps}})
        self.flush()
        self._append([self._end(ending)])
        self._close()

    def abandon(self, ending: Ending) -> None:
        if self._shard is not None:
            self._shard.abandon()
        self._shard, self._lines, self._waiting = None, [], 0
        with contextlib.suppress(OSError):
            if self._manifest >= 0:
                os.ftruncate(self._manifest, self._good)
                self._append([self._end(ending)])
        with contextlib.suppress(OSError):
            self._close()

    def _end(self, ending: Ending) -> dict[str, Any]:
        error = {} if ending.error is None else {"error": ending.error}
        return {
            "end": True, "records": self.records, "bytes": self._stored_bytes,
            "never_fired": ending.never_fired, **error, **ending.more,
        }  # fmt: skip

    def _close(self) -> None:
        if self._manifest >= 0:
            descriptor, self._manifest = self._manifest, -1
            os.close(descriptor)

    def _line(self, line: dict[str, Any]) -> None:
        if self._since is None:
            self._since = time.monotonic()
        self._lines.append(line)

    def _accept_tokens(self, item: TokensItem) -> None:
        ids = item.snapshot.tensor().tolist()
        self._release(item.snapshot)
        if not self._tokens:
            self._line({"meta": {"input_ids": ids}})
        self._tokens[item.step] = ids

    def _accept_record(self, item: RecordItem) -> None:
        """Store the bytes in the open shard, unless they are known, or not wanted, or not there."""
        taken = item.snapshot
        place: dict[str, Any] = {"file": None, "key": None, "same_as": None}
        if taken.problem is not None:
            place["error"] = taken.problem
        elif item.same_as is not None:
            place["same_as"] = item.same_as
        elif (stats := self._in_place_of_values(item)) is not None:
            place["stats"] = stats
            self._release(taken)
        else:
            key = self._seen.key(taken.dtype, taken.raw())
            place["same_as"] = self._seen.find(key, taken.raw())
            if place["same_as"] is None:
                stored = self._store(item, place)
                self._seen.add(key, stored)
            else:
                self._release(taken)
        described = {"shape": list(taken.shape), "dtype": taken.dtype, "device": taken.device}
        self._line({"seq": item.seq, **item.fields, **described, **place})
        self._waiting += 1
        if self._shard is not None and (self._shard.nbytes >= self._most or self._shard.full):
            self.flush()

    def _in_place_of_values(self, item: RecordItem) -> dict[str, Any] | None:
        """Statistics and sketch, where these are enough."""
        if not self._stats_only and self._expected is None:
            return None
        taken = item.snapshot
        if taken.summary is not None:
            found = taken.summary.described()
        else:
            found = {**statistics(taken.tensor()), **position_sensitive(taken)}
        if self._expected is None:
            return found
        described = {"shape": taken.shape, "dtype": taken.dtype, **found}
        return found if self._expected.agrees(item.fields, described) else None

    def _store(self, item: RecordItem, place: dict[str, Any]) -> Stored:
        """Into the open shard; a tensor that it has no room for begins another."""
        taken = item.snapshot
        if self._shard is not None and self._shard.nbytes + taken.nbytes > self._most:
            self.flush()
        if self._shard is None:
            name = f"data-{self._number:05d}.safetensors"
            self._shard = Shard(self.path, name, self._release)
        place["file"], place["key"] = self._shard.name, str(item.seq)
        return self._shard.add(str(item.seq), taken)

    def _append(self, lines: list[dict[str, Any]]) -> None:
        text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines).encode()
        _write_all(self._manifest, text)
        os.fsync(self._manifest)
        self._good += len(text)


def _write_all(descriptor: int, data: bytes) -> None:
    """`os.write` may write less than it is given, on a disk that gets full."""
    view = memoryview(data)
    while view.nbytes:
        view = view[os.write(descriptor, view) :]
