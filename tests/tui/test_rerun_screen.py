"""Injected reruns on the screens, with a small engine that speaks the protocol of runners."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from textual.pilot import Pilot

from layertui.capture.demo.shipped import unpack
from layertui.cli.main import status_of
from layertui.compare.comparison import open_comparison
from layertui.compare.reports.words import number
from layertui.compare.rerun.verification import open_export
from layertui.tui.app import LayertuiApp
from layertui.tui.jobs.compare_job import Request
from layertui.tui.list.rerunning import blamed_row
from layertui.tui.pair.screen import PairScreen
from support import small_model
from support.screens.tui_captures import make_app, measured, settled, until


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))


async def typed(pilot: Pilot[None], text: str) -> None:
    await pilot.press(*text)


async def reran(pilot: Pilot[None], app: LayertuiApp) -> None:
    def done() -> bool:
        reading = isinstance(app.screen, PairScreen) and app.screen.reading
        return not (app.controllers.rerunning.busy or app.working or reading)

    await until(pilot, done)
    await settled(pilot)


async def on_row(pilot: Pilot[None], app: LayertuiApp, name: str) -> int:
    comparison = app.list_screen.comparison
    assert comparison is not None
    row = next(r.index for r in comparison.rows if r.label == name)
    await pilot.press("colon")
    await typed(pilot, str(row))
    await pilot.press("enter")
    return row


async def test_r_asks_for_the_runner_and_convicts_the_wrong_layer(tmp_path: Path) -> None:
    """R on marked rows, the column, f again, the view, the rerun's output, the export; and the
    results are there when the captures are opened again.
    """
    pair = small_model.captures(tmp_path, wrong="up")
    out = tmp_path / "found.txt"
    app = make_app(*pair)
    async with app.run_test(size=(120, 34)) as pilot:
        await measured(pilot, app)
        comparison = app.list_screen.comparison
        assert comparison is not None
        outputs = [r.label for r in comparison.rows if r.kind == "pair" and r.role == "output"]
        wrong = next(label for label in outputs if "up" in label)
        other = next(label for label in outputs if "up" not in label and label != "model-output")
        for name in (wrong, other):
            await on_row(pilot, app, name)
            await pilot.press("space")
        await pilot.press("R")
        assert app.list_screen.prompt.asking
        await typed(pilot, "nonsense")
        await pilot.press("enter")
        assert "is not a directory" in app.list_screen.prompt.message
        await pilot.press("R")
        await typed(pilot, f"! {small_model.runner(tmp_path)}")
        await pilot.press("enter")
        await reran(pilot, app)
        reruns = app.session.reruns
        rows = {r.label: r.index for r in comparison.rows}
        assert reruns.wrong_layers(comparison) == [rows[wrong]]
        assert "wrong on their own: up" in app.list_screen.prompt.message
        assert "single" in app.list_screen.query_one("#heading").texts[0]  # type: ignore[attr-defined]
        assert set(app.list_screen.pairs.singles) >= {rows[wrong], rows[other]}
        await pilot.press("u")
        await on_row(pilot, app, wrong)
        await pilot.press("enter", "7")
        await reran(pilot, app)
        screen = app.screen
        assert isinstance(screen, PairScreen)
        text = "\n".join(screen.view.texts)
        for part in ("entire", "inputs", "single", "wrong on its own"):
            assert part in text
        await pilot.press("enter")
        await reran(pilot, app)
        assert screen.scene is not None and screen.scene.injected is not None
        assert "the rerun's output" in screen.query_one("#tabs").texts[0]  # type: ignore[attr-defined]
        await pilot.press("2")
        await reran(pilot, app)
        assert "elements differ" in screen.view.texts[0]  # type: ignore[operator]
        await pilot.press("escape")
        assert screen.scene.injected is None
        await pilot.press("colon")
        await typed(pilot, f"export {out}")
        await pilot.press("enter")
        await until(pilot, lambda: app.controllers.export.job is None)
        assert "INJECTED RERUN" in out.read_text() and "wrong on its own" in out.read_text()
    app.session.reruns.close()
    again = make_app(*pair)
    async with again.run_test(size=(120, 34)) as pilot:
        await measured(pilot, again)
        await reran(pilot, again)
        assert again.list_screen.pairs.singles
    again.session.reruns.close()


@pytest.mark.parametrize("mode", ["crash", "hang"])
async def test_a_runner_that_fails_leaves_the_screen_alive(tmp_path: Path, mode: str) -> None:
    pair = small_model.captures(tmp_path, wrong="up")
    app = make_app(*pair)
    async with app.run_test(size=(100, 30)) as pilot:
        await measured(pilot, app)
        await pilot.press("f", "R")
        await typed(pilot, f"! {small_model.runner(tmp_path, mode)}")
        await pilot.press("enter")
        if mode == "hang":
            await until(pilot, lambda: "rerun" in app.session.rerun_state)
            await pilot.press("ctrl+c")
        await reran(pilot, app)
        assert app.return_code is None
        assert app.list_screen.prompt.message
        await pilot.press("j", "k")
        assert app.list_screen.row is not None
    app.session.reruns.close()


async def rerun_of_the_demo(tmp_path: Path, wanted: str) -> tuple[str, list[str]]:
    """R on one row of the demo's captures: the message, and the layers that are found wrong."""
    app = make_app(*unpack(str(tmp_path / "demo"), "weight-scale"))
    async with app.run_test(size=(120, 34)) as pilot:
        await measured(pilot, app)
        comparison = app.list_screen.comparison
        assert comparison is not None
        await on_row(pilot, app, wanted)
        await pilot.press("R")
        assert not app.list_screen.prompt.asking  # the capture tells which model made it
        await reran(pilot, app)
        message = app.list_screen.prompt.message
        wrong = [comparison.rows[i].canonical for i in app.session.reruns.wrong_layers(comparison)]
    app.session.reruns.close()
    return message, wrong


