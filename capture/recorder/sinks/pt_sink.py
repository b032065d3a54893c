"""Torch files as MAX's `TorchPrintHook` writes them: `<step>/<name>.pt` and `tensor_names.txt`.

Names have `model` before the module's path, `(2)` behind it for the second call of a step. The
names file is in execution order: a call's inputs, then its outputs, when it returns.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import directory
from .sink import CallItem, Ending, Item, RecordItem
from .snapshot import Snapshot

_ROOT = "model"
_NAMES = "tensor_names.txt"


class PtSink:
    """Writes one capture directory, which must be empty of captures. `errors` are records that
    have no values, as one line each.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.records = 0
        self.errors: list[str] = []
        self._journal: Any = None
        self._names: dict[int, Any] = {}
        self._waiting: dict[int, list[tuple[int, str]]] = {}  # by call id, until it returns
        self._release: Callable[[Snapshot], None] = lambda snapshot: None

    def begin(self, release: Callable[[Snapshot], None]) -> None:
        self._release = release
        self._journal = open(os.path.join(self.path, directory.FILES), "x", encoding="utf-8")  # noqa: SIM115
        directory.lock(self._journal.fileno())

    def accept(self, item: Item) -> None:
        if isinstance(item, RecordItem):
            self._save(item)
        elif isinstance(item, CallItem):
            for step, name in self._waiting.pop(item.fields["id"], ()):
                self._name(step, name)

    def due(self) -> float | None:
        return None

    def flush(self) -> None:
        for file in (self._journal, *self._names.values()):
            file.flush()

    def finish(self, ending: Ending) -> None:
        """Name what calls stored that never returned, after everything else."""
        for waiting in self._waiting.values():
            for step, name in waiting:
                self._name(step, name)
        self._waiting.clear()
        self.flush()
        self._close()

    def abandon(self, ending: Ending) -> None:
        with contextlib.suppress(OSError):
            self._close()

    def _close(self) -> None:
        for file in (self._journal, *self._names.values()):
            if file is not None:
                file.close()

    def _save(self, item: RecordItem) -> None:
        name, step = _file_name(item.fields), int(item.fields["step"])
        taken = item.snapshot
        if taken.problem is not None:
            self.errors.append(f"{name}: {taken.problem}")
            return
        self._open_step(step)
        self._enter(f"{step}/{name}.pt")
        _write(os.path.join(self.path, str(step)), f"{name}.pt", taken)
        self._release(taken)
        self.records += 1
        call_id: Any = item.fields.get("call_id")
        slot = str(item.fields["slot"])
        inside = type(call_id) is int and item.fields.get("op") is None
        if inside and slot.startswith(("input", "output")):
            self._waiting.setdefault(call_id, []).append((step, name))
        else:
            self._name(step, name)

    def _open_step(self, step: int) -> None:
        if step in self._names:
            return
        folder = os.path.join(self.path, str(step))
        Path(folder).mkdir(exist_ok=True)
        self._enter(f"{step}/{_NAMES}")
        self._names[step] = open(os.path.join(folder, _NAMES), "x", encoding="utf-8")  # noqa: SIM115

    def _enter(self, name: str) -> None:
        """In the journal before it is on disk: what it lists may be deleted later."""
        self._journal.write(f"{name}\n")
        self._journal.flush()

    def _name(self, step: int, name: str) -> None:
        self._names[step].write(f"{name}\n")
        self._names[step].flush()


def _file_name(fields: dict[str, Any]) -> str:
    module, slot, call = str(fields["module"]), str(fields["slot"]), int(fields["call"])
    name = f"{_ROOT}.{module}" if module else _ROOT
    if fields.get("op"):
        name = f"{name}.{fields['op']}"
    name = name.replace("/", "_").replace("\0", "_").replace("\n", "_")
    if call > 1:
        name = f"{name}({call})"
    return name if slot == "value" else f"{name}-{slot}"


def _write(folder: str, name: str, taken: Snapshot) -> None:
    import torch

    partial = os.path.join(folder, f".{name}{directory.PARTIAL}")
    try:
        with open(partial, "xb") as file:
            torch.save(taken.tensor(), file)
        Path(partial).rename(os.path.join(folder, name))
    except RuntimeError as error:  # torch's zip writer has its own words for a full disk
        raise OSError(f"{name}: {str(error).splitlines()[0]}") from error
