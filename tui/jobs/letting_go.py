"""Comparisons that others replace: they are freed bit by bit, beside the screen.

With the last reference to a comparison of 100,000 rows all of it would go at one go: half a second
in which the screen hears no key.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from ...capture.interpreter.garbage import free_slowly

if TYPE_CHECKING:
    from ...compare.comparison import Comparison

_MANY = 2048  # rows from which it takes longer than a thread does to start
_REPLACED = 0.5  # seconds until whoever shows it shows another: who holds it longer frees it


def let_go(comparison: Comparison | None) -> None:
    """Called by whoever had a comparison, and has another now."""
    if comparison is None or len(comparison.rows) < _MANY:
        return
    # In a list, which can be emptied: the thread holds its arguments until it ends.
    box = [comparison]
    threading.Thread(target=_free, args=(box,), name="layertui-free", daemon=True).start()


def _free(box: list[Comparison]) -> None:
    time.sleep(_REPLACED)
    parts = box[0].parts()
    box.clear()
    free_slowly(parts)
