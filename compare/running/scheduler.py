"""Measuring many pairs: what the user looks at first, then in execution order, with a cache."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError as FutureCancelled
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Event

from ...capture.interpreter.kept_open import KEPT_OPEN
from ..aligned import Aligned, Results
from ..measuring.fused import PassDevice
from ..measuring.measure import measure
from ..measuring.pair_reader import CancelledError
from ..measuring.recorded_statistics import compare_statistics
from ..model import Failure, Measured, Measurement
from ..recipes.errors import RecipeError
from ..tasks.elsewhere import with_whole_paths
from .cache import FileIdentities, MeasurementCache

_TICK = 0.1  # seconds between two reports of results
_LOOK = 0.02  # seconds between two looks whether to stop
_AHEAD = 3  # tasks in flight per worker: few, so that `visible` can still change the order
_LOOKUP = 256  # rows looked up in the cache at a time


@dataclass(slots=True)
class Scheduler:
    """One run over the pairs that are not measured. `take` hears of every result, after `results`
    has it.
    """

    aligned: Aligned
    results: Results
    take: Callable[[int, Measured], None]
    pool: Executor
    visible: Callable[[], Sequence[int]] | None
    on_results: Callable[[list[int]], None] | None
    cancelled: Callable[[], bool] | None
    use_cache: bool
    stop: Event
    threads_share_memory: bool
    device: PassDevice | None = None
    _ready: SimpleQueue[Future[Measured]] = field(default_factory=SimpleQueue)
    _pending: dict[int, None] = field(default_factory=dict)
    _done: list[int] = field(default_factory=list)
    _told: float = 0.0
    _keys: dict[int, str] = field(default_factory=dict)
    _fresh: list[tuple[str, Measurement]] = field(default_factory=list)

    def recall(self) -> None:
        """Take what earlier runs measured, and nothing else."""
        self._wait_for_all()
        cache = MeasurementCache()
        try:
            self._recall(cache)
        finally:
            cache.close()

    def _wait_for_all(self) -> None:
        self._pending = dict.fromkeys(self.results.pending())

    def run(self, workers: int) -> bool:
        """Measure everything; False when cancelled."""
        self._wait_for_all()
        cache = MeasurementCache() if self.use_cache else None
        try:
            if cache is not None and not self._recall(cache):
                return False
            with KEPT_OPEN.reading():
                return self._work(workers)
        finally:
            if cache is not None:
                cache.put(self._fresh)
                cache.close()
            self._tell(force=True)

    def _stopped(self) -> bool:
        if self.cancelled is not None and self.cancelled():
            self.stop.set()
        return self.stop.is_set()

    def _recall(self, cache: MeasurementCache) -> bool:
        """Take what earlier runs measured."""
        identities = FileIdentities()
        pending = list(self._pending)
        for at in range(0, len(pending), _LOOKUP):
            keys: dict[str, list[int]] = {}
            for index in pending[at : at + _LOOKUP]:
                if self._stopped():
                    return False
                key = self._key(identities, index)
                if key is not None:
                    self._keys[index] = key
                    keys.setdefault(key, []).append(index)
            for key, measurement in cache.get(keys).items():
                for index in keys[key]:
                    self._take(index, measurement)
            self._tell()
        return True

    def _key(self, identities: FileIdentities, index: int) -> str | None:
        if not self.aligned.measurable(index):
            return None
        try:
            return identities.key(self.aligned.task(index))
        except RecipeError:  # said on the row when it is measured
            return None

    def _work(self, workers: int) -> bool:
        flying: dict[Future[Measured], int] = {}
        order = self._order()
        while True:
            while len(flying) < workers * _AHEAD and not self._stopped():
                index = next(order, None)
                if index is None:
                    break
                future = self._submit(index)
                flying[future] = index
                future.add_done_callback(self._ready.put)
            if not flying or self._stopped():
                for future in flying:
                    future.cancel()
                return not self._stopped()
            for future in self._next_ready():
                self._collect(flying.pop(future), future)
            self._tell()

    def _next_ready(self) -> Iterator[Future[Measured]]:
        """Futures that are done, as soon as there is one; none where it is time to look around."""
        try:
            yield self._ready.get(timeout=_LOOK)
            while True:
                yield self._ready.get_nowait()
        except Empty:
            return

    def _submit(self, index: int) -> Future[Measured]:
        """A future of the row's result, whatever goes wrong (a pool may have lost its workers)."""
        try:
            if not self.aligned.measurable(index):
                bare = self.aligned.statistics_task(self.aligned.rows[index])
                return self.pool.submit(compare_statistics, bare)
            task = self.aligned.task(index)
            if self.threads_share_memory:
                return self.pool.submit(measure, task, self.stop.is_set, self.device)
            return self.pool.submit(measure, with_whole_paths(task))
        except Exception as error:
            failed: Future[Measured] = Future()
            failed.set_exception(error)
            return failed

    def _order(self) -> Iterator[int]:
        """Rows to measure: those on the screen first, as long as there are any."""
        rest = iter(list(self._pending))
        while self._pending:
            index = None
            if self.visible is not None:
                index = next((i for i in self.visible() if i in self._pending), None)
            if index is None:
                index = next((i for i in rest if i in self._pending), None)
            if index is None:
                return
            del self._pending[index]
            yield index

    def _collect(self, index: int, future: Future[Measured]) -> None:
        """Take a result in; a worker's exception must never take the screen down with it."""
        error = FutureCancelled() if future.cancelled() else future.exception()
        if isinstance(error, CancelledError):
            return
        if isinstance(error, RecipeError):
            result: Measured = Failure(str(error), level="shape")
        elif error is not None:
            result = Failure(f"measuring failed: {type(error).__name__}: {error}")
        else:
            result = future.result()
        if isinstance(result, Measurement) and index in self._keys:
            self._fresh.append((self._keys[index], result))
        self._take(index, result)

    def _take(self, index: int, result: Measured) -> None:
        self._pending.pop(index, None)
        self.results.take(index, result)
        self.take(index, result)
        self._done.append(index)

    def _tell(self, force: bool = False) -> None:
        now = time.monotonic()
        if self._done and self.on_results is not None and (force or now - self._told >= _TICK):
            done, self._done = self._done, []
            self._told = now
            self.on_results(done)
