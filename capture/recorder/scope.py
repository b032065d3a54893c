"""Which module is running, in which call and step. One stack a thread."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True, eq=False)
class Target:
    """A module that is watched. `layer` is the only layer of a KV cache that it uses."""

    name: str
    kind: str
    record: bool = True
    ops: bool = False
    no_ops: bool = False
    layer: int | None = None
    compiled: bool = False  # torch compiled what is inside
    ids_first: bool = False  # its first positional argument is `input_ids`
    fired: bool = False


@dataclass(slots=True, eq=False)
class Frame:
    """A call that has not returned. `raised` is the exception being handled when it began."""

    target: Target
    call_id: int
    parent: int | None
    call: int
    step: int
    record: bool
    ops: bool
    raised: BaseException | None = None
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    op_count: int = 0
    listens: bool = False  # to operators
    pauses: bool = False  # listening


class Scope(threading.local):
    """The running calls of this thread, outermost first; `busy` while the recorder itself works."""

    def __init__(self) -> None:
        self.stack: list[Frame] = []
        self.busy = False

    @property
    def top(self) -> Frame | None:
        return self.stack[-1] if self.stack else None

    def pop(self, target: Target) -> Frame | None:
        """Leave the innermost call of `target`, and what was left without notice inside it.

        None when no call of it is running: the recording began in the middle of it.
        """
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index].target is target:
                frame = self.stack[index]
                del self.stack[index:]
                return frame
        return None


class Counters:
    """Steps, and how often each thing happened in the current one. Not for several threads: the
    recorder holds its lock.

    Each outermost call of the root module begins a step. What runs before the first one, as an
    encoder may, is in step 0 with it.
    """

    def __init__(self) -> None:
        self.step = 0
        self._roots = 0
        self._calls: dict[tuple[str, str], int] = {}
        self._ids = 0

    def begin_root(self) -> None:
        self._roots += 1
        if self._roots > 1:
            self.step += 1
            self._calls.clear()

    def next_call(self, name: str, what: str = "") -> int:
        """1 for the first time in this step."""
        number = self._calls.get((name, what), 0) + 1
        self._calls[name, what] = number
        return number

    def next_id(self) -> int:
        self._ids += 1
        return self._ids


def record_fields(
    module: str, slot: str, call: int, step: int, kind: str | None, frame: Frame | None
) -> dict[str, Any]:
    """The keys of a record's line that are known when it is taken."""
    return {
        "module": module, "slot": slot, "call": call, "step": step,
        "class": kind if kind is not None or frame is None else frame.target.kind,
        "call_id": frame.call_id if frame is not None else None, "op": None, "source": None,
    }  # fmt: skip
