"""The views of the pair screen, driven by keys alone."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from textual.pilot import Pilot

from layertui.cli.main import status_of
from layertui.tui.app import LayertuiApp
from layertui.tui.list.screen import ListScreen
from layertui.tui.pair.screen import PairScreen
from layertui.tui.pair.views.heat import HeatView
from layertui.tui.pair.views.layout import LayoutView
from layertui.tui.pair.views.top import TopView
from layertui.tui.pair.views.values import ValuesView
from support.screens.layout_captures import write_arrays, write_layout_pair
from support.screens.tui_captures import make_app, measured, settled, until


@pytest.fixture
def layouts(tmp_path: Path) -> tuple[Path, Path]:
    return write_layout_pair(tmp_path)


async def opened(pilot: Pilot[None], app: LayertuiApp, row: int = 0) -> PairScreen:
    """The pair screen over a row, its first view read."""
    await measured(pilot, app)
    await pilot.press("colon", *str(row), "enter", "enter")
    await read(pilot, app)
    assert isinstance(app.screen, PairScreen)
    return app.screen


async def read(pilot: Pilot[None], app: LayertuiApp) -> None:
    """Until nothing is read or measured any more."""

    def done() -> bool:
        reading = isinstance(app.screen, PairScreen) and app.screen.reading
        return not app.working and not reading

    await until(pilot, done)
    await settled(pilot)


async def typed(pilot: Pilot[None], text: str) -> None:
    """Type into the prompt as a user would, key by key."""
    await pilot.press(*text)


def texts(screen: PairScreen) -> str:
    return "\n".join(screen.view.texts)


@pytest.mark.parametrize(
    ("row", "word"),
    [(0, "RoPE"), (1, "swapped"), (2, "4 heads in the order 1, 3, 0, 2"), (3, "1 later")],
)
async def test_layout_finds_the_recipe(layouts: tuple[Path, Path], row: int, word: str) -> None:
    """6, l, Enter: RoPE's order, a transposed output, permuted heads, a shift by one token."""
    app = make_app(*layouts)
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await opened(pilot, app, row)
        assert screen.scene is not None and screen.scene.verdict.level == "diverged"
        await pilot.press("6", "l")
        await read(pilot, app)
        assert word in texts(screen)
        await pilot.press("enter")
        await read(pilot, app)
        assert screen.scene.verdict.level == "identical"
        assert "on trial" in screen.query_one("#tabs").texts[0]  # type: ignore[attr-defined]
        await pilot.press("escape")  # out of the trial, then out of the screen
        await read(pilot, app)
        assert screen.scene.verdict.level == "diverged"
        await pilot.press("escape")
        await pilot.pause()
        assert isinstance(app.screen, ListScreen)
        assert app.list_screen.row == row


async def test_every_key_is_text_in_the_editor(layouts: tuple[Path, Path]) -> None:
    app = make_app(*layouts)
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await opened(pilot, app, 1)
        await pilot.press("i")
        assert isinstance(screen.view, LayoutView)
        await typed(pilot, "transpose(0, 1)")
        await read(pilot, app)
        assert screen.prompt.asking
        assert screen.scene is not None and screen.scene.verdict.level == "identical"
        await typed(pilot, " | reshape(5, 7)")
        assert "64" in texts(screen) and "35" in texts(screen)  # both shapes, in words
        await pilot.press("escape")
        assert screen.scene.trial is None
        await pilot.press("i")
        await typed(pilot, "qjk")
        await pilot.press("enter")
        assert "cannot read the step" in screen.prompt.message or "qjk" in screen.prompt.message
        assert screen.scene.trial is None
        assert isinstance(app.screen, PairScreen)


async def test_undo_goes_back_recipe_by_recipe(layouts: tuple[Path, Path]) -> None:
    app = make_app(*layouts)
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await opened(pilot, app, 1)
        for recipe in ("flip(0)", "transpose(0, 1)"):
            await pilot.press("colon")
            await typed(pilot, f"recipe {recipe}")
            await pilot.press("enter")
            await read(pilot, app)
        assert screen.trial is not None and screen.trial.candidate == "transpose(0, 1)"
        await pilot.press("z")
        assert screen.trial is not None and screen.trial.candidate == "flip(0)"
        await pilot.press("z")
        assert screen.trial is None
        await pilot.press("z")
        assert "nothing to undo" in screen.prompt.message


