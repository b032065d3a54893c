"""Independent tasks on whatever executor the comparison runs on; here, one after the other, where
it has none.

A task is a function of a module and one argument; its answer is small. Both are pickled by parts,
so that a cluster's scheduler sees hundreds of tasks, not tens of thousands. A part that a worker
fails is done here.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

from ...capture.records import Locator

_LOOK = 0.05  # seconds between two looks whether to stop
_PARTS = 4  # tasks for each worker: parts take unequal times

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Workers:
    """An executor, and how many tasks it does at a time."""

    executor: Executor
    count: int


_WORKERS: ContextVar[Workers | None] = ContextVar("workers", default=None)


@contextmanager
def tasks_on(workers: Workers | None) -> Iterator[None]:
    """`answers` asks these workers meanwhile, in this thread; nobody where there are none."""
    before = _WORKERS.set(workers)
    try:
        yield
    finally:
        _WORKERS.reset(before)


def shared() -> bool:
    """Whether there are workers to ask."""
    return _WORKERS.get() is not None


def answers(
    ask: Callable[[T], R], tasks: Sequence[T], cancelled: Callable[[], bool] | None = None
) -> Iterator[R]:
    """What `ask` says of every task, in order. Raises what it raises, and `CancelledError`."""
    workers = _WORKERS.get()
    if workers is None:
        for task in tasks:
            _stop_if(cancelled)
            yield ask(task)
        return
    parts = in_parts(tasks, workers.count * _PARTS)
    flying: list[tuple[Sequence[T], Future[list[R]]]] = []
    try:
        for part in parts:
            flying.append((part, workers.executor.submit(asked, packed((ask, part)))))
        for part, future in flying:
            found = answer_of(future, cancelled)
            yield from map(ask, part) if found is None else found
    finally:
        for _, future in flying:
            future.cancel()


def asked(parcel: bytes) -> list[Any]:
    """On a worker: the answers to a part."""
    ask, part = pickle.loads(parcel)
    return [ask(task) for task in part]


def answer_of(future: Future[list[R]], cancelled: Callable[[], bool] | None) -> list[R] | None:
    """What a worker found; None where it could not. Raises `CancelledError`."""
    while True:
        _stop_if(cancelled)
        try:
            return future.result(_LOOK)
        except FutureTimeout:
            done = future.done() and not future.cancelled()
            if done and future.exception() is not None:  # the task itself raised it
                return None
        except Exception:
            return None


def _stop_if(cancelled: Callable[[], bool] | None) -> None:
    if cancelled is not None and cancelled():
        from ..measuring.pair_reader import CancelledError  # brings numpy

        raise CancelledError


def in_parts(tasks: Sequence[T], most: int) -> list[Sequence[T]]:
    """At most so many parts of nearly equal length."""
    size = -(-len(tasks) // most) or 1
    return [tasks[at : at + size] for at in range(0, len(tasks), size)]


class _Packer(pickle.Pickler):
    """Records are found from whatever directory a worker works in."""

    def reducer_override(self, obj: Any) -> Any:
        from .elsewhere import with_whole_path  # brings numpy

        if type(obj) is not Locator:
            return NotImplemented
        whole = with_whole_path(obj)
        return NotImplemented if whole.path == obj.path else whole.__reduce_ex__(4)


def packed(what: object) -> bytes:
    """Pickled for a worker, with whole paths."""
    buffer = io.BytesIO()
    _Packer(buffer, pickle.HIGHEST_PROTOCOL).dump(what)
    return buffer.getvalue()
