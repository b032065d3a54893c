"""What was opened is given back: descriptors, threads and memory, however often it is opened."""

from __future__ import annotations

import gc
import os
import threading
from collections import Counter
from pathlib import Path

from textual._styles_cache import StylesCache
from textual.dom import DOMNode
from textual.pilot import Pilot

from layertui.tui.app import LayertuiApp
from support.screens.tui_captures import make_app, measured, settled, until, write_pair

PAIRS = 300
READ_AGAIN = 50


def in_use() -> tuple[int, int]:
    """Descriptors of files, and threads, of this process."""
    return len(os.listdir("/proc/self/fd")), threading.active_count()


def no_more_than(before: tuple[int, int]) -> bool:
    return all(now <= then for now, then in zip(in_use(), before, strict=True))


def objects() -> Counter[str]:
    """How many objects of our own and widgets there are, by type."""
    StylesCache.get_inner_outer.cache_clear()  # remembers the last thousand widgets' lines
    gc.unfreeze()
    gc.collect()
    kinds = Counter(type(one) for one in gc.get_objects())
    return Counter(
        {
            f"{kind.__module__}.{kind.__qualname__}": count
            for kind, count in kinds.items()
            if str(kind.__module__).startswith("layertui.") or issubclass(kind, DOMNode)
        }
    )


def more_of(before: Counter[str], after: Counter[str]) -> dict[str, tuple[int, int]]:
    """Types that there are more of, by more than a few that are remembered on purpose."""
    return {
        name: (before[name], count)
        for name, count in after.items()
        if count > before[name] + 10 + before[name] // 10
    }


async def open_pairs(pilot: Pilot[None], count: int) -> None:
    for number in range(count):
        await pilot.press("enter", *("2", "3", "7")[number % 3 : number % 3 + 1])
        await settled(pilot)
        await pilot.press("escape", "down" if number % 30 < 29 else "home")


async def test_pairs_that_were_opened(tmp_path: Path) -> None:
    app = make_app(*write_pair(tmp_path, 40, wrong=(7,)))
    async with app.run_test(size=(100, 30)) as pilot:
        await measured(pilot, app)
        await open_pairs(pilot, 40)
        before, there = in_use(), objects()
        await open_pairs(pilot, PAIRS)
        await until(pilot, lambda: no_more_than(before), limit=10)
        assert more_of(there, objects()) == {}


async def test_captures_that_were_read_again(tmp_path: Path) -> None:
    app = make_app(*write_pair(tmp_path, 200, wrong=(70,)))
    async with app.run_test(size=(100, 30)) as pilot:
        await measured(pilot, app)
        await read_again(app, pilot, 5)
        before, there = in_use(), objects()
        await read_again(app, pilot, READ_AGAIN)
        await until(pilot, lambda: no_more_than(before), limit=10)
        assert more_of(there, objects()) == {}


async def read_again(app: LayertuiApp, pilot: Pilot[None], times: int) -> None:
    for _ in range(times):
        was = app.session.comparison
        await pilot.press("ctrl+r")
        await until(pilot, lambda was=was: app.session.comparison is not was and not app.working)
