"""Host memory that copies of tensors are made into, used again and again.

Touching fresh memory costs several times as much as copying into memory that was used before, and
a capture copies everything that passes through a model. Large blocks are mapped directly, so that
they go back to the system, not to a heap, when the capture ends.
"""

from __future__ import annotations

import mmap
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

_SMALLEST = 1 << 14  # below, the heap is as good
_HUGE = 1 << 21  # from here on the kernel may give whole huge pages


class Pool:
    """Buffers by size class; up to `keep` bytes lie ready for the next one who asks."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._lock = threading.Lock()
        self._ready: dict[int, list[Bytes]] = {}
        self._idle = 0

    def take(self, nbytes: int) -> Bytes:
        """A buffer of at least `nbytes`, with anything in it."""
        size = _class_of(nbytes)
        with self._lock:
            ready = self._ready.get(size)
            if ready:
                self._idle -= size
                return ready.pop()
        return _fresh(size)

    def give(self, buffer: Bytes) -> None:
        """Take back what `take` gave; nobody may look at it any longer."""
        size = buffer.size
        if size < _SMALLEST:
            return
        with self._lock:
            if self._idle + size <= self._keep:
                self._ready.setdefault(size, []).append(buffer)
                self._idle += size

    def clear(self) -> None:
        """Hand all idle memory back to the system."""
        with self._lock:
            self._ready.clear()
            self._idle = 0
            self._keep = 0


def _class_of(nbytes: int) -> int:
    """The next size of which there are eight between two powers of two."""
    if nbytes < _SMALLEST:
        return max(nbytes, 1)
    step = 1 << (nbytes.bit_length() - 4)
    return -(-nbytes // step) * step


def _fresh(size: int) -> Bytes:
    if size < _SMALLEST:
        return np.empty(size, np.uint8)
    memory: Any = mmap.mmap(-1, size)
    if size >= _HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, np.uint8)
