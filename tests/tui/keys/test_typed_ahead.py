"""Keys that are pressed faster than what they are for is there; and the mouse."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot

from layertui.tui.app import LayertuiApp
from layertui.tui.overview.map_screen import MapScreen
from layertui.tui.pair.screen import PairScreen
from support.screens.terminal_driver import PtyApp
from support.screens.tui_captures import make_app, measured_from_top, until

NAMED = {":": "colon", "/": "slash", "\r": "enter", ".": "full_stop", "_": "underscore"}


def press_at_once(app: LayertuiApp, keys: str) -> None:
    """All keys before the first of them is looked at."""
    for key in keys:
        app.post_message(events.Key(NAMED.get(key, key), key))


@pytest.mark.parametrize(
    ("keys", "row"),
    [(":9\r", 9), (":12\r10j", 22), ("5j:7\rj", 8), ("/q_proj\rn", 11), ("gg3jzz2j", 5),
     (":9\rgg", 0)],
)  # fmt: skip
async def test_on_the_list(small_pair: tuple[Path, Path], keys: str, row: int) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(80, 24)) as pilot:
        await measured_from_top(pilot, app)
        press_at_once(app, keys)
        await until(pilot, lambda: app.list_screen.row == row and not app.list_screen.typed.waiting)
        assert not app.list_screen.prompt.asking


async def opened(pilot: Pilot[None], app: LayertuiApp, keys: str, screen: type) -> None:
    await measured_from_top(pilot, app)
    press_at_once(app, keys)
    await until(pilot, lambda: isinstance(app.screen, screen))


async def test_on_a_pair_that_is_not_there_yet(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, app, ":12\r\r\r2J", PairScreen)
        await until(pilot, lambda: app.session.row == 13)
        assert app.screen.view.NAME == "top"  # type: ignore[attr-defined]


async def test_on_the_map_that_is_not_there_yet(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, app, ":12\rMv", MapScreen)
        await until(pilot, lambda: app.screen.quantity.title != "MSE")  # type: ignore[attr-defined]


def test_click_selects_twice_opens_and_the_wheel_scrolls(big_pair: tuple[Path, Path]) -> None:
    with PtyApp(*big_pair, size=(100, 24), options="{'fold': 'none'}") as app:
        app.wait_for("3 DIVERGED")
        app.press("gg")
        app.wait_for("1/10000")
        click = b"\x1b[<0;20;9M\x1b[<0;20;9m"  # the fourth line of the list
        app.press(click)
        app.wait_for("4/10000")
        app.press(b"\x1b[<65;20;9M" * 3)
        assert "    0 L0 input_layernorm" not in app.text  # the first rows are above now
        app.press("3j")
        app.wait_for("7/10000")
        app.press(click)
        app.press(click + click)
        app.wait_for("1 Stats")
