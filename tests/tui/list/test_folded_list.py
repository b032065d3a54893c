"""The folded list on the screen: keys, and what unfolds by itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.cells import cell_len
from textual.pilot import Pilot

from layertui.compare.model import Failure
from layertui.tui.app import LayertuiApp
from layertui.tui.list.folds.list_lines import Start
from layertui.tui.pair.screen import PairScreen
from layertui.tui.terminal import Terminal
from layertui.tui.widgets.lines import Lines
from support.screens.tui_captures import make_app, measured, settled, type_line, until, write_pair

LAYERS, ROWS = 32, 320  # rows of the pair; 125 and 204 diverge


@pytest.fixture(scope="module")
def tall(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """32 layers of ten rows; one of the twelfth and one of the twentieth are wrong."""
    return write_pair(tmp_path_factory.mktemp("tall"), ROWS, (125, 204))


def app_of(
    pair: tuple[Path, Path], fold: Start = "auto", terminal: Terminal | None = None
) -> LayertuiApp:
    return make_app(*pair, terminal, fold)


def lines(app: LayertuiApp) -> int:
    return len(app.list_screen.pairs.lines)


def here(app: LayertuiApp) -> str:
    pairs = app.list_screen.pairs
    return pairs.render_line(pairs.screen_line).text


def kinds(app: LayertuiApp) -> list[str]:
    found = app.list_screen.pairs.lines
    return [found.kind(line) for line in range(len(found))]


async def test_a_tall_list_opens_folded_with_the_layer_of_the_answer_open(
    tall: tuple[Path, Path],
) -> None:
    app = app_of(tall)
    async with app.run_test(size=(80, 24)) as pilot:
        await measured(pilot, app)
        screen = app.list_screen
        assert screen.row == 125
        assert lines(app) == LAYERS - 1 + 10
        assert kinds(app).count("row") == 10
        assert len(screen.pairs.view) == ROWS
        assert "L12" in screen.pairs.render_line(0).text
        shown = screen.pairs.render_line(12).text
        assert "▸ L" in shown and "10 rows" in shown
        assert "126/320" in screen.query_one("#position", Lines).texts[0]


async def test_a_list_of_one_screen_is_not_folded(small_pair: tuple[Path, Path]) -> None:
    app = app_of(small_pair)
    async with app.run_test(size=(80, 60)) as pilot:
        await measured(pilot, app)
        assert lines(app) == 40
        assert app.list_screen.row == 12


@pytest.mark.parametrize(("shut", "opened"), [("minus", "plus"), ("left", "right"), ("h", "l")])
async def test_keys_fold_and_unfold(shut: str, opened: str, tall: tuple[Path, Path]) -> None:
    app = app_of(tall)
    async with app.run_test(size=(120, 40)) as pilot:
        await measured(pilot, app)
        pairs = app.list_screen.pairs
        assert app.list_screen.row == 125
        await pilot.press(shut)  # self_attn, of five rows
        assert list(app.list_screen.members) == list(range(121, 126))
        assert "L12 self_attn" in here(app)
        await pilot.press(shut)
        assert list(app.list_screen.members) == list(range(120, 130))
        assert lines(app) == LAYERS
        assert app.list_screen.row == 125  # what the line stands for
        await pilot.press(shut)
        assert "folded as far as it goes" in app.said
        await pilot.press(opened)
        assert lines(app) == LAYERS - 1 + 6  # self_attn is folded still
        assert pairs.row == 120
        await pilot.press("j", opened)
        assert lines(app) == LAYERS - 1 + 10
        assert pairs.row == 121
        await pilot.press(opened)
        assert "nothing is folded here" in app.said


async def test_all_fold_and_unfold(tall: tuple[Path, Path]) -> None:
    app = app_of(tall)
    async with app.run_test(size=(120, 40)) as pilot:
        await measured(pilot, app)
        await pilot.press("z")
        assert "zM fold all  zR unfold all" in app.list_screen.prompt.message
        await pilot.press("M")
        await pilot.pause()
        assert (lines(app), app.said) == (LAYERS, "")
        assert app.list_screen.folded and app.list_screen.row == 125
        await pilot.press("z", "R")
        await pilot.pause()
        assert lines(app) == ROWS
        assert not app.list_screen.folded and app.list_screen.row == 125
        await pilot.press("z", "j")
        assert "zj means nothing" in app.said
        assert app.list_screen.row == 125
        await pilot.press("z", "escape", "j")
        assert app.list_screen.row == 126


async def test_what_one_lands_in_is_unfolded(tall: tuple[Path, Path]) -> None:
    app = app_of(tall)
    async with app.run_test(size=(100, 30)) as pilot:
        await measured(pilot, app)
        screen = app.list_screen

        async def folded(*keys: str) -> None:
            await pilot.press("z", "M")
            await pilot.pause()
            assert lines(app) == LAYERS
            await pilot.press(*keys)
            await pilot.pause()
            assert not screen.folded

        await folded("g", "right_square_bracket")
        assert screen.row == 125
        await folded("right_square_bracket")  # from the folded line to the first on it
        assert screen.row == 125
        await pilot.press("right_square_bracket")
        assert screen.row == 204
        await folded("left_square_bracket")
        assert screen.row == 125
        await folded("G", "f")
        assert screen.row == 125
        await folded("g", "right_parenthesis")
        assert screen.row == 125
        await folded("colon", *"goto 77", "enter")
        assert screen.row == 77
        await folded("slash", *"layers.9 down", "enter")
        assert screen.row == 98
        await folded("n")
        assert screen.row is not None
        first, top = screen.pairs.cursor, screen.pairs.scroll_offset.y
        assert top <= first < top + screen.pairs.size.height


async def test_a_search_finds_the_first_row_of_the_folded_line_it_begins_on(
    tall: tuple[Path, Path],
) -> None:
    app = app_of(tall)
    async with app.run_test(size=(100, 30)) as pilot:
        await measured(pilot, app)
        await pilot.press("z", "M", "home")
        await pilot.pause()
        await type_line(pilot, "slash", "input_layernorm")
        assert app.list_screen.row == 0
        await pilot.press("z", "M", "n")
        await pilot.pause()
        assert app.list_screen.row == 0


async def test_filters_show_rows_and_leave_the_one_under_the_cursor_open(
    tall: tuple[Path, Path],
) -> None:
    app = app_of(tall)
    async with app.run_test(size=(100, 30)) as pilot:
        await measured(pilot, app)
        screen = app.list_screen
        await pilot.press("z", "M")
        await pilot.pause()
        await type_line(pilot, "ampersand", "layers.7.")
        assert lines(app) == 10
        await pilot.press("minus")
        assert "only a whole list folds" in app.said
        await type_line(pilot, "slash", "down_proj")
        row = screen.row
        assert row == 78
        await pilot.press("escape", "escape")
        assert screen.row == row and not screen.folded
        assert lines(app) < ROWS
        await pilot.press("d")
        assert [list(screen.pairs.view), lines(app)] == [[125, 204], 2]
        await pilot.press("d")
        assert not screen.folded


async def test_enter_unfolds_to_the_row_that_the_line_stands_for(tall: tuple[Path, Path]) -> None:
    app = app_of(tall)
    async with app.run_test(size=(100, 30)) as pilot:
        await measured(pilot, app)
        await pilot.press("z", "M")
        await pilot.pause()
        await pilot.press("enter")
        await pilot.pause()
        assert not isinstance(app.screen, PairScreen)
        assert app.list_screen.row == 125 and not app.list_screen.folded
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, PairScreen))
        await pilot.press("z", "l", "h")  # with meanings of their own there
        assert isinstance(app.screen, PairScreen)


async def test_a_folded_line_shows_the_worst_of_its_rows(tall: tuple[Path, Path]) -> None:
    app = app_of(tall, terminal=Terminal("none", ascii=True))
    async with app.run_test(size=(80, 24)) as pilot:
        await measured(pilot, app)
        comparison = app.list_screen.comparison
        assert comparison is not None
        await pilot.press("z", "M")
        await pilot.pause()
        for index, (level, mark) in enumerate((("unreadable", "?"), ("nan", "N"), ("shape", "#"))):
            comparison.take(121 + index, Failure("no", "candidate", level))
            app.list_screen.measured([121 + index])
            await pilot.pause()
            assert f"{mark}1" in here(app)
        text = here(app)
        assert text.isascii()
        assert cell_len(text) == 80
        assert "+ L12 10 ?1 N1 #1 X1 " in text  # the rows give way, what failed does not
        await settled(pilot)
        said = app.list_screen.prompt.message
        assert said.startswith("L12: 10 rows folded: 1 UNREADABLE, 1 NAN")


async def test_marks_of_a_folded_line_are_those_of_its_rows(tall: tuple[Path, Path]) -> None:
    app = app_of(tall)
    async with app.run_test(size=(100, 30)) as pilot:
        await measured(pilot, app)
        await pilot.press("z", "M")
        await pilot.pause()
        await pilot.press("space")
        assert app.session.marks == set(range(120, 130))
        assert list(app.list_screen.members) == list(range(130, 140))
        await pilot.press("k")
        assert "●" in here(app)
        await pilot.press("space")
        assert app.session.marks == set()
        await pilot.press("k", "P")
        assert "+ shows them" in app.said


async def test_rows_made_anew_keep_their_folds(tall: tuple[Path, Path]) -> None:
    app = app_of(tall)
    async with app.run_test(size=(100, 30)) as pilot:
        await measured(pilot, app)
        await pilot.press("z", "R", "minus", "minus")
        await pilot.pause()
        before = lines(app)
        assert before == ROWS - 9
        await pilot.press("ctrl+r")
        await measured(pilot, app)
        assert lines(app) == before
        assert app.list_screen.folded


async def test_layers_are_walked_over_and_clicked(tall: tuple[Path, Path]) -> None:
    app = app_of(tall)
    async with app.run_test(size=(100, 30)) as pilot:
        await measured(pilot, app)
        await pilot.press("z", "M", "g", "right_curly_bracket", "j")
        await pilot.pause()
        assert app.list_screen.members[0] == 20
        await pilot.press("left_curly_bracket", "end")
        assert app.list_screen.members[0] == 310
        top = app.list_screen.pairs.scroll_offset.y
        await pilot.click("#list", offset=(10, 3))
        assert app.list_screen.pairs.cursor == top + 3
        await pilot.click("#list", offset=(10, 3), times=2)
        await until(pilot, lambda: not app.list_screen.folded)


async def test_before_rows_are_aligned_nothing_folds(tall: tuple[Path, Path]) -> None:
    app = app_of(tall)
    app.begin = lambda: None  # type: ignore[method-assign]
    async with app.run_test(size=(100, 30)) as pilot:
        await _names(pilot, app)
        await pilot.press("minus", "plus", "z", "M", "z", "R", "enter")
        await pilot.pause()
        assert app.is_running
        assert "not aligned" in app.said


async def _names(pilot: Pilot[None], app: LayertuiApp) -> None:
    from layertui.capture import open_capture

    app.list_screen.listed(*(open_capture(path) for path in app.session.paths))
    await pilot.pause()
