"""Measuring rows on an executor, or taking what earlier runs measured."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from threading import Event
from typing import TYPE_CHECKING

from ...capture.environment import usable_cores
from ..measuring.kernel import compiled_module
from ..tasks.on_executor import Workers

if TYPE_CHECKING:
    from ..aligned import Aligned, Results
    from ..laws.evaluate import Evaluate
    from ..measuring.fused import PassDevice
    from ..model import Measured

_BEHIND = 10  # niceness of workers beside a screen
_MANY = 64  # workers of an executor that does not say how many it has

Take = Callable[[int, "Measured"], None]


def default_threads() -> int:
    """Worker threads where the user does not say: one for every core that this process may use.

    Reading and the compiled pass let go of the interpreter's lock. With numpy's arithmetic two are
    as fast as more: its steps over a block take microseconds, and handing the lock over between
    them takes as long. `processes.process_pool` scales then.
    """
    cores = usable_cores()
    return cores if compiled_module() is not None else min(2, cores)


def _step_back() -> None:
    """Let the screen's own thread go first: on Linux, where priorities are those of threads."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _BEHIND)


def workers_of(executor: Executor) -> int:
    """How many tasks it may run at a time; those of the standard library know, but do not say."""
    known = getattr(executor, "_max_workers", None)
    return known if isinstance(known, int) else _MANY


def evaluated_on(
    executor: Executor | None = None, workers: int | None = None, behind: bool = False
) -> Evaluate:
    """How laws are evaluated: on an executor, or on threads of this process, `behind` a screen or
    not.
    """
    if executor is not None:
        from .law_tasks import OnExecutor

        return OnExecutor(executor, workers or workers_of(executor))
    from .law_threads import OnThreads

    return OnThreads(workers or default_threads(), _step_back if behind else None)


def workers_on(executor: Executor | None, count: int | None = None) -> Workers | None:
    """Who does tasks that are no pairs (see `tasks`): an executor's workers, else nobody."""
    return None if executor is None else Workers(executor, count or workers_of(executor))


def measure_rows(
    aligned: Aligned, results: Results, take: Take, *, executor: Executor | None = None,
    visible: Callable[[], Sequence[int]] | None = None,
    on_results: Callable[[list[int]], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    use_cache: bool = True, threads: int | None = None, device: PassDevice | None = None,
) -> bool:  # fmt: skip
    """Measure what is not measured yet: what `visible` names first (then there is a screen, which
    goes before the work), then in order; on `executor`, or on `threads` of this process. Of an
    executor `threads` says how many tasks it runs at a time. A `device` helps threads only.

    Blocks; `take` hears of every result, `on_results` at most ten times a second of the rows that
    got one, both from this thread. False when `cancelled` said stop; what is done by then is kept.
    """
    from .scheduler import Scheduler

    own = executor is None
    stop = Event()
    workers = threads or (default_threads() if executor is None else workers_of(executor))
    start = None if visible is None else _step_back
    pool = executor or ThreadPoolExecutor(workers, "layertui-measure", start)
    try:
        run = Scheduler(
            aligned, results, take, pool, visible, on_results, cancelled, use_cache, stop, own,
            device,
        )  # fmt: skip
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
