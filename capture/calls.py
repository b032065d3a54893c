"""How the calls of a recorded model were made: the arguments of each, from the manifests."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from .errors import CaptureError, RecordError
from .files import MANIFEST
from .formats.manifest import read_manifest
from .formats.registry import NATIVE
from .records import Capture, Record

Key = tuple[str, int, int]  # module as dumped, call, step


@dataclass(frozen=True, slots=True)
class Call:
    """The arguments of one call as `recorder.tree` has them, but that `{"seq": n}` stands for
    the record in slot `slots[n]` of this call.
    """

    args: list[Any]
    kwargs: dict[str, Any]
    slots: tuple[str, ...]

    @property
    def cached(self) -> bool:
        """True when a cache is among the arguments."""
        return _has_cache([self.args, self.kwargs])


@dataclass(slots=True)
class Calls:
    """The calls of a capture; its manifests are read when first asked. Captures of other formats
    have none.
    """

    capture: Capture
    _known: dict[Key, Call] | None = field(default=None, init=False)

    def of(self, module: str, call: int, step: int) -> Call | None:
        """The arguments of a call; None where the capture does not keep them."""
        if self._known is None:
            self._known = self._read()
        return self._known.get((module, call, step))

    def _read(self) -> dict[Key, Call]:
        known: dict[Key, Call] = {}
        for folder in _folders(self.capture.records):
            try:
                manifest = read_manifest(os.path.join(folder, MANIFEST))
            except (RecordError, CaptureError, OSError):
                continue  # said when the capture was opened
            slots = {entry.get("seq"): entry.get("slot") for entry in manifest.records}
            for call in manifest.calls:
                made = _call(call, slots)
                if made is not None:
                    known[made[0]] = made[1]
        return known


def _folders(records: list[Record]) -> list[str]:
    ours = (record.path for record in records if record.format == NATIVE.name)
    return list(dict.fromkeys(os.path.dirname(path) for path in ours))


def _call(entry: dict[str, Any], slots: dict[Any, Any]) -> tuple[Key, Call] | None:
    module, number, step = entry.get("module"), entry.get("n"), entry.get("step")
    args, kwargs = entry.get("args"), entry.get("kwargs")
    whole = type(number) is int and type(step) is int
    if type(module) is not str or not whole or type(args) is not list or type(kwargs) is not dict:
        return None
    used: list[str] = []
    renumbered = [_renumbered(part, slots, used) for part in args]
    named = {key: _renumbered(part, slots, used) for key, part in kwargs.items()}
    return (module, number, step), Call(renumbered, named, tuple(used))  # type: ignore[return-value]


def _renumbered(part: Any, slots: dict[Any, Any], used: list[str]) -> Any:
    if isinstance(part, list):
        return [_renumbered(inner, slots, used) for inner in part]
    if not isinstance(part, dict):
        return part
    if type(part.get("seq")) is int:
        slot = slots.get(part["seq"])
        if type(slot) is not str:
            return {"unknown": "a tensor that the manifest does not list"}
        if slot not in used:
            used.append(slot)
        return {"seq": used.index(slot)}
    return {key: _renumbered(inner, slots, used) for key, inner in part.items()}


def _has_cache(part: Any) -> bool:
    if isinstance(part, list):
        return any(_has_cache(inner) for inner in part)
    if isinstance(part, dict):
        return "cache" in part or any(_has_cache(inner) for inner in part.values())
    return False
