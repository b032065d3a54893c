"""What the foot of every screen says: its own keys, and what they do there."""

from __future__ import annotations

from pathlib import Path

import pytest

from layertui.tui.pair.views.registry import VIEWS
from layertui.tui.widgets.footer import Footer
from support.screens.tui_captures import make_app, measured_from_top, type_line, until

FOOTERS = {
    "stats": "Tab next view", "top": "Enter show in values  s other order  a next axis",
    "histogram": "Tab next view", "heat": "Enter zoom in  Backspace zoom out  v quantity  x axes",
    "values": "Enter to the greatest  s other form", "layout": "Enter edit or try  i edit recipe",
    "rerun": "Enter show its output", "explain": "Tab next view",
}  # fmt: skip


async def test_each_view_says_what_its_enter_s_and_a_do(small_pair: tuple[Path, Path]) -> None:
    assert list(FOOTERS) == [view.NAME for view in VIEWS]
    app = make_app(*small_pair)
    async with app.run_test(size=(120, 30)) as pilot:
        await measured_from_top(pilot, app)
        await pilot.press("f", "enter")
        await pilot.pause()
        for number, words in enumerate(FOOTERS.values(), 1):
            await pilot.press(str(number))
            await pilot.pause()
            shown = app.screen.query_one(Footer).texts[0].strip()
            assert words in shown
            assert shown.endswith("? help  q back")


@pytest.mark.parametrize(("keys", "last"), [("M", "q back"), ("T", "q back"), ("", "q quit")])
async def test_q_says_what_it_does(small_pair: tuple[Path, Path], keys: str, last: str) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(80, 24)) as pilot:
        await measured_from_top(pilot, app)
        await pilot.press(*keys)
        await pilot.pause()
        assert app.screen.query_one(Footer).texts[0].strip().endswith(last)


async def test_heads_are_ranked_at_once(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(100, 30)) as pilot:
        await measured_from_top(pilot, app)
        await pilot.press("f", "enter")
        await pilot.pause()
        shape = app.screen.view.shape  # type: ignore[attr-defined]
        width = shape[-1]
        for heads in (width, 1):
            await type_line(pilot, "colon", f"heads {heads}")
            await until(pilot, lambda: app.screen.view.ranking is not None)  # type: ignore[attr-defined]
            view = app.screen.view  # type: ignore[attr-defined]
            assert view.NAME == "top"
            assert view.ranking.groups == heads
            assert f"{heads} heads" in view.texts[0]
        await type_line(pilot, "colon", f"heads {width + 1}")
        assert "do not divide the last axis" in app.screen.prompt.message  # type: ignore[attr-defined]


async def test_r_asks_with_an_example(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(80, 24)) as pilot:
        await measured_from_top(pilot, app)
        await pilot.press("f", "R")
        await until(pilot, lambda: app.list_screen.prompt.asking)
        await pilot.pause()
        shown = app.screen.query_one(Footer).texts[0]
        assert "e.g. ~/models/llama, package.module:make, ! ./run" in shown
        assert "Tab complete" in shown
