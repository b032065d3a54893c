"""Measuring many pairs: what the user looks at first, then in execution order, with a cache."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError as FutureCancelled
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Event
from typing import Any

from ...capture.dtypes import DTYPES
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
# Where nobody watches the order, a thread is given several pairs at a time, until they have so many
# bytes (some milliseconds): handing over each would take as long as a twentieth of the measuring.
TOGETHER = 16
TOGETHER_BYTES = 16 << 20
LARGE = 64 << 20  # bytes of a pair: begun first, lest one thread be left with it in the end
_LOOKUP = 256  # rows looked up in the cache at a time

Outcome = Measured | BaseException


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
    _ready: SimpleQueue[Future[Any]] = field(default_factory=SimpleQueue)
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
        flying: dict[Future[Any], list[int]] = {}
        order = self._together() if self._in_any_order else ([index] for index in self._order())
        while True:
            while len(flying) < workers * _AHEAD and not self._stopped():
                indices = next(order, None)
                if indices is None:
                    break
                future = self._submit(indices)
                flying[future] = indices
                future.add_done_callback(self._ready.put)
            if not flying or self._stopped():
                for future in flying:
                    future.cancel()
                return not self._stopped()
            for future in self._next_ready():
                indices = flying.pop(future)
                for index, outcome in zip(indices, self._outcomes(future, indices), strict=True):
                    self._collect(index, outcome)
            self._tell()

    def _next_ready(self) -> Iterator[Future[Any]]:
        """Futures that are done, as soon as there is one; none where it is time to look around."""
        try:
            yield self._ready.get(timeout=_LOOK)
            while True:
                yield self._ready.get_nowait()
        except Empty:
            return

    def _submit(self, indices: list[int]) -> Future[Any]:
        """A future of what `_measure_here` gives; elsewhere of the result of the one row. Whatever
        goes wrong is in the future (a pool may have lost its workers).
        """
        try:
            if self.threads_share_memory:
                return self.pool.submit(self._measure_here, indices)
            (index,) = indices
            if self.aligned.measurable(index):
                return self.pool.submit(measure, with_whole_paths(self.aligned.task(index)))
            bare = self.aligned.statistics_task(self.aligned.rows[index])
            return self.pool.submit(compare_statistics, bare)
        except Exception as error:
            failed: Future[Any] = Future()
            failed.set_exception(error)
            return failed

    def _measure_here(self, indices: list[int]) -> list[Outcome]:
        """In a thread of this process: the result of each row, or what went wrong with it."""
        found: list[Outcome] = []
        for index in indices:
            try:
                if self.aligned.measurable(index):
                    task = self.aligned.task(index)
                    found.append(measure(task, self.stop.is_set, self.device))
                else:
                    bare = self.aligned.statistics_task(self.aligned.rows[index])
                    found.append(compare_statistics(bare))
            except BaseException as error:
                found.append(error)
        return found

    def _outcomes(self, future: Future[Any], indices: list[int]) -> list[Outcome]:
        error = FutureCancelled() if future.cancelled() else future.exception()
        if error is not None:
            return [error] * len(indices)
        return future.result() if self.threads_share_memory else [future.result()]

    @property
    def _in_any_order(self) -> bool:
        return self.threads_share_memory and self.visible is None

    def _together(self) -> Iterator[list[int]]:
        """Rows to measure, in lists for a thread each: large pairs alone and first."""
        sizes = {index: self._bytes(index) for index in self._pending}
        large = [index for index, size in sizes.items() if size > LARGE]
        yield from ([index] for index in sorted(large, key=lambda index: -sizes[index]))
        several: list[int] = []
        left = TOGETHER_BYTES
        for index in (index for index, size in sizes.items() if size <= LARGE):
            several.append(index)
            left -= sizes[index]
            if left <= 0 or len(several) == TOGETHER:
                yield several
                several, left = [], TOGETHER_BYTES
        if several:
            yield several

    def _bytes(self, index: int) -> int:
        """Of both records, as far as they have values."""
        row = self.aligned.rows[index]
        places = [r.locator for r in (row.reference, row.candidate) if r is not None]
        return sum(p.count * DTYPES[p.dtype].itemsize for p in places if p is not None)

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

    def _collect(self, index: int, outcome: Outcome) -> None:
        """Take a result in; a worker's exception must never take the screen down with it."""
        if isinstance(outcome, CancelledError):
            return
        if isinstance(outcome, RecipeError):
            result: Measured = Failure(str(outcome), level="shape")
        elif isinstance(outcome, BaseException):
            result = Failure(f"measuring failed: {type(outcome).__name__}: {outcome}")
        else:
            result = outcome
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
