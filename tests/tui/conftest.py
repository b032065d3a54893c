"""Captures for the tests of the screens, and keys that wait until the event loop is idle."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import textual.app
import textual.pilot

from support.screens.tui_captures import write_pair

_REPAINT = 0.02  # seconds within which the screen is painted again


class Watch:
    """Counts what a loop is told to do soon, and remembers what it is told to do at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.calls = 0
        self.timers: list[asyncio.TimerHandle] = []
        call_soon, call_at = loop.call_soon, loop.call_at

        def soon(*arguments: Any, **more: Any) -> asyncio.Handle:
            self.calls += 1
            return call_soon(*arguments, **more)

        def at(*arguments: Any, **more: Any) -> asyncio.TimerHandle:
            self.timers.append(call_at(*arguments, **more))
            return self.timers[-1]

        loop.call_soon, loop.call_at = soon, at  # type: ignore[method-assign]

    async def turn(self) -> bool:
        """Let everything run that is ready; whether something else is to be done afterwards."""
        before, started = self.calls, self.loop.time()
        await asyncio.sleep(0)  # is itself one call
        self.timers = [t for t in self.timers if t.when() > started and not t.cancelled()]
        return self.calls > before + 1

    def due_within(self, seconds: float) -> bool:
        """Whether something is to be done within so many seconds."""
        return any(timer.when() < self.loop.time() + seconds for timer in self.timers)


@pytest.fixture(autouse=True)
def quick_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key is over when the event loop has nothing left to do, now or at the next repaint.

    Textual's pilot waits until the process uses little time of the processor instead: 40 ms a key,
    and up to two seconds while threads read tensors.
    """
    watches: list[Watch] = []

    async def wait_for_idle(min_sleep: float = 0.0, max_sleep: float = 1.0) -> None:
        loop = asyncio.get_running_loop()
        if not watches or watches[-1].loop is not loop:
            watches.append(Watch(loop))
        watch = watches[-1]
        end = loop.time() + max_sleep
        while loop.time() < end:
            if await watch.turn():
                continue
            if not watch.due_within(_REPAINT):
                return
            await asyncio.sleep(0.002)

    monkeypatch.setattr(textual.app, "wait_for_idle", wait_for_idle)
    monkeypatch.setattr(textual.pilot, "wait_for_idle", wait_for_idle)


@pytest.fixture(scope="session")
def big_pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """10,000 rows, of which 3,000, 3,005 and 9,000 diverge."""
    return write_pair(tmp_path_factory.mktemp("big"), 10_000, (3_000, 3_005, 9_000))


@pytest.fixture
def small_pair(tmp_path: Path) -> tuple[Path, Path]:
    """40 rows in four layers; 12, 13 and 31 diverge."""
    return write_pair(tmp_path / "small", 40, (12, 13, 31))