@pytest.mark.torch
@pytest.mark.parametrize(
    ("wanted", "wrong", "words"),
    [
        ("layers.3.mlp.down_proj-output", ["layers.3.mlp.down_proj"], "this layer is wrong on its"),
        ("layers.4.mlp-output", [], "the layer itself is fine: it only passes on an error"),
    ],
)
async def test_r_knows_the_model_of_the_demo(
    wanted: str, wrong: list[str], words: str, tmp_path: Path
) -> None:
    message, found = await rerun_of_the_demo(tmp_path, wanted)
    assert found == wrong and message.startswith(words)


async def test_r_without_torch_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    message, found = await rerun_of_the_demo(tmp_path, "layers.3.mlp.down_proj-output")
    assert not found and "\n" not in message
    assert "running layers in PyTorch needs the extra 'torch': pip install" in message


@pytest.mark.torch
async def test_the_view_shows_the_rerun_of_the_module_that_the_divergence_was_seen_in(
    tmp_path: Path,
) -> None:
    app = make_app(*unpack(str(tmp_path / "demo"), "attention-scale"))
    async with app.run_test(size=(120, 34)) as pilot:
        await measured(pilot, app)
        await pilot.press("f", "enter", "7", "R")
        await reran(pilot, app)
        comparison, screen = app.session.comparison, app.screen
        assert comparison is not None and isinstance(screen, PairScreen)
        assert screen.scene is not None
        assert blamed_row(comparison, screen.scene.index) != screen.scene.index
        text = "\n".join(screen.view.texts)
        assert "wrong on its own" in text and "not rerun yet" not in text.lower()
        assert "Enter shows it from its own row, layers.3.self_attn-output" in text
    app.session.reruns.close()


@pytest.mark.torch
async def test_an_export_opens_with_both_scenarios(tmp_path: Path) -> None:
    """What `layertui verify` wrote: the errors as captured and those with injection, side by side,
    without anything being run.
    """
    reference, candidate = unpack(str(tmp_path / "demo"), "weight-scale")
    place = tmp_path / "export"
    command = ["verify", str(tmp_path), "--reference-capture", reference, "--candidate-capture",
               candidate, "--offline", "--save-layers", "-o", str(place)]  # fmt: skip
    assert status_of(command) == 1
    found = open_export(str(place))
    assert found.reference is not None and found.candidate is not None
    app = LayertuiApp(Request(found.reference, found.candidate), export=str(place))
    async with app.run_test(size=(160, 34)) as pilot:
        await measured(pilot, app)
        comparison = app.list_screen.comparison
        assert comparison is not None
        assert "single" in app.list_screen.query_one("#heading").texts[0]  # type: ignore[attr-defined]
        singles = app.list_screen.pairs.singles
        judged = {row.candidate: row for row in found.rows}
        shown = 0
        for index, text in singles.items():
            record = comparison.rows[index].candidate
            row = judged[record.name] if record is not None else None
            if row is not None and row.single is not None and row.judgement != "unknown":
                assert text == number(row.single.mse)
                shown += 1
        assert shown > 5
        assert app.controllers.rerunning.busy is False
    app.session.reruns.close()


def test_a_rerun_where_the_divergence_was_seen_is_one_of_the_module_it_is_inside(
    tmp_path: Path,
) -> None:
    comparison = open_comparison(*unpack(str(tmp_path), "attention-scale"))
    assert comparison.measure(use_cache=False)
    first = comparison.first_divergence()
    assert first is not None and first.module == "layers.3.self_attn"
    found = comparison.rows[blamed_row(comparison, first.index)]
    assert (found.canonical, found.role) == (first.module, "output")
    assert blamed_row(comparison, first.index + 1) == first.index + 1
