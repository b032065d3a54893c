"""Tab in the prompt."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from textual.pilot import Pilot

from layertui.tui.app import LayertuiApp
from layertui.tui.completion import completer
from layertui.tui.completion.candidates import Candidates
from layertui.tui.widgets.footer import Footer
from layertui.tui.widgets.prompt import Entry
from support.screens.tui_captures import make_app, measured_from_top, until


def line(app: LayertuiApp) -> str:
    return app.screen.query_one(Entry).value


def foot(app: LayertuiApp) -> str:
    return app.screen.query_one(Footer).texts[0]


async def type_text(pilot: Pilot[None], text: str) -> None:
    names = {" ": "space", "/": "slash", ".": "full_stop"}
    await pilot.press(*(names.get(letter, letter) for letter in text))
    await pilot.pause()


async def test_commands_metrics_and_names(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(80, 24)) as pilot:
        await measured_from_top(pilot, app)
        await pilot.press("colon")
        await pilot.pause()
        assert "Tab complete" in foot(app)
        await type_text(pilot, "metr")
        await pilot.press("tab")
        await pilot.pause()
        assert line(app) == "metric"
        await type_text(pilot, " max")
        await pilot.press("tab")
        await pilot.pause()
        assert line(app) == "metric max_"
        assert foot(app).split() == ["max_abs", "max_rel"]
        await pilot.press("tab", "tab", "shift+tab")
        await pilot.pause()
        assert line(app) == "metric max_abs"
        await pilot.press("enter")
        await pilot.pause()
        assert app.session.metric == "max_abs"
        await pilot.press("colon")
        await type_text(pilot, "goto lay")
        await pilot.press("tab", "tab", "tab", "tab")
        await pilot.pause()
        assert line(app) == "goto layers.2."
        assert foot(app).split() == ["0.", "1.", "2.", "3."]
        await type_text(pilot, "m")
        assert "Tab complete" in foot(app)
        await pilot.press("escape")
        await pilot.pause()
        assert not app.list_screen.prompt.asking


async def test_what_stands_behind_the_cursor_stays(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(80, 24)) as pilot:
        await measured_from_top(pilot, app)
        await pilot.press("colon")
        await type_text(pilot, "expo a.txt")
        await pilot.press(*["left"] * 6, "tab")
        await pilot.pause()
        assert line(app) == "export a.txt"


async def test_names_while_searching(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(80, 24)) as pilot:
        await measured_from_top(pilot, app)
        await pilot.press("slash")
        await type_text(pilot, "layers.3.self_attn.q")
        await pilot.press("tab")
        await pilot.pause()
        assert line(app) == "layers.3.self_attn.q_proj"
        assert app.list_screen.row == 31


async def test_files_and_nothing(
    small_pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "reports").mkdir()
    monkeypatch.chdir(tmp_path)
    app = make_app(*small_pair)
    async with app.run_test(size=(80, 24)) as pilot:
        await measured_from_top(pilot, app)
        await pilot.press("colon")
        await type_text(pilot, "export rep")
        await pilot.press("tab")
        await until(pilot, lambda: line(app) == "export reports/")
        await type_text(pilot, "x")
        await pilot.press("tab")
        await until(pilot, lambda: "nothing begins so" in foot(app))
        assert line(app) == "export reports/x"


async def test_a_slow_disk_holds_nothing_up(
    small_pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = threading.Event()

    def wait(line: str, start: int) -> Candidates:
        gone.wait(60)
        return Candidates(start, (line[start:] + "late",))

    monkeypatch.setattr(completer, "candidates_in", wait)
    app = make_app(*small_pair)
    async with app.run_test(size=(80, 24)) as pilot:
        await measured_from_top(pilot, app)
        await pilot.press("colon")
        await type_text(pilot, "export a")
        await pilot.press("tab")
        await pilot.pause()
        assert "Tab looking" in foot(app)
        await type_text(pilot, "b")
        assert line(app) == "export ab"
        gone.set()
        await pilot.pause(0.1)
        assert line(app) == "export ab"  # what was looked for is not asked for any more
        await pilot.press("escape", "j")
        assert app.list_screen.row == 1
