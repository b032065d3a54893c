"""Captures with one pair open on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from layertui.compare.comparison import Comparison, open_comparison
from layertui.tui.list.screen import ListScreen
from layertui.tui.pair.screen import PairScreen
from layertui.tui.present.opening import single_pair
from layertui.tui.widgets.footer import Footer
from support.screens.tui_captures import make_app, measured, until

Arrays = dict[str, np.ndarray]
_X = np.arange(24, dtype=np.float32).reshape(4, 6)
MLP = "model.layers.0.mlp"


def write(folder: Path, names: list[str], factor: float = 1.0) -> str:
    folder.mkdir()
    for name in names:
        np.save(folder / f"{name}.npy", _X * factor)
    return str(folder)


def opened(tmp_path: Path, reference: list[str], candidate: list[str]) -> Comparison:
    return open_comparison(
        write(tmp_path / "ref", reference), write(tmp_path / "cand", candidate, 1.5)
    )


@pytest.mark.parametrize(
    ("reference", "candidate", "row"),
    [
        ([f"{MLP}-output"], [f"{MLP}-output"], 0),
        ([f"{MLP}-input_0", f"{MLP}-output"], [f"{MLP}-input_0", f"{MLP}-output"], 1),
        ([f"{MLP}-input_0", f"{MLP}-output"], [f"{MLP}-output"], 1),
        ([f"{MLP}-output", f"{MLP}-output_1"], [f"{MLP}-output", f"{MLP}-output_1"], None),
        ([f"{MLP}-output", "model.norm-output"], [f"{MLP}-output"], None),
        ([f"{MLP}-output", "model.norm-input_0"], [f"{MLP}-output", "model.norm-input_0"], None),
        ([f"{MLP}-input_0"], [f"{MLP}-input_0"], None),
    ],
)
def test_which_rows_leave_nothing_to_choose(
    tmp_path: Path, reference: list[str], candidate: list[str], row: int | None
) -> None:
    assert single_pair(opened(tmp_path, reference, candidate).rows) == row


async def test_two_files_open_on_the_pair_and_q_quits(tmp_path: Path) -> None:
    for name, factor in (("a", 1.0), ("b", 1.1)):
        np.save(tmp_path / f"{name}.npy", _X * np.float32(factor))
    app = make_app(tmp_path / "a.npy", tmp_path / "b.npy")
    async with app.run_test(size=(80, 24)) as pilot:
        await measured(pilot, app)
        screen = app.screen
        assert isinstance(screen, PairScreen)
        await until(pilot, lambda: not screen.reading)
        assert "DIVERGED" in screen.view.texts[1]
        assert "q quit" in screen.query_one(Footer).render_line(0).text
        await pilot.press("escape")
        assert isinstance(app.screen, ListScreen)
        await pilot.press("enter", "q")  # opened by hand: back to the list
        assert isinstance(app.screen, ListScreen) and app.is_running
        await pilot.press("q")
        await until(pilot, lambda: not app.is_running)
    again = make_app(tmp_path / "a.npy", tmp_path / "b.npy")
    async with again.run_test(size=(80, 24)) as pilot:
        await measured(pilot, again)
        await pilot.press("q")
        await until(pilot, lambda: not again.is_running)


async def test_with_inputs_q_leads_to_the_list(tmp_path: Path) -> None:
    names = [f"{MLP}-input_0", f"{MLP}-output"]
    sides = write(tmp_path / "ref", names), write(tmp_path / "cand", names, 1.5)
    app = make_app(*sides)
    async with app.run_test(size=(80, 24)) as pilot:
        await measured(pilot, app)
        screen = app.screen
        assert isinstance(screen, PairScreen)
        assert screen.scene is not None and screen.scene.row.role == "output"
        assert "q back" in screen.query_one(Footer).render_line(0).text
        await pilot.press("q")
        assert isinstance(app.screen, ListScreen)
        await pilot.press("ctrl+r")  # read anew, it stays where the user is
        await measured(pilot, app)
        assert isinstance(app.screen, ListScreen)


async def test_a_key_pressed_before_keeps_the_list(tmp_path: Path) -> None:
    names = [f"{MLP}-output"]
    sides = write(tmp_path / "ref", names), write(tmp_path / "cand", names)
    app = make_app(*sides)
    app.session.touched = True
    async with app.run_test(size=(80, 24)) as pilot:
        await measured(pilot, app)
        assert isinstance(app.screen, ListScreen)
