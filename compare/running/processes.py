"""A pool of processes for measuring captures of gigabytes.

Threads share one interpreter, whose lock the many short numpy steps of a block hand to and fro;
processes do not (figures: `benchmarks/compare_throughput.py`).
"""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

_LOOK = 1.0  # seconds between two looks at the parent


def process_pool(count: int) -> ProcessPoolExecutor:
    """`count` processes that leave Ctrl-C to this one and end when it does, however it ends.

    They import the main module anew, as every spawned process does: a script that calls this must
    guard its entry by `if __name__ == "__main__"`.
    """
    return ProcessPoolExecutor(
        count, mp_context=get_context("spawn"), initializer=_start, initargs=(os.getpid(),)
    )


def _start(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()


def end_with(parent: int) -> None:
    """End this process when its parent does: killed, that closes nothing that is noticed here."""
    while os.getppid() == parent:
        time.sleep(_LOOK)
    os._exit(1)
