"""The search that moves the cursor while its words are typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from layertui.tui.app import LayertuiApp
from layertui.tui.list import search
from layertui.tui.theme import Look
from support.screens.tui_captures import make_app, measured, measured_from_top, until


async def type_words(pilot: Pilot[None], words: str) -> None:
    await pilot.press(*("space" if letter == " " else letter for letter in words))
    await pilot.pause()


def marked(app: LayertuiApp, line: int) -> list[str]:
    """What of a line is marked as found."""
    style = Look(app.look.terminal).palette.found
    strip = app.list_screen.pairs.render_line(line)
    return [
        segment.text
        for segment in strip
        if segment.style and segment.style.bgcolor == style.bgcolor
    ]


async def test_the_cursor_follows_what_is_typed_and_escape_goes_back(
    small_pair: tuple[Path, Path],
) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(120, 24)) as pilot:
        await measured_from_top(pilot, app)
        screen = app.list_screen
        await pilot.press(*"3j", "slash")
        rows: list[int | None] = []
        for part in ("q", "_", "proj", " layers.2", " nowhere"):
            await type_words(pilot, part)
            rows.append(screen.row)
        assert rows == [11, 11, 11, 21, 3]
        assert app.session.search_words == ["q_proj", "layers.2", "nowhere"]
        await pilot.press("escape")
        await pilot.pause()
        assert (screen.row, app.session.search_words) == (3, [])
        assert not screen.prompt.asking


async def test_enter_stays_and_the_place_before_is_remembered(
    small_pair: tuple[Path, Path],
) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(120, 24)) as pilot:
        await measured_from_top(pilot, app)
        await pilot.press(*"3j", "slash")
        await type_words(pilot, "layers.3 q_proj")
        await pilot.press("enter")
        await pilot.pause()
        assert app.list_screen.row == 31
        assert app.list_screen.prompt.said == "/layers.3 q_proj"
        await pilot.press("ctrl+o")
        assert app.list_screen.row == 3
        await pilot.press("slash")
        await type_words(pilot, "layers.1")
        await pilot.press("escape")
        await pilot.pause()
        assert app.session.search_words == ["layers.3", "q_proj"]


async def test_counts_before_n(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(120, 24)) as pilot:
        await measured_from_top(pilot, app)
        await pilot.press("slash")
        await type_words(pilot, "q_proj")
        await pilot.press("enter", "2", "n")
        await pilot.pause()
        assert app.list_screen.row == 21
        await pilot.press("2", "N")
        await pilot.pause()
        assert app.list_screen.row == 1


async def test_matches_are_marked_where_they_are(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(120, 30)) as pilot:
        await measured_from_top(pilot, app)
        assert marked(app, 1) == []
        await pilot.press("slash")
        await type_words(pilot, "L0 q_pr")
        assert marked(app, 1) == ["L0", "q_pr"] * 2
        assert marked(app, 0) == []  # which has only one of the words
        assert marked(app, 11) == []
        await pilot.press("escape")
        await pilot.pause()
        assert marked(app, 1) == []


async def test_folds_are_as_before_when_a_search_is_given_up(big_pair: tuple[Path, Path]) -> None:
    app = make_app(*big_pair, fold="layers")
    async with app.run_test(size=(100, 30)) as pilot:
        await measured(pilot, app)
        pairs = app.list_screen.pairs
        await pilot.press("z", "M", *"20j")
        await pilot.pause()
        before = (len(pairs.lines), pairs.cursor, pairs.scroll_offset.y)
        await pilot.press("slash")
        await type_words(pilot, "layers.700.")
        await until(pilot, lambda: not app.list_screen.folded)
        assert app.list_screen.row == 7000
        await type_words(pilot, "m")
        assert len(pairs.lines) > before[0]
        await pilot.press("escape")
        await pilot.pause()
        assert (len(pairs.lines), pairs.cursor, pairs.scroll_offset.y) == before


async def test_names_of_many_rows_are_gathered_beside_the_screen(
    small_pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "AT_ONCE", 10)
    app = make_app(*small_pair)
    async with app.run_test(size=(100, 30)) as pilot:
        await measured_from_top(pilot, app)
        await pilot.press("slash", *"31", "enter", "n")
        await until(pilot, lambda: "no row with '31'" in app.list_screen.prompt.said)
        await pilot.press("slash", *"layers.3", "enter")
        await until(pilot, lambda: app.list_screen.row == 30)
