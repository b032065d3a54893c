"""A capture in layertui's own format, written from numpy arrays: no torch is needed.

Tensors are put into shards as they come and named later, when the call that they belong to is
known; each is stored once. See `formats.native` for the format.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from ..dtypes import DTYPES
from ..errors import CaptureError
from ..files import MANIFEST
from ..formats.manifest import MAJOR
from ..recorder.sinks.directory import MARK
from ..writing import write_whole

_SHARD_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a tensor lies, or what kept it from being stored."""

    dtype: str
    shape: tuple[int, ...]
    file: str | None = None
    key: str | None = None
    error: str | None = None


class CaptureWriter:
    """Writes one capture into a directory that is there and has none. As a context: an exception
    leaves an unfinished capture of what was gathered before, nothing where that is nothing.
    """

    def __init__(self, path: str, header: dict[str, Any]) -> None:
        self.path = path
        self._header = header
        self._lines: list[dict[str, Any]] = []
        self._waiting: dict[str, tuple[Any, Stored]] = {}
        self._waiting_bytes = 0
        self._number = 1
        self._stored = 0
        self._records = 0
        self._begun = False
        self._calls = 0
        self._first: dict[tuple[str | None, str | None], int] = {}

    def __enter__(self) -> CaptureWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if error is not None and not self._lines and not self._begun:
            return
        ended = {} if error is None else {"error": f"{type(error).__name__}: {error}"[:300]}
        self.flush()
        self._append(
            [{"end": True, "records": self._records, "bytes": self._stored, "never_fired": [],
              **ended}]
        )  # fmt: skip

    def store(self, array: Any, dtype: str) -> Stored:
        """Keep raw elements; they are on disk after the next `flush`. Raises `CaptureError`."""
        import numpy as np

        shape = tuple(int(size) for size in array.shape)
        if DTYPES[dtype].safetensors is None:
            return Stored(dtype, shape, error=f"elements of the type {dtype}")
        raw = np.ascontiguousarray(array, dtype=np.dtype(DTYPES[dtype].storage))
        if self._waiting and self._waiting_bytes + raw.nbytes > _SHARD_BYTES:
            self.flush()
        key = str(len(self._waiting))
        stored = Stored(dtype, shape, f"data-{self._number:05d}.safetensors", key)
        self._waiting[key] = raw, stored
        self._waiting_bytes += raw.nbytes
        return stored

    def call(
        self, module: str, number: int, kind: str | None,
        inputs: list[tuple[str, str, Stored]], outputs: list[tuple[str, str, Stored]],
        arguments: dict[str, Any], operation: str | None = None,
    ) -> None:  # fmt: skip
        """One call of a module, or of an operation in it: slots, the values' names, the tensors.
        `arguments` are further ones, as JSON.
        """
        identity = self._calls = self._calls + 1

        def record(slot: str, stored: Stored) -> dict[str, int]:
            found = self._record(module, slot, number, kind, identity, stored, operation)
            return {"seq": found}

        named = {value: record(slot, stored) for slot, value, stored in inputs}
        made = [record(slot, stored) for slot, _, stored in outputs]
        called = module if operation is None else f"{module}/{operation}"
        self._lines.append({"call": {
            "id": identity, "parent": None, "module": called, "class": kind, "n": number,
            "step": 0, "args": [], "kwargs": {**named, **arguments},
            "output": made[0] if len(made) == 1 else made,
        }})  # fmt: skip

    def value(self, name: str, number: int, kind: str | None, stored: Stored) -> None:
        """A value of a graph, of which no module is known: the `number`-th of its name."""
        self._record(name, "value", number, kind, None, stored, None)

    def note(self, text: str) -> None:
        """What is to be said of the capture, and is known only at its end."""
        self._header["notes"] = [*self._header.get("notes", []), text]
        if self._begun:
            self._lines.append({"meta": {"notes": self._header["notes"]}})

    def _record(
        self, module: str, slot: str, number: int, kind: str | None, identity: int | None,
        stored: Stored, op: str | None,
    ) -> int:  # fmt: skip
        sequence = self._records
        self._records += 1
        place: dict[str, Any] = {"file": stored.file, "key": stored.key, "same_as": None}
        if stored.error is not None:
            place["error"] = stored.error
        else:
            first = self._first.setdefault((stored.file, stored.key), sequence)
            if first != sequence:
                place = {"file": None, "key": None, "same_as": first}
        self._lines.append({
            "seq": sequence, "module": module, "slot": slot, "call": number, "step": 0,
            "class": kind, "call_id": identity, "op": op, "source": None,
            "shape": list(stored.shape), "dtype": stored.dtype, **place,
        })  # fmt: skip
        return sequence

    def flush(self) -> None:
        """Bring what is gathered to the disk: first tensors, then what speaks of them. Raises
        `CaptureError`.
        """
        if self._waiting:
            name = f"data-{self._number:05d}.safetensors"
            entries: dict[str, Any] = {"__metadata__": MARK}
            parts: list[Any] = []
            end = 0
            ordered = sorted(self._waiting.values(), key=lambda e: -DTYPES[e[1].dtype].itemsize)
            for raw, stored in ordered:
                entries[stored.key or ""] = {
                    "dtype": DTYPES[stored.dtype].safetensors, "shape": list(stored.shape),
                    "data_offsets": [end, end + raw.nbytes],
                }  # fmt: skip
                parts.append(raw.tobytes() if not raw.ndim else raw.reshape(-1).view("u1").data)
                end += raw.nbytes
            text = json.dumps(entries).encode()
            text += b" " * (-(len(text) + 8) % 64)
            try:
                write_whole(os.path.join(self.path, name), len(text).to_bytes(8, "little") + text,
                            parts)  # fmt: skip
            except OSError as error:
                raise CaptureError(
                    f"{self.path}: cannot be written: {error.strerror or error}"
                ) from error
            self._stored += end
            self._number += 1
            self._waiting, self._waiting_bytes = {}, 0
        self._append(self._lines)
        self._lines = []

    def _append(self, lines: list[dict[str, Any]]) -> None:
        if not lines:
            return
        if not self._begun:
            self._begun = True
            lines = [{"layertui": MAJOR, **self._header}, *lines]
        text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines)
        try:
            with open(os.path.join(self.path, MANIFEST), "a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise CaptureError(
                f"{self.path}: cannot be written: {error.strerror or error}"
            ) from error
