"""Scratch memory of a thread, kept for its next use and begun at a page.

To the system a new table costs more than its numbers; and registers that are loaded across lines of
the cache take twice as long.
"""

from __future__ import annotations

import threading

import numpy as np

from ...capture.values import Array

_PAGE = 4096
_LOCAL = threading.local()


def room(use: str, size: int) -> Array:
    """`size` bytes for this thread and this use, with whatever they held."""
    found: Array | None = getattr(_LOCAL, use, None)
    if found is None or found.size < size:
        whole = np.empty(size + _PAGE, np.uint8)
        start = -whole.__array_interface__["data"][0] % _PAGE
        found = whole[start : start + size]
        setattr(_LOCAL, use, found)
    return found[:size]
