"""What was opened is given back: descriptors, threads and memory, however often it is opened."""

from __future__ import annotations

import gc
from pathlib import Path

from textual.pilot import Pilot

from layertui.tui.app import LayertuiApp
from support.screens.resources import in_use, more_of, no_more_than, objects
from support.screens.tui_captures import make_app, measured, settled, until, write_pair

PAIRS = 300
READ_AGAIN = 50


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


async def test_nothing_is_frozen_that_nobody_needs(tmp_path: Path) -> None:
    """Each reading of the captures ends with frozen objects, of which no circle is freed: those of
    one list that is shown are 800.
    """
    app = make_app(*write_pair(tmp_path, 200, wrong=(70,)))
    async with app.run_test(size=(100, 30)) as pilot:
        await measured(pilot, app)
        await read_again(app, pilot, 5)
        frozen = gc.get_freeze_count()
        await read_again(app, pilot, 20)
        assert gc.get_freeze_count() - frozen < 1000


async def read_again(app: LayertuiApp, pilot: Pilot[None], times: int) -> None:
    for _ in range(times):
        was = app.session.comparison
        await pilot.press("ctrl+r")
        await until(pilot, lambda was=was: app.session.comparison is not was and not app.working)