async def test_a_kept_recipe_is_that_of_the_rules_file(
    layouts: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`w` for all of its kind, then the headless command with the same file."""
    rules = tmp_path / "my rules.toml"
    rules.write_text("# mine\n[names]\nignore = []\n")
    app = make_app(*layouts)
    app.session.rules_path = str(rules)
    async with app.run_test(size=(100, 30)) as pilot:
        await opened(pilot, app, 1)
        await pilot.press("6", "l")
        await read(pilot, app)
        await pilot.press("enter")
        await read(pilot, app)
        await pilot.press("w", "backspace", "K", "enter")
        await read(pilot, app)
        screen = app.screen
        assert isinstance(screen, PairScreen)
        assert "written to" in screen.prompt.message
        assert screen.scene is not None and screen.scene.trial is None
        assert screen.scene.verdict.level == "identical"
        assert app.list_screen.row == 1
    text = rules.read_text()
    assert text.startswith("# mine\n")
    assert "layers.*.self_attn.o_proj-output" in text
    status_of(["compare", *map(str, layouts), "--rules", str(rules), "--format", "csv"])
    line = next(s for s in capsys.readouterr().out.splitlines() if "o_proj" in s)
    assert "identical" in line


async def test_a_gap_is_compared_with_any_record(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    value = rng.standard_normal((4, 6)).astype(np.float32)
    pair = (
        write_arrays(tmp_path / "ref", {"a-output": value, "same-output": value}),
        write_arrays(tmp_path / "cand", {"z-output": value.T, "same-output": value,
                                         "other-output": value[:2]}),
    )  # fmt: skip
    app = make_app(*pair)
    async with app.run_test(size=(100, 30)) as pilot:
        await measured(pilot, app)
        comparison = app.list_screen.comparison
        assert comparison is not None
        gap = next(
            r.index for r in comparison.rows if r.reference and r.reference.name == "a-output"
        )
        if comparison.rows[gap].kind == "pair":  # order brought it together with something
            await pilot.press("colon", *str(gap), "enter", "P")
            await read(pilot, app)
            gap = next(r.index for r in app.list_screen.comparison.rows  # type: ignore[union-attr]
                       if r.reference and r.reference.name == "a-output")  # fmt: skip
        screen = await opened(pilot, app, gap)
        await pilot.press("6")
        await pilot.pause()
        assert "z-output" in texts(screen)
        await pilot.press("colon")
        await typed(pilot, "with z-output")
        await pilot.press("enter")
        await read(pilot, app)
        assert screen.scene is not None and screen.scene.row.kind == "pair"
        await pilot.press("colon")
        await typed(pilot, "recipe transpose(0,1)")
        await pilot.press("enter")
        await read(pilot, app)
        assert screen.scene.verdict.level == "identical"
        await pilot.press("w", "enter")
        await read(pilot, app)
        kept = app.list_screen.comparison
        assert kept is not None
        row = kept.rows[app.list_screen.row or 0]
        assert (row.reference and row.reference.name, row.candidate and row.candidate.name) == (
            "a-output", "z-output",
        )  # fmt: skip
        assert kept.verdicts[row.index].level == "identical"
        assert [p.candidate for p in app.session.unsaved.pairs] == ["z-output"]


async def test_greatest_differences(layouts: tuple[Path, Path]) -> None:
    app = make_app(*layouts)
    async with app.run_test(size=(120, 30)) as pilot:
        screen = await opened(pilot, app, 0)
        await pilot.press("2")
        await read(pilot, app)
        view: Any = screen.view
        assert isinstance(view, TopView)
        numbers = app.list_screen.comparison.measurements[0]  # type: ignore[union-attr]
        first = view.selected
        assert first is not None and first.index == numbers.max_abs_index  # type: ignore[union-attr]
        assert first.reference_index == (0, *first.index)
        await pilot.press("j", "s")
        await read(pilot, app)
        assert view.order == "rel" and view.cursor == 0
        await pilot.press("colon")
        await typed(pilot, "top 500")
        await pilot.press("enter")
        await read(pilot, app)
        assert view.entries == 500
        await pilot.press("a")
        await read(pilot, app)
        assert view.ranking is not None and view.ranking.axis == 0
        await pilot.press("a")
        await read(pilot, app)
        assert view.ranking.axis == 1
        await pilot.press("a", "s", "s")
        await read(pilot, app)
        assert view.order == "abs" and view.axis is None
        await pilot.press("enter")
        await read(pilot, app)
        assert isinstance(screen.view, ValuesView)
        shown = screen.view.window
        assert shown is not None and shown.worst is not None
        assert all(
            low <= at < high for at, (low, high) in zip(first.index, shown.region, strict=True)
        )


async def test_heat_map(layouts: tuple[Path, Path]) -> None:
    app = make_app(*layouts)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot, app, 1)
        await pilot.press("4")
        await read(pilot, app)
        view: Any = screen.view
        assert isinstance(view, HeatView) and view.map is not None
        numbers = screen.scene.numbers  # type: ignore[union-attr]
        assert numbers is not None and numbers.max_abs_index is not None
        whole = view.map.plan
        rows, columns = view.map.cell(*view.cursor)  # the cursor begins at the extreme
        assert rows[0] <= numbers.max_abs_index[0] < rows[1]
        assert columns[0] <= numbers.max_abs_index[1] < columns[1]
        await pilot.press("enter")
        await read(pilot, app)
        low, high = view.map.plan.region[0]
        assert high - low == 16 and low <= numbers.max_abs_index[0] < high
        await pilot.press("left", "up")
        assert "axis 0" in screen.prompt.message
        await pilot.press("backspace")
        await read(pilot, app)
        assert view.map.plan == whole
        await pilot.press("v")
        await read(pilot, app)
        assert view.map.plan.quantity == "reference"
        await pilot.press("x")
        await read(pilot, app)
        assert (view.map.plan.rows, view.map.plan.columns) == (1, 0)
        await pilot.press("colon")
        await typed(pilot, "slice 3:5")
        await pilot.press("enter")
        await read(pilot, app)
        assert view.map.plan.region == ((3, 5), (0, 64))


async def test_values(layouts: tuple[Path, Path]) -> None:
    app = make_app(*layouts)
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await opened(pilot, app, 0)
        await pilot.press("colon")
        await typed(pilot, "slice 2:4,60:64")
        await pilot.press("enter")
        await read(pilot, app)
        view: Any = screen.view
        assert isinstance(view, ValuesView)
        window: Any = view.window
        assert window.region == ((2, 4), (60, 64))
        assert np.array_equal(
            window.difference, window.candidate.astype(float) - window.reference.astype(float)
        )
        await pilot.press("s", "s")
        await read(pilot, app)
        bits = f"{window.reference.view(np.uint32)[0, 0]:08x}"
        assert bits in texts(screen)
        await pilot.press("colon")
        await typed(pilot, "slice 9:2:-1")
        await pilot.press("enter")
        assert "steps of 1" in screen.prompt.message
        await pilot.press("colon")
        await typed(pilot, "slice")
        await pilot.press("enter", "G", "end", "right")
        await read(pilot, app)
        assert view.window is not None and view.window.region[0][1] == 10


async def test_rows_change_without_leaving_the_view(layouts: tuple[Path, Path]) -> None:
    app = make_app(*layouts)
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await opened(pilot, app, 0)
        await pilot.press("tab", "tab", "tab")
        assert isinstance(screen.view, HeatView)
        await pilot.press("J")
        await read(pilot, app)
        assert isinstance(screen.view, HeatView) and screen.scene.index == 1  # type: ignore[union-attr]
        await pilot.press("right_square_bracket", "shift+tab")
        await read(pilot, app)
        assert screen.view.NAME == "histogram" and screen.scene.index == 2  # type: ignore[union-attr]
        await pilot.press("K", "left_square_bracket")
        await read(pilot, app)
        assert screen.scene.index == 0  # type: ignore[union-attr]


STRANGE: dict[str, tuple[np.ndarray, np.ndarray, str]] = {
    "nan": (np.array([[1, np.nan], [3, 4]], "f4"), np.array([[1, 2], [np.nan, 4]], "f4"), "NaN"),
    "inf": (np.array([1, np.inf], "f4"), np.array([1, -np.inf], "f4"), "Inf"),
    "empty": (np.zeros((0,), "f4"), np.zeros((0,), "f4"), "no element"),
    "zero_axis": (np.zeros((3, 0, 2), "f4"), np.zeros((3, 0, 2), "f4"), "no element"),
    "scalar": (np.array(1.5, "f4"), np.array(2.5, "f4"), "1.5"),
    "whole": (np.array([2**62, -5], "i8"), np.array([2**62 + 1, -5], "i8"), "4611686018427387904"),
    "bools": (np.array([True, False]), np.array([True, True]), "False"),
    "complex": (np.array([1 + 2j], "c8"), np.array([1 - 2j], "c8"), "j"),
    "seven": (np.ones((2, 1, 3, 1, 2, 1, 2), "f4"), np.full((2, 1, 3, 1, 2, 1, 2), 2, "f4"), "1"),
    "all_nan": (np.full(3, np.nan, "f4"), np.ones(3, "f4"), "not finite"),
}


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
async def test_strange_tensors_in_every_view(tmp_path: Path, size: tuple[int, int]) -> None:
    pair = tuple(
        write_arrays(tmp_path / side, {f"{n}-output": v[at] for n, v in STRANGE.items()})
        for at, side in enumerate(("ref", "cand"))
    )
    app = make_app(*pair)
    async with app.run_test(size=size) as pilot:
        await measured(pilot, app)
        comparison = app.list_screen.comparison
        assert comparison is not None
        screen = await opened(pilot, app, 0)
        for row in comparison.rows:
            seen = ""
            for view in "1234567":
                await pilot.press(view)
                await read(pilot, app)
                seen += texts(screen)
            assert STRANGE[row.canonical][2] in seen, row.canonical
            assert "Traceback" not in seen
            await pilot.press("2", "a", "s", "4", "v", "x", "enter", "5", "s", "enter", "J")
            await read(pilot, app)


async def test_fifty_million_elements_and_ctrl_c(tmp_path: Path) -> None:
    """Sparse files: the numbers come block by block, and stopping is at once."""
    import json
    import struct

    count = 50_000_000
    sides = []
    for side in ("ref", "cand"):
        header = json.dumps({"big-output": {"dtype": "F32", "shape": [count],
                                            "data_offsets": [0, 4 * count]}}).encode()  # fmt: skip
        path = tmp_path / side / "model.safetensors"
        path.parent.mkdir()
        path.write_bytes(struct.pack("<Q", len(header)) + header)
        with open(path, "r+b") as file:
            file.truncate(8 + len(header) + 4 * count)
            if side == "cand":
                file.seek(8 + len(header) + 4 * 1_000)
                file.write(struct.pack("<f", 1.0))
        sides.append(path.parent)
    app = make_app(*sides)
    async with app.run_test(size=(100, 30)) as pilot:
        await measured(pilot, app)
        await pilot.press("enter")

        def started() -> bool:
            return isinstance(app.screen, PairScreen) and app.screen.view.progress is not None

        await until(pilot, started)
        screen = app.screen
        assert isinstance(screen, PairScreen)
        assert "% of 50000000 elements" in texts(screen)
        assert "count" in texts(screen)  # the first numbers stand there already
        await pilot.press("ctrl+c")
        await read(pilot, app)
        assert "stopped" in texts(screen)
        await pilot.press("5")
        await read(pilot, app)
        await pilot.press("enter")
        await read(pilot, app)
        assert "1.0000e+00" in texts(screen)


async def test_export_of_what_is_looked_at(layouts: tuple[Path, Path], tmp_path: Path) -> None:
    app = make_app(*layouts)
    out = tmp_path / "found.txt"
    async with app.run_test(size=(100, 30)) as pilot:
        await opened(pilot, app, 1)
        await pilot.press("colon")
        await typed(pilot, "recipe transpose(0,1)")
        await pilot.press("enter")
        await read(pilot, app)
        text = ""
        for _ in range(2):  # the second time it exists, and n leaves it alone
            await pilot.press("colon")
            await typed(pilot, f"export {out}")
            await pilot.press("enter")
            await until(pilot, lambda: app.controllers.export.job is None)
            text = out.read_text()
            if app.screen.prompt.asking:  # type: ignore[attr-defined]
                out.write_text("mine")
                await pilot.press("n", "enter")
        assert out.read_text() == "mine"
        await pilot.press("colon")
        await typed(pilot, "export -")
        await pilot.press("enter")
        await until(pilot, lambda: app.last_output)
        assert app.last_output == [text]
    for part in ("identical", "STATISTICS", "GREATEST DIFFERENCES", "transpose(0, 1)", "matched",
                 "model.safetensors", "layertui show"):  # fmt: skip
        assert part in text


async def test_closing_ends_the_thread(layouts: tuple[Path, Path]) -> None:
    app = make_app(*layouts)
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await opened(pilot, app, 0)
        assert screen.readings.alive
        await pilot.press("escape")
        for _ in range(100):
            await asyncio.sleep(0.02)
            if not screen.readings.alive:
                break
        assert not screen.readings.alive


async def test_a_pair_that_is_left_before_it_is_there(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(80, 24)) as pilot:
        await measured(pilot, app)
        app.open_pair()
        app.pop_screen()
        await pilot.pause()
        assert app.screen is app.list_screen
        await pilot.press("j")
        assert app.is_running
