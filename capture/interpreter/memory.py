"""What becomes of memory that is freed."""

from __future__ import annotations

import numpy as np

_BLOCK = 1 << 24  # bytes: more than any table that the laws work on


def keep_freed_memory() -> None:
    """Let the C library keep what is freed for the next table. At first glibc maps every table from
    128 KiB on anew and unmaps it after use, so that the system clears its pages each time: a
    quarter of the laws' time. It stops doing so for blocks up to the size of the largest that was
    freed so far, and keeps twice that, at most, of each thread. So one is taken and freed,
    untouched, which costs nothing; other libraries take no notice.
    """
    np.empty(_BLOCK, np.uint8)
