"""Captures of statistics without values on the screen."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from layertui.compare.comparison import open_comparison
from layertui.compare.reports.row_report import row_report
from layertui.tui.list.row_model import ComparedRows
from layertui.tui.pair.screen import PairScreen
from layertui.tui.present.answer import answer_line
from layertui.tui.present.row_fields import pane_fields
from layertui.tui.terminal import Terminal
from layertui.tui.theme import Look
from layertui.tui.widgets.depth_strip import DepthStrip
from layertui.tui.widgets.lines import Lines, strip_of
from support.screens.layout_captures import write_arrays
from support.screens.statistics_captures import PLACES, write_statistics
from support.screens.tui_captures import make_app, measured, settled, until


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return (
        write_statistics(tmp_path / "ref"),
        write_statistics(tmp_path / "cand", frozenset(PLACES[2:])),
    )


def test_the_list_shows_how_far_statistics_differ(pair: tuple[Path, Path]) -> None:
    async def drive() -> None:
        app = make_app(*pair)
        async with app.run_test(size=(80, 24)) as pilot:
            await measured(pilot, app)
            heading = app.list_screen.query_one("#heading", Lines).texts[0]
            assert " stats " in heading and "MSE" not in heading
            model = app.list_screen.model
            assert isinstance(model, ComparedRows)
            values = {model.comparison.rows[i].label: model.value(i, "mse") for i in range(8)}
            assert values["layers.1.mlp.down_proj-output"] == "2.0e-01"
            assert values["layers.0.mlp.down_proj-output"] == "0"
            bars = app.list_screen.query_one(DepthStrip).text
            look = app.look.signs.bars
            heights = [look.index(bar) for bar in bars]
            assert max(heights[:5]) < 3 < 5 < heights[5]
            said = app.list_screen.query_one("#answer", Lines).texts[0]
            assert said == (
                " L1 mlp.down_proj  DIVERGED by statistics: L2 norms differ by 0.2 (relative)"
            )

    asyncio.run(drive())


def test_a_pair_shows_the_statistics_of_both_sides(pair: tuple[Path, Path]) -> None:
    async def drive() -> None:
        app = make_app(*pair)
        async with app.run_test(size=(80, 24)) as pilot:
            await measured(pilot, app)
            await pilot.press("f", "enter")
            await until(pilot, lambda: isinstance(app.screen, PairScreen))
            await settled(pilot)
            screen = app.screen
            assert isinstance(screen, PairScreen)
            shown = screen.view.texts
            (norm,) = (line.split() for line in shown if line.split()[:1] == ["L2"])
            assert norm == ["L2", "6", "7.2", "1.200e+00", "2.000e-01"]
            assert not any("not enough" in line or "dump.json: " in line for line in shown)
            assert not any(line.split()[:1] == ["NaN"] for line in shown)  # nobody counted them
            words = "captured as statistics only, without values: view 1 has"
            for number in "2345":
                await pilot.press(number)
                await until(pilot, lambda: words in "".join(screen.view.texts))

    asyncio.run(drive())


def test_a_count_that_was_not_recorded_is_not_zero(pair: tuple[Path, Path]) -> None:
    comparison = open_comparison(*map(str, pair))
    comparison.measure(use_cache=False)
    labels = [label for label, *_ in row_report(comparison, 0).statistics_table]
    assert labels == ["min", "max", "mean", "std", "l2"]
    wrong = next(i for i, verdict in enumerate(comparison.verdicts) if verdict.fails)
    fields = {field.label: field.value for field in pane_fields(comparison, wrong)}
    assert fields["L2"] == "6 against 7.2, relative 2.000e-01"


def test_a_line_that_is_cut_says_so() -> None:
    pieces = [("abc", None), ("defgh", None), ("   ", None)]
    look = Look(Terminal())
    style = look.palette.muted
    assert strip_of(pieces, style, 8, "…").text == "abcdefgh"
    assert strip_of(pieces, style, 6, "…").text == "abcde…"
    assert strip_of(pieces, style, 6).text == "abcdef"
    assert strip_of([("層層層", None)], style, 5, "…").text == "層層…"


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_answer_without_a_cause_says_how_large(tmp_path: Path, width: int) -> None:
    rng = np.random.default_rng(3)
    names = [f"model.layers.{n}.self_attn.o_proj-output" for n in range(4)]
    values = {name: rng.standard_normal((8, 16)).astype(np.float32) for name in names}
    wrong = {**values, names[2]: values[names[2]] + rng.standard_normal((8, 16)).astype("f") / 3}
    sides = write_arrays(tmp_path / "ref", values), write_arrays(tmp_path / "cand", wrong)
    comparison = open_comparison(*map(str, sides))
    comparison.measure(use_cache=False)
    pieces = answer_line(comparison, comparison.counts, Look(Terminal()), width, False)
    shown = "".join(text for text, _ in pieces)
    assert shown.startswith(" L2 self_attn.o_proj  introduced here (")
    assert "relative L2 " in shown or "output differs by" in shown
    assert width > 100 or not shown.endswith("…")
