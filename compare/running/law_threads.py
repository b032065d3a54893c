"""Laws held against their places on threads of this process: what the laws spend their time on,
reading and numpy's steps over whole tables, lets go of the interpreter's lock.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from ...capture.interpreter.memory import keep_freed_memory
from ..laws.evaluate import Place, Turn, best_of, turns
from ..laws.evaluation import Evaluation
from ..laws.law import Scene

_LOOK = 0.02  # seconds between two looks whether to stop
_FLYING = 2  # tasks for each worker that are given at a time
# Places that are evaluated before those in front of them are: some layers, so that workers find
# enough to do where each layer of a kind waits for the one before, and what is kept stays small.
AHEAD = 64
_ALLOWED = "KMP_DUPLICATE_LIB_OK"  # what threadpoolctl sets where it is imported
MOST_WORKERS = 4  # a worker takes up to 200 MB for what it works on


@dataclass(frozen=True, slots=True)
class OnThreads:
    """Evaluates places as `laws.evaluate.one_by_one` does, with the same results, on as many as
    `workers` threads, each of which calls `start` first.
    """

    workers: int
    start: Callable[[], None] | None = None

    def __call__(self, scene: Scene, places: Sequence[Place]) -> Iterator[Evaluation | None]:
        """In the order of `places`; fewer where the scene was cancelled."""
        keep_freed_memory()
        workers = min(self.workers, MOST_WORKERS)
        pool = ThreadPoolExecutor(workers, "layertui-laws", self.start)
        try:
            with _single_products():
                yield from _Run(scene, places, pool, workers * _FLYING).in_order()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _single_products() -> AbstractContextManager[object]:
    """Products take no threads of their own: they are small."""
    before = os.environ.get(_ALLOWED)
    from threadpoolctl import threadpool_limits

    if before is None:  # it allows for several OpenMP libraries, for all children, too
        os.environ.pop(_ALLOWED, None)
    return threadpool_limits(1, "blas")


@dataclass(slots=True)
class _Run:
    """One run over all places: which are given to workers, and which are done."""

    scene: Scene
    places: Sequence[Place]
    pool: ThreadPoolExecutor
    most: int
    _turns: list[Turn] = field(init=False)
    _flying: dict[Future[Evaluation | None], int] = field(default_factory=dict)
    _given: set[int] = field(default_factory=set)
    _found: dict[int, Evaluation | None] = field(default_factory=dict)  # not handed out yet
    _done: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._turns = turns(self.places)

    def in_order(self) -> Iterator[Evaluation | None]:
        for at in range(len(self.places)):
            while at not in self._found:
                if self.scene.cancelled is not None and self.scene.cancelled():
                    return
                self._give(at)
                self._collect()
            yield self._found.pop(at)

    def _give(self, at: int) -> None:
        """Give workers what can be evaluated now, from `at` on."""
        for index in range(at, min(at + AHEAD, len(self.places))):
            if len(self._flying) >= self.most:
                return
            turn = self._turns[index]
            free = turn.after is None or turn.after in self._done
            if free and index not in self._given:
                law, sites = self.places[index]
                future = self.pool.submit(best_of, self.scene, law, sites, turn.learns)
                self._flying[future] = index
                self._given.add(index)

    def _collect(self) -> None:
        ready, _ = wait(self._flying, timeout=_LOOK, return_when=FIRST_COMPLETED)
        for future in ready:
            index = self._flying.pop(future)
            self._found[index] = future.result()
            self._done.add(index)
