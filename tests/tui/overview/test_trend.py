"""The trend: which rows are on it, how it is drawn and zoomed, and each of its keys."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.pilot import Pilot

from layertui.capture.demo.shipped import unpack
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.judging.policies.noise import NoisePolicy
from layertui.compare.model import Measurement
from layertui.compare.rerun.results import RerunResult
from layertui.tui.app import LayertuiApp
from layertui.tui.keys import overview_keys
from layertui.tui.list.screen import ListScreen
from layertui.tui.overview.further_lines import FurtherLine
from layertui.tui.overview.overview_screen import Picture
from layertui.tui.overview.series import PARTS, Part, Trend, part_of, trend_of
from layertui.tui.overview.trend_picture import MARGIN, Span, TrendPicture
from layertui.tui.overview.trend_screen import TrendScreen
from layertui.tui.present.text import number
from layertui.tui.terminal import Terminal
from layertui.tui.theme import Look
from layertui.tui.widgets.lines import Lines
from layertui.tui.widgets.text_screen import TextScreen
from support.screens.tui_captures import make_app, measured, type_line, until


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """attention-scale of the demo: the error is introduced in an input of o_proj in layer 3."""
    folder = tmp_path_factory.mktemp("scaled")
    comparison = open_comparison(*unpack(str(folder), "attention-scale"))
    assert comparison.measure(use_cache=False)
    return comparison


def test_every_paired_output_is_on_the_line_once(scaled: Comparison) -> None:
    found = trend_of(scaled, "mse")
    outputs = [row.index for row in scaled.rows if row.kind == "pair" and row.role == "output"]
    assert set(outputs) <= set(found.rows) and list(found.rows) == sorted(set(found.rows))
    assert [found.rows[place] for place in found.made] == [scaled.first_index]
    for row, error in zip(found.rows, found.errors, strict=True):
        result = scaled.measurements[row]
        assert error == getattr(result, "mse")  # noqa: B009  a result of several kinds
    greatest = found.greatest
    assert greatest is not None and found.errors[greatest] == max(found.errors)
    low, high = found.decades
    assert all(10.0**low <= error <= 10.0**high for error in found.known if error > 0)
    assert found.place_of(found.rows[5]) == 5 and found.place_of(10**9) == len(found.rows) - 1


@pytest.mark.parametrize(
    ("name", "part"),
    [("layers.0.self_attn.q_proj", "attention"), ("layers.0.self_attn.q_norm", "norm"),
     ("layers.3", "layer"), ("h.1.ln_2", "norm"), ("layers.0.mlp.experts.3.up", "mlp"),
     ("lm_head", "other")],
)  # fmt: skip
def test_parts(name: str, part: Part) -> None:
    assert part_of(name) == part


def of(errors: list[float], made: tuple[int, ...] = ()) -> Trend:
    parts = tuple(PARTS[at % len(PARTS)] for at in range(len(errors)))
    return Trend("mse", tuple(range(len(errors))), tuple(errors), parts, made, made)


def drawn(found: Trend, size: tuple[int, int], cursor: int, terminal: Terminal) -> list[str]:
    span = Span(0, len(found.rows))
    picture = TrendPicture(Look(terminal), found, span, *size)
    return ["".join(text for text, _ in line) for line in picture.lines(cursor)]


_ERRORS = st.lists(
    st.one_of(st.just(0.0), st.floats(1e-30, 1e10), st.just(math.nan), st.just(math.inf)),
    min_size=1, max_size=300,
)  # fmt: skip


@given(errors=_ERRORS, wide=st.integers(60, 210), high=st.integers(3, 45), ascii_only=st.booleans())
def test_whatever_the_errors_are_it_fits(
    errors: list[float], wide: int, high: int, ascii_only: bool
) -> None:
    terminal = Terminal("none" if ascii_only else "truecolor", ascii=ascii_only)
    lines = drawn(of(errors, (0,)), (wide, high), 0, terminal)
    assert len(lines) <= high and max(map(cell_len, lines)) <= wide
    assert not ascii_only or all(line.isascii() for line in lines)
    ink = "".join(line[MARGIN:] for line in lines).replace(" ", "").replace("│", "")
    assert bool(ink.replace("|", "")) == any(not math.isnan(error) for error in errors)


def test_what_is_larger_is_higher_and_nan_is_on_top() -> None:
    lines = drawn(of([1e-9, 1e-6, 1e-3, 0.0, math.inf]), (60, 12), 0, Terminal("none", ascii=True))
    places = [next(at for at, line in enumerate(lines) if letter in line[MARGIN:])
              for letter in "amnlN"]  # fmt: skip
    assert places[0] > places[1] > places[2] >= places[4] == 0 and places[3] == len(lines) - 1
    assert lines[-1].split()[0] == "0" and lines[0].split()[0] == "1e-03"


def test_braille_where_rows_share_a_column() -> None:
    terminal = Terminal()
    many = "".join(drawn(of([1e-6 * (at + 1) for at in range(500)], (400,)), (80, 20), 0, terminal))
    assert any("\u2800" < char <= "\u28ff" for char in many) and "◆" in many
    assert "•" in "".join(drawn(of([1e-6, 1e-5]), (80, 20), 1, terminal))


@given(
    total=st.integers(1, 5000), first=st.integers(0, 5000), count=st.integers(1, 5000),
    place=st.integers(0, 4999), times=st.sampled_from([0.5, 2.0]),
)  # fmt: skip
def test_zooming_keeps_the_cursor_on_the_screen(
    total: int, first: int, count: int, place: int, times: float
) -> None:
    place = min(place, total - 1)
    span = Span(first, count).around(place, total)
    for found in (span, span.zoomed(place, total, times, 8)):
        assert 0 <= found.first <= place < found.first + found.count <= total
    assert span.zoomed(place, total, 2.0, 8).count >= span.count


def test_a_baseline_and_layers_run_alone_are_further_lines(real: Path) -> None:
    """The candidate as its own baseline: wherever that is usable, both lines are one."""
    pair = [str(real / "llama-f32" / side) for side in ("torch_dump", "max_dump")]
    comparison = open_comparison(*pair, policy=NoisePolicy(baselines=(pair[1],)))
    assert comparison.measure(use_cache=False)
    comparison.analysis()
    assert comparison.evidence.floors
    rerun = trend_of(comparison, "mse").rows[-1]
    alone = {rerun: comparison.measurements[rerun]}
    assert isinstance(alone[rerun], Measurement)
    for metric in ("mse", "relative_l2", "nmse"):
        found = trend_of(comparison, metric, alone)  # type: ignore[arg-type]
        assert {line.name for line in found.further} == {"alone", "baseline"}
        for line in found.further:
            assert len(line.errors) == len(found.rows) and line.count > 0
            both = [(own, error) for own, error in zip(found.errors, line.errors, strict=True)
                    if not math.isnan(error)]  # fmt: skip
            assert all(error == pytest.approx(own, rel=1e-3) for own, error in both)
    assert [line.name for line in trend_of(comparison, "cosine").further] == []


def test_further_lines_stand_where_their_errors_are_and_own_ones_in_front() -> None:
    found = replace(of([1e-3, 1e-3, 1e-3]), further=(
        FurtherLine("alone", (1e-6, math.nan, 1e-3)), FurtherLine("baseline", (1e-9, 1e-9, 0.0)),
    ))  # fmt: skip
    lines = drawn(found, (60, 14), 1, Terminal("none", ascii=True))
    ink = [line[MARGIN:] for line in lines]
    (top,) = (line for line in ink if "a" in line)
    assert sum(line.count("r") for line in ink) == 1  # of 1e-3 the own error is shown
    assert sum(line.count("b") for line in ink) == 3 and "b" in ink[-1]
    rows = [next(at for at, line in enumerate(ink) if letter in line) for letter in "arb"]
    assert rows == sorted(rows) and top == ink[rows[0]]
    picture = TrendPicture(Look(Terminal("none", ascii=True)), found, Span(0, 3), 80, 14)
    legend = "".join(text for text, _ in picture.legend())
    assert "r layer alone" in legend and "b baseline" in legend and cell_len(legend.rstrip()) <= 80


def test_a_cell_shows_the_part_that_has_most_of_its_rows() -> None:
    parts: tuple[Part, ...] = ("mlp", "attention", "mlp", "norm") * 50
    found = replace(of([1e-3] * 200), parts=parts)
    shown = "".join(drawn(found, (14, 8), 198, Terminal("none", ascii=True)))
    assert shown.count("m") == 3 and not set("an") & set(shown)


def test_blanks_need_no_change_of_colour() -> None:
    found = of([1e-3, math.nan, 1e-3, math.nan, 1e-3, 1e-5])
    found = replace(found, parts=("mlp",) * 6)
    picture = TrendPicture(Look(Terminal()), found, Span(0, 6), 72, 12)
    lines = picture.lines(5)
    (dots,) = [line for line in lines if sum(text.count("\u2022") for text, _ in line) == 3]
    assert len(dots) == 3  # the label, the dots, the cursor's column, each with blanks behind it


# In the program


async def open_trend(pilot: Pilot[None], app: LayertuiApp) -> TrendScreen:
    await measured(pilot, app)
    await pilot.press("T")
    await until(pilot, lambda: isinstance(app.screen, TrendScreen) and app.screen.made)
    await until(pilot, lambda: not getattr(app.screen, "reading", False))
    assert isinstance(app.screen, TrendScreen)
    return app.screen


def text_of(screen: TrendScreen, part: str) -> str:
    return "\n".join(screen.query_one(part, Lines).texts)


async def test_every_key(small_pair: tuple[Path, Path]) -> None:
    """40 rows of which 12, 13 and 31 diverge; all are on the screen."""
    app = make_app(*small_pair)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_trend(pilot, app)
        assert screen.cursor == 12  # where the list opened
        assert "3 introduced, first #12" in text_of(screen, "#words")
        for key, place in (
            ("j", 13), ("k", 12), ("down", 13), ("up", 12), ("right", 13), ("left", 12), ("l", 13),
            ("h", 12), ("right_square_bracket", 13), ("right_parenthesis", 31),
            ("left_square_bracket", 13), ("left_parenthesis", 12), ("G", 39), ("g", 0),
            ("end", 39), ("home", 0), ("pagedown", 39), ("ctrl+u", 19), ("ctrl+d", 39),
            ("pageup", 0),
        ):  # fmt: skip
            await pilot.press(key)
            assert screen.cursor == place, key
        await pilot.press("right_parenthesis", "plus")
        assert screen.span.count == 20 and "of 40" in text_of(screen, "#title")
        await pilot.press("minus", "minus")
        assert screen.span == Span(0, 40) and "of 40" not in text_of(screen, "#title")
        await pilot.press("question_mark")
        assert isinstance(app.screen, TextScreen)
        lines = "\n".join(app.screen.query_one(".body").texts)  # type: ignore[attr-defined]
        assert all(key.shown in lines for key in overview_keys("trend"))
        await pilot.press("escape", "right_parenthesis", "enter")
        await until(pilot, lambda: isinstance(app.screen, ListScreen) and app.session.row == 13)


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (200, 50)])
@pytest.mark.parametrize("terminal", [Terminal(), Terminal("none", ascii=True)])
async def test_many_rows(
    size: tuple[int, int], terminal: Terminal, big_pair: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if terminal.colors == "none":
        monkeypatch.setenv("NO_COLOR", "1")
    app = make_app(*big_pair, terminal=terminal)
    async with app.run_test(size=size) as pilot:
        screen = await open_trend(pilot, app)
        assert screen.cursor == 3000
        for _ in range(20):
            await pilot.press("plus")
        assert screen.span.count == 8
        assert screen.span.first <= 3000 < screen.span.first + 8
        assert "#3000 L300 input_layernorm" in text_of(screen, "#here")
        lines = screen.query_one(Picture).texts
        assert max(map(cell_len, lines)) <= size[0]


async def test_the_command_and_the_way_back(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(80, 24)) as pilot:
        await measured(pilot, app)
        await type_line(pilot, "colon", "trend")
        assert isinstance(app.screen, TrendScreen)
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, ListScreen))
        assert app.session.row == 12


async def test_a_rerun_adds_its_line(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_trend(pilot, app)
        assert "layer alone" not in text_of(screen, "#words")
        comparison = app.session.comparison
        assert comparison is not None
        measured_as = comparison.measurements[12]
        assert isinstance(measured_as, Measurement)
        reruns = app.session.reruns.session(comparison)
        reruns.results[12] = RerunResult(12, "q", measured_as)
        app.rerun_changed()
        await until(pilot, lambda: "layer alone: 1 row" in text_of(screen, "#words"))
        assert f"layer alone {number(measured_as.mse)}" in text_of(screen, "#here")
