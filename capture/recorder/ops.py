"""Operators as they are dispatched, below autograd, and the source lines that they come from."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_SKIPPED = (
    os.path.dirname(torch.__file__) + os.sep,
    os.path.dirname(__file__) + os.sep,
)


Listener = Callable[[str, Any], None]


class _OpMode(TorchDispatchMode):
    """Tells the listeners of this thread of every operator; changes nothing."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        for listener in tuple(_listening.listeners):
            listener(str(func), output)
        return output


class _Listening(threading.local):
    """One mode a thread for all recorders: modes must be left in the order of a stack, and the
    hooks of two recorders are not called in such an order.
    """

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self.pauses = 0
        self.mode: _OpMode | None = None

    def update(self) -> None:
        """Enter or leave the mode, as somebody listens or nobody does."""
        wanted = bool(self.listeners) and not self.pauses
        if wanted and self.mode is None:
            self.mode = _OpMode()
            self.mode.__enter__()
        elif not wanted and self.mode is not None:
            mode, self.mode = self.mode, None
            mode.__exit__(None, None, None)


_listening = _Listening()


def listen(listener: Listener) -> None:
    """Tell `listener(name, output)` of every operator that this thread runs from now on."""
    _listening.listeners.append(listener)
    _listening.update()


def stop_listening(listener: Listener) -> None:
    """Undo one `listen`."""
    if listener in _listening.listeners:
        _listening.listeners.remove(listener)
    _listening.update()


def pause() -> None:
    """Until `resume`, nobody listens: compiled code would not run compiled under a mode."""
    _listening.pauses += 1
    _listening.update()


def resume() -> None:
    """Undo one `pause`."""
    _listening.pauses -= 1
    _listening.update()


def source_line() -> str | None:
    """`file.py:123` of the innermost running line that is neither torch's nor the recorder's."""
    frame = sys._getframe(1)
    while frame is not None:
        path = frame.f_code.co_filename
        if not path.startswith(_SKIPPED) and not path.startswith("<"):
            return f"{os.path.basename(path)}:{frame.f_lineno}"
        frame = frame.f_back
    return None
