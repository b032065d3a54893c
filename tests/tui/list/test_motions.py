"""Counts, keys of two characters, and the way back from a jump, on the list."""

from __future__ import annotations

from pathlib import Path

from textual.pilot import Pilot

from layertui.tui.app import LayertuiApp
from layertui.tui.list.screen import ALONE
from support.screens.tui_captures import make_app, measured, measured_from_top, type_line


async def rows_after(pilot: Pilot[None], app: LayertuiApp, *keys: str) -> int | None:
    await pilot.press(*keys)
    await pilot.pause()
    return app.list_screen.row


async def test_counts(small_pair: tuple[Path, Path]) -> None:
    """12, 13 and 31 diverge; layers have ten rows each."""
    app = make_app(*small_pair)
    async with app.run_test(size=(80, 24)) as pilot:
        await measured_from_top(pilot, app)
        for keys, row in (
            (("1", "0", "j"), 10), (("3", "up"), 7), (("3", "right_square_bracket"), 31),
            (("2", "left_square_bracket"), 12), (("9", "9", "G"), 39), (("2", "5", "g", "g"), 25),
            (("2", "left_curly_bracket"), 10), (("7", "G"), 7), (("9", "right_curly_bracket"), 30),
            (("1", "0", "0", "k"), 0), (("9", "right_square_bracket"), 31),
        ):  # fmt: skip
            assert await rows_after(pilot, app, *keys) == row, keys


async def test_a_count_is_shown_and_escape_clears_it(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(80, 24)) as pilot:
        await measured_from_top(pilot, app)
        prompt = app.list_screen.prompt
        before = prompt.message
        await pilot.press("1", "2")
        assert prompt.message == "12"
        await pilot.press("z")
        assert prompt.message.startswith("12z  zz line to the middle")
        await pilot.press("escape")
        assert prompt.message == before
        assert await rows_after(pilot, app, "j") == 1


async def test_a_lone_g_acts_after_a_moment(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(80, 24)) as pilot:
        await measured_from_top(pilot, app)
        assert await rows_after(pilot, app, "G", "g") == 39
        await pilot.pause(ALONE + 0.1)
        assert app.list_screen.row == 0
        assert await rows_after(pilot, app, "G", "g", "g") == 0
        assert await rows_after(pilot, app, "G", "g", "j") == 1


async def test_the_screen_s_ends_and_the_line_s_place(big_pair: tuple[Path, Path]) -> None:
    app = make_app(*big_pair)
    async with app.run_test(size=(80, 24)) as pilot:
        await measured_from_top(pilot, app)
        pairs = app.list_screen.pairs
        height = pairs.size.height
        await pilot.press(*"500G")
        top = pairs.scroll_offset.y
        assert await rows_after(pilot, app, "H") == top
        assert await rows_after(pilot, app, "L") == top + height - 1
        assert await rows_after(pilot, app, "3", "H") == top + 2
        assert await rows_after(pilot, app, "2", "L") == top + height - 2
        for key, line in (("t", 0), ("b", height - 1), ("z", (height - 1) // 2)):
            assert await rows_after(pilot, app, "z", key) == top + height - 2
            assert pairs.screen_line == line, key


async def test_back_from_a_jump_and_forward(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(80, 24)) as pilot:
        await measured_from_top(pilot, app)
        await pilot.press("j", "j", "f")
        await pilot.press(*"25G")
        await type_line(pilot, "slash", "layers.1.mlp")
        assert app.list_screen.row not in (25, 12, 2)
        found = app.list_screen.row
        places = [await rows_after(pilot, app, "ctrl+o") for _ in range(4)]
        assert places == [25, 12, 2, 2]
        assert "no earlier place" in app.list_screen.prompt.message
        forward = [await rows_after(pilot, app, "tab") for _ in range(4)]
        assert forward == [12, 25, found, found]
        assert "no later place" in app.list_screen.prompt.message
        assert await rows_after(pilot, app, "apostrophe", "apostrophe") == 25
        assert await rows_after(pilot, app, "apostrophe", "apostrophe") == found
        assert await rows_after(pilot, app, "3", "ctrl+o") == 2


async def test_a_place_is_found_again_after_the_directories_were_read_again(
    small_pair: tuple[Path, Path],
) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(80, 24)) as pilot:
        await measured_from_top(pilot, app)
        await pilot.press(*"20j", "f", "ctrl+r")
        await measured(pilot, app)
        assert app.list_screen.row == 12
        assert await rows_after(pilot, app, "ctrl+o") == 20


async def test_digits_and_z_are_the_pair_s_own(small_pair: tuple[Path, Path]) -> None:
    from layertui.tui.pair.screen import PairScreen

    app = make_app(*small_pair)
    async with app.run_test(size=(80, 24)) as pilot:
        await measured_from_top(pilot, app)
        await pilot.press("f", "enter")
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, PairScreen)
        await pilot.press("2")
        await pilot.pause()
        assert screen.view.NAME == "top"
        await pilot.press("6")
        await pilot.pause()
        await pilot.press("z")
        assert "nothing to undo" in screen.prompt.message
