"""Folders of captures, a case each, on the screen and in `compare`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from textual.pilot import Pilot

from layertui.cli.main import status_of
from layertui.tui.app import LayertuiApp
from layertui.tui.before.before_line import BeforeLine
from layertui.tui.watch.writing_state import Pace
from layertui.tui.widgets.lines import Lines
from support.screens.tui_captures import make_app, measured, settled, until

NAMES = ("layer_output", "attn_residual_output", "mlp_intermediate")


def write_dump(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = ", ".join(map(str, values.shape))
    numbers = "\n".join(f"{value:.8e}" for value in values.ravel())
    path.write_text(f"# shape: ({shape})\n{numbers}\n")


def write_case(reference: Path, candidate: Path, seed: int, factor: float = 1.0) -> None:
    """Text dumps of three layers; from the second on `factor` is the candidate's fault."""
    rng = np.random.default_rng(seed)
    for layer in range(3):
        for name in NAMES:
            values = rng.standard_normal((1, 4, 16))
            write_dump(reference / f"py_layer_{layer}_{name}.txt", values)
            wrong = factor if layer else 1.0
            write_dump(candidate / f"cpp_layer_{layer}_{name}.txt", values * wrong)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Three cases, of which the second has a fault; the candidate lacks the fourth."""
    sides = tmp_path / "python", tmp_path / "cpp"
    for number, factor in enumerate((1.0, 1.1, 1.0)):
        write_case(*(side / f"test{number}" for side in sides), number, factor)
    write_case(sides[0] / "test3", tmp_path / "elsewhere", 3)
    return sides


def text_of(app: LayertuiApp, name: str) -> str:
    return app.list_screen.query_one(name, Lines).texts[0]


async def shows(pilot: Pilot[None], app: LayertuiApp, case: str) -> None:
    await until(pilot, lambda: case in text_of(app, "#counts") and not app.working)
    await settled(pilot)


def test_the_screen_goes_from_case_to_case(folders: tuple[Path, Path]) -> None:
    async def drive() -> None:
        app = make_app(*folders)
        async with app.run_test(size=(80, 24)) as pilot:
            await measured(pilot, app)
            await shows(pilot, app, "case 1/4 test0 (c: next)")
            assert "no divergence in 9 pairs" in text_of(app, "#answer")
            await pilot.press("c")
            await shows(pilot, app, "case 2/4 test1")
            assert text_of(app, "#answer").startswith(" L1 ")
            assert app.session.paths == tuple(str(side / "test1") for side in folders)
            await pilot.press("c")
            await shows(pilot, app, "case 3/4 test2")
            await pilot.press("c")
            assert app.said == "the last case"
            await pilot.press("C", "C")
            await shows(pilot, app, "case 1/4 test0")
            await pilot.press("colon", *"case test3", "enter")
            assert app.said == "test3: the candidate has no such case"
            await pilot.press("colon", *"case", "enter")
            words = "test0: no divergence; test1: 6 diverged; test2: no divergence; test3: the "
            assert app.said == f"{words}candidate has no such case"

    asyncio.run(drive())


def test_a_case_that_cannot_be_opened_leaves_the_one_of_before(
    folders: tuple[Path, Path],
) -> None:
    async def drive() -> None:
        app = make_app(*folders)
        async with app.run_test(size=(80, 24)) as pilot:
            await measured(pilot, app)
            await shows(pilot, app, "case 1/4 test0")
            for file in (folders[1] / "test1").iterdir():
                file.unlink()
            await pilot.press("c")
            await until(pilot, lambda: not app.working and "test1" in app.said)
            assert "case 1/4 test0" in text_of(app, "#counts")
            assert app.session.paths[0].endswith("test0")
            await pilot.press("colon", *"case 3", "enter")
            await shows(pilot, app, "case 3/4 test2")

    asyncio.run(drive())


def test_one_folder_with_both_sides_of_every_case(tmp_path: Path) -> None:
    for number, factor in enumerate((1.0, 1.1)):
        place = tmp_path / f"test{number}"
        write_case(place, place, number, factor)

    async def drive() -> None:
        app = make_app(tmp_path, tmp_path)
        async with app.run_test(size=(80, 24)) as pilot:
            await measured(pilot, app)
            await shows(pilot, app, "case 1/2 test0")
            assert "9 pairs · 0 gaps" in text_of(app, "#counts")
            await pilot.press("c")
            await shows(pilot, app, "case 2/2 test1")
            assert "6 DIVERGED" in text_of(app, "#counts")

    asyncio.run(drive())


def test_compare_takes_one_folder_with_both_sides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_case(tmp_path / "dumps", tmp_path / "dumps", 0, 1.1)
    assert status_of(["compare", str(tmp_path / "dumps")]) == 1
    assert "pairs 9, only in reference 0" in capsys.readouterr().out
    write_case(tmp_path / "alone", tmp_path / "other", 0)
    assert status_of(["compare", str(tmp_path / "alone")]) == 2
    said = capsys.readouterr().err
    assert "give two captures to compare, or one directory with text dumps py_*.txt and" in said


def test_no_cases(small_pair: tuple[Path, Path]) -> None:
    async def drive() -> None:
        app = make_app(*small_pair)
        async with app.run_test(size=(80, 24)) as pilot:
            await measured(pilot, app)
            await pilot.press("c")
            assert app.said.startswith("one pair of captures only")
            assert "case" not in text_of(app, "#counts")

    asyncio.run(drive())


def test_readings_of_another_case_are_not_compared(folders: tuple[Path, Path]) -> None:
    async def drive() -> None:
        app = make_app(*folders)
        app.controllers.watch.pace = Pace(0.01, 0.03, 0.03)
        async with app.run_test(size=(80, 24)) as pilot:
            await shows(pilot, app, "case 1/4")
            await until(pilot, lambda: app.controllers.idle)
            app.list_screen.run_command("watch")
            await until(pilot, lambda: app.controllers.idle)
            was = app.session.comparison
            write_case(folders[0] / "test0", folders[1] / "test0", 0, 1.5)
            await until(pilot, lambda: app.session.comparison is not was)
            await until(pilot, lambda: app.session.changes is not None)
            await pilot.press("c")
            await shows(pilot, app, "case 2/4")
            await until(pilot, lambda: app.controllers.idle)
            assert app.session.changes is None
            assert not app.list_screen.query_one(BeforeLine).display
            app.list_screen.run_command(f"before {folders[1] / 'test0'}")
            assert "one case at a time" in app.said

    asyncio.run(drive())
