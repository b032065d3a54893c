"""Captures for the tests of the screens."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import textual.app
import textual.pilot
from tui_captures import write_pair

_REPAINT = 0.02  # seconds within which the screen is painted again


@pytest.fixture(autouse=True)
def quick_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key is over when the event loop has nothing left to do, now or at the next repaint.

    Textual's pilot waits until the process uses little time of the processor instead: 40 ms a key,
    and up to two seconds while threads read tensors.
    """

    async def wait_for_idle(min_sleep: float = 0.0, max_sleep: float = 1.0) -> None:
        loop: Any = asyncio.get_running_loop()
        end = loop.time() + max_sleep
        await asyncio.sleep(0)
        while loop.time() < end:
            soon = loop.time() + _REPAINT
            if loop._ready:
                await asyncio.sleep(0)
            elif any(timer.when() < soon and not timer.cancelled() for timer in loop._scheduled):
                await asyncio.sleep(0.002)
            else:
                return

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
