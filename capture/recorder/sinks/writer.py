"""The thread that writes, and the queue before it, bounded by bytes."""

from __future__ import annotations

import threading
from collections import deque

from .pool import Pool
from .sink import Ending, Item, RecordItem, Sink, TokensItem
from .snapshot import Snapshot


class Writer:
    """Writes to a sink in a thread of its own.

    At most `limit` bytes of snapshots are held (one that is larger alone); then `reserve` waits,
    and the model with it. After an error the rest is thrown away: `failure` says why.
    """

    def __init__(self, sink: Sink, limit: int) -> None:
        self.sink = sink
        self.pool = Pool(limit)
        self.failure: BaseException | None = None
        self._limit = limit
        self._held = 0
        self._waiting = 0
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._ending: Ending | None = None
        self._hurry = False
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="layertui-writer", daemon=True)

    def start(self) -> None:
        """Begin the capture on disk; raises `OSError`."""
        self.sink.begin(self._release)
        self._thread.start()

    def reserve(self, nbytes: int) -> bool:
        """Wait until `nbytes` more may be held; False when nothing is written any longer."""
        with self._changed:
            self._waiting += 1
            try:
                while self._held and self._held + nbytes > self._limit and self.failure is None:
                    self._changed.notify_all()
                    self._changed.wait(1.0)
            finally:
                self._waiting -= 1
            if self.failure is not None:
                return False
            self._held += nbytes
            return True

    def put(self, item: Item) -> None:
        """Hand over an item; the bytes of its snapshot must have been reserved."""
        with self._changed:
            if self.failure is None:
                self._items.append(item)
                if len(self._items) == 1:
                    self._changed.notify_all()
                return
        self._drop(item)

    def unreserve(self, nbytes: int) -> None:
        """Give back a reservation for a snapshot that was not made."""
        with self._changed:
            self._held -= nbytes
            self._changed.notify_all()

    def close(self, ending: Ending) -> None:
        """Write what is queued and the end, and wait for it.

        Interrupted, it writes only what has been gathered so far, and says so in the end line.
        """
        with self._changed:
            self._ending = ending
            self._changed.notify_all()
        try:
            self._join()
        except BaseException as error:
            ending.error = ending.error or type(error).__name__
            with self._changed:
                self._hurry = True
                self._changed.notify_all()
            self._join()
            raise
        finally:
            self.pool.clear()

    def _join(self) -> None:
        # Not `Thread.join` alone: interrupted, Python up to 3.12 takes the thread for ended.
        while not self._done.wait(0.2):
            pass
        self._thread.join()

    def _run(self) -> None:
        item: Item | None = None
        try:
            while True:
                item = self._next()
                if item is None:
                    break
                self.sink.accept(item)
            assert self._ending is not None
            self.sink.finish(self._ending)
        except BaseException as error:  # a full disk, above all; told at the end of the run
            if isinstance(item, RecordItem):
                item.snapshot.let_go()  # the error keeps it alive
            self._fail(error)
        finally:
            self._done.set()

    def _next(self) -> Item | None:
        """The next item; None at the end. Flushes when it is time to."""
        while True:
            due = self.sink.due()
            if due == 0.0:
                self.sink.flush()
                continue
            with self._changed:
                if self._hurry:
                    self._empty()
                    return None
                if self._items:
                    return self._items.popleft()
                if self._ending is not None:
                    return None
                if not self._waiting:
                    self._changed.wait(due)
                    continue
            self.sink.flush()  # the model waits for room that only the open shard can give
            with self._changed:
                if self._waiting and not self._items:
                    self._changed.wait(0.01)

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self.failure = error
            self._empty()
            ending = self._ending or Ending()
            self._changed.notify_all()
        ending.error = ending.error or f"{type(error).__name__}: {error}"[:500]
        self.sink.abandon(ending)

    def _empty(self) -> None:
        while self._items:
            self._drop(self._items.popleft())

    def _drop(self, item: Item) -> None:
        if isinstance(item, (RecordItem, TokensItem)):
            self._release(item.snapshot)

    def _release(self, snapshot: Snapshot) -> None:
        snapshot.let_go()
        memory, snapshot.memory = snapshot.memory, None
        if memory is not None and snapshot.pooled:
            self.pool.give(memory)
        with self._changed:
            self._held -= snapshot.reserved
            self._changed.notify_all()
