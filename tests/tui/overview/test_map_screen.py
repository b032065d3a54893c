"""The map in the program: each of its keys does what its line in `?` says."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from layertui.tui.app import LayertuiApp
from layertui.tui.keys import overview_keys
from layertui.tui.list.screen import ListScreen
from layertui.tui.overview.map_screen import MapScreen
from layertui.tui.overview.overview_screen import Picture
from layertui.tui.terminal import Terminal
from layertui.tui.widgets.lines import Lines
from layertui.tui.widgets.text_screen import TextScreen
from support.screens.tui_captures import make_app, measured, type_line, until, write_pair


async def open_map(pilot: Pilot[None], app: LayertuiApp, key: str = "M") -> MapScreen:
    await measured(pilot, app)
    await pilot.press(key)
    await until(pilot, lambda: isinstance(app.screen, MapScreen) and app.screen.found is not None)
    await until(pilot, lambda: not getattr(app.screen, "reading", False))
    assert isinstance(app.screen, MapScreen)
    return app.screen


def text_of(screen: MapScreen, part: str) -> str:
    return "\n".join(screen.query_one(part, Lines).texts)


def picture(screen: MapScreen) -> list[str]:
    return screen.query_one(Picture).texts


# The keys of the map, pressed at q_norm of layer 0, and what is seen to change. Those of everywhere
# that are no movement have their own tests below.
_MOVES = {
    "j": (1, 0), "down": (1, 0), "k": (-1, 0), "up": (-1, 0), "left": (0, -1), "h": (0, -1),
    "right": (0, 1), "l": (0, 1),
}  # fmt: skip


@pytest.mark.parametrize("key", _MOVES)
async def test_moving(key: str, small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_map(pilot, app)
        await pilot.press("right_square_bracket")
        before = screen.cursor
        down, right = _MOVES[key]
        await pilot.press(key)
        assert screen.cursor == (before[0] + down, before[1] + right)


async def test_pages_and_ends(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_map(pilot, app)
        last = 9
        for keys, component in (
            (("g",), 0), (("G",), last), (("home",), 0), (("end",), last), (("ctrl+b",), 0),
            (("ctrl+f",), last), (("pageup",), 0), (("pagedown",), last), (("ctrl+u",), 1),
            (("g", "ctrl+d"), 8),
        ):  # fmt: skip
            await pilot.press(*keys)
            assert screen.cursor[0] == component, keys


async def test_divergences_and_the_way_to_the_list(small_pair: tuple[Path, Path]) -> None:
    """Rows 12, 13 and 31 diverge."""
    app = make_app(*small_pair)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_map(pilot, app)
        assert screen.row_here() == 12  # where the list opened
        await pilot.press("right_square_bracket")
        assert screen.row_here() == 13
        await pilot.press("right_parenthesis")
        assert screen.row_here() == 31
        await pilot.press("right_square_bracket")
        assert app.said == "no divergence below"
        await pilot.press("left_square_bracket", "left_parenthesis")
        assert screen.row_here() == 12
        await pilot.press("left_parenthesis")
        assert app.said == "no introduced divergence above"
        await pilot.press("G", "right", "enter")
        await until(pilot, lambda: isinstance(app.screen, ListScreen))
        await until(pilot, lambda: app.session.row == 29)


@pytest.mark.parametrize("key", ["escape", "q"])
async def test_leaving(key: str, small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_map(pilot, app)
        await pilot.press("j", key)
        await until(pilot, lambda: isinstance(app.screen, ListScreen))
        assert app.session.row == 12


async def test_quantities(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_map(pilot, app)
        titles = [text_of(screen, "#title")]
        for _ in range(4):
            await pilot.press("v")
            titles.append(text_of(screen, "#title"))
        words = ["MSE", "local error", "ratio", "verdict", "MSE"]
        assert all(word in title for word, title in zip(words, titles, strict=True))
        assert max(map(len, titles)) <= 80


async def test_help_yank_and_the_command(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(80, 40)) as pilot:
        await measured(pilot, app)
        await type_line(pilot, "colon", "map")
        screen = app.screen
        assert isinstance(screen, MapScreen)
        await until(pilot, lambda: screen.found is not None)
        copied: list[str] = []
        app.copy_to_clipboard = copied.append  # type: ignore[method-assign]
        await pilot.press("right_square_bracket", "y")
        assert "layers.1.self_attn.v_proj" in copied[0]
        await pilot.press("question_mark")
        help_screen = app.screen
        assert isinstance(help_screen, TextScreen)
        lines = "\n".join(help_screen.query_one(".body").texts)  # type: ignore[attr-defined]
        for key in overview_keys("map"):
            assert key.shown in lines
        assert "\n  R  " not in lines and "\n  S  " not in lines
        await pilot.press("escape")
        await type_line(pilot, "colon", "goto 31")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, ListScreen))
        assert app.session.row == 31


async def test_before_rows_there_is_no_map(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(80, 24)) as pilot:
        await measured(pilot, app)
        app.session.comparison = None
        await pilot.press("M")
        assert app.said == "rows are not aligned yet"
        assert isinstance(app.screen, ListScreen)


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (200, 50)])
@pytest.mark.parametrize("terminal", [Terminal(), Terminal("none", ascii=True)])
async def test_more_layers_than_columns(
    size: tuple[int, int], terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if terminal.colors == "none":
        monkeypatch.setenv("NO_COLOR", "1")
    pair = write_pair(tmp_path, 3000, tuple(range(1, 3000, 10)))
    app = make_app(*pair, terminal=terminal)
    async with app.run_test(size=size) as pilot:
        screen = await open_map(pilot, app)
        assert "self_attn.q_proj: off in 300 of 300 layers" in text_of(screen, "#words")
        assert screen.cursor == (1, 0)
        for _ in range(40):
            await pilot.press("right_square_bracket")
        assert screen.cursor == (1, 40)
        assert "40" in picture(screen)[0].split()
        assert "L40 self_attn.q_proj" in text_of(screen, "#here")
        assert "layers" in text_of(screen, "#title") or size[0] > 300


async def test_results_arrive_while_it_is_open(
    big_pair: tuple[Path, Path], private_home: Path
) -> None:
    app = make_app(*big_pair)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.session.comparison is not None)
        await pilot.press("M")
        screen = app.screen
        assert isinstance(screen, MapScreen)
        await until(pilot, lambda: "off in 2 of 1000 layers" in text_of(screen, "#words"), 60)
        assert "input_layernorm: off in 2 of 1000 layers" in text_of(screen, "#words")
