"""Tensors of the CPU recorded as those of an accelerator are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from unittest.mock import patch

from layertui.capture.recorder.sinks import held


@contextlib.contextmanager
def on_the_device(wanted: bool = True, smallest: int = -1) -> Iterator[None]:
    """Summaries are made where tensors are, of those of more than `smallest` bytes."""
    if not wanted:
        yield
        return
    devices = held.DEVICES | {"cpu"}
    with patch.object(held, "DEVICES", devices), patch.object(held, "SMALLEST", smallest):
        yield
