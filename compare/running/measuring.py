"""Measuring rows on an executor, or taking what earlier runs measured."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..aligned import Aligned, Results
    from ..model import Measured

Take = Callable[[int, "Measured"], None]


def default_threads() -> int:
    """Worker threads where the user does not say: two, to read one pair while another is
    measured.

    More are no faster: numpy's steps over a block take microseconds, and handing the interpreter's
    lock over between them takes as long. `processes.process_pool` does scale.
    """
    return min(2, os.cpu_count() or 1)


def measure_rows(
    aligned: Aligned, results: Results, take: Take, *, executor: Executor | None = None,
    visible: Callable[[], Sequence[int]] | None = None,
    on_results: Callable[[list[int]], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    use_cache: bool = True, threads: int | None = None,
) -> bool:  # fmt: skip
    """Measure what is not measured yet: what `visible` names first, then in order.

    Blocks; `take` hears of every result, `on_results` at most ten times a second of the rows that
    got one, both from this thread. False when `cancelled` said stop; what is done by then is kept.
    """
    from .scheduler import Scheduler

    own = executor is None
    stop = Event()
    workers = threads or default_threads()
    pool = executor or ThreadPoolExecutor(workers, "layertui-measure")
    try:
        run = Scheduler(
            aligned, results, take, pool, visible, on_results, cancelled, use_cache, stop, own
        )
        return run.run(workers)
    finally:
        stop.set()
        if own:
            pool.shutdown(wait=True, cancel_futures=True)


def recall_rows(aligned: Aligned, results: Results, take: Take) -> None:
    """Take what earlier runs measured; nothing is read but what identifies the files."""
    from .scheduler import Scheduler

    with ThreadPoolExecutor(1) as pool:
        Scheduler(
            aligned, results, take, pool, None, None, None, True, Event(), True
        ).recall()  # fmt: skip
