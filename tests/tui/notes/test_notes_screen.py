"""`:note`: notes on rows, on the list, in the pane and in exports."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from layertui.compare.notes.notes_file import write_note
from layertui.compare.notes.places import FILE, note_files, notes_on
from layertui.tui.app import LayertuiApp
from layertui.tui.jobs.compare_job import Request
from layertui.tui.terminal import Terminal
from layertui.tui.widgets.detail_pane import Detail
from layertui.tui.widgets.lines import Lines, ScrolledLines
from layertui.tui.widgets.prompt import Entry
from support.screens.tui_captures import make_app, measured, settled, type_line, until, write_pair

Pair = tuple[Path, Path]
RECORD = "layers.1.self_attn.k_proj-output"  # row 12


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return write_pair(tmp_path / "pair", 40, (12, 31))


def line_of(app: LayertuiApp, row: int) -> str:
    pairs = app.list_screen.pairs
    return pairs.render_line(pairs.lines.line_at(row) - pairs.scroll_offset.y).text


def pane(app: LayertuiApp) -> str:
    values = app.list_screen.query_one(Detail).query_one("#left .values", Lines).texts
    return " ".join(text.strip() for text in values)


async def test_a_note_is_written_shown_changed_and_taken_out(pair: Pair) -> None:
    app = make_app(*pair)
    async with app.run_test(size=(200, 50)) as pilot:
        await measured(pilot, app)
        assert app.list_screen.row == 12 and "¶" not in line_of(app, 12)
        await type_line(pilot, ":", "note scale of k is 1.5")
        await until(pilot, lambda: app.controllers.idle)
        await settled(pilot)
        file = pair[0].parent / FILE
        assert app.said == f"note kept in {file}" and file.is_file()
        assert "¶" in line_of(app, 12) and "¶" not in line_of(app, 13)
        assert "scale of k is 1.5" in pane(app)
        await type_line(pilot, ":", "notes")
        shown = "\n".join(app.screen.query_one(ScrolledLines).texts)
        assert f"{RECORD}: scale of k is 1.5" in shown
        await pilot.press("escape")
        await pilot.press("colon", *"note", "enter")
        entry = app.screen.query_one(Entry)
        assert entry.value == "scale of k is 1.5"
        entry.value = "another scale"
        await pilot.press("enter")
        await until(pilot, lambda: app.controllers.idle)
        assert notes_on(str(pair[0])).texts == {RECORD: "another scale"}
        await pilot.press("colon", *"note", "enter")
        app.screen.query_one(Entry).value = ""
        await pilot.press("enter")
        await until(pilot, lambda: app.controllers.idle)
        await settled(pilot)
        assert "note taken out of" in app.said
        assert "¶" not in line_of(app, 12) and notes_on(str(pair[0])).texts == {}


async def test_notes_are_there_the_next_time_and_when_it_is_read_again(pair: Pair) -> None:
    write_note(note_files(str(pair[0]), None)[0], str(pair[0]), RECORD, "of yesterday")
    app = make_app(*pair, fold="layers")
    async with app.run_test(size=(80, 24)) as pilot:
        await measured(pilot, app)
        assert "¶" in line_of(app, 12)
        await pilot.press("z", "M")
        await pilot.pause()
        assert "¶" in line_of(app, 12) and "¶" not in line_of(app, 31)  # a folded line
        write_note(
            note_files(str(pair[0]), None)[0], str(pair[0]), RECORD, "of today", "of yesterday"
        )
        await type_line(pilot, ":", "note mine")
        await until(pilot, lambda: app.controllers.idle)
        assert "the note was changed meanwhile: of today" in app.said
        await pilot.press("ctrl+r")
        await measured(pilot, app)
        assert app.session.comparison is not None
        assert app.session.comparison.row_notes.texts == {RECORD: "of today"}


async def test_a_note_on_the_pair_that_is_open(pair: Pair) -> None:
    app = make_app(*pair)
    async with app.run_test(size=(120, 40)) as pilot:
        await measured(pilot, app)
        await pilot.press("enter")
        await pilot.pause(0.1)
        await type_line(pilot, ":", "note looked at closely")
        await until(pilot, lambda: app.controllers.idle)
        await pilot.pause(0.1)
        assert "note kept in" in app.said
        shown = app.screen.query_one("#view-stats", ScrolledLines).texts
        assert any("looked at closely" in text for text in shown)


async def test_a_file_that_cannot_be_read_is_said_and_stays(pair: Pair) -> None:
    file = pair[0].parent / FILE
    file.write_text("this is mine")
    app = make_app(*pair)
    async with app.run_test(size=(200, 40)) as pilot:
        await measured(pilot, app)
        assert f"{file}: no TOML, or not all of it" in app.said
        await type_line(pilot, ":", "note x")
        await until(pilot, lambda: app.controllers.idle)
        assert "no TOML" in app.said and app.is_running
    assert file.read_text() == "this is mine"


async def test_notes_lie_beside_the_rules_file(pair: Pair, tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text("")
    request = Request(str(pair[0]), str(pair[1]), rules_path=str(rules))
    app = LayertuiApp(request, rules_path=str(rules), fold="none")
    async with app.run_test(size=(100, 30)) as pilot:
        await measured(pilot, app)
        await type_line(pilot, ":", "note beside the rules")
        await until(pilot, lambda: app.controllers.idle)
    assert (tmp_path / FILE).is_file() and not (pair[0].parent / FILE).exists()


async def test_no_note_reaches_the_terminal_as_control_characters(pair: Pair) -> None:
    file = Path(note_files(str(pair[0]), None)[0])
    evil = "a \\u001b]52;c;eA==\\u0007 \\u001b[31m \\u202e b"
    file.write_text(
        f'schema = "layertui.notes/1"\n[[note]]\nreference = "ref"\nrecord = "{RECORD}"\n'
        f'text = "{evil}"\n'
    )
    app = make_app(*pair, terminal=Terminal(ascii=True))
    async with app.run_test(size=(200, 50)) as pilot:
        await measured(pilot, app)
        assert '"' in line_of(app, 12)
        assert "\\x1b]52" in pane(app) and "\\u202e" in pane(app)
        shown = app.export_screenshot()
        assert "\x1b" not in shown and "\u202e" not in shown
        await type_line(pilot, ":", "note")
        assert app.screen.query_one(Entry).value.isprintable()
        await pilot.press("enter")  # nothing was changed
        await until(pilot, lambda: app.controllers.idle)
    assert "\\u001b" in file.read_text()


async def test_exports_carry_notes(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_note(note_files(str(pair[0]), None)[0], str(pair[0]), RECORD, "see *this*")
    app = make_app(*pair)
    async with app.run_test(size=(100, 30)) as pilot:
        await measured(pilot, app)
        for line in ("report a.md", "report a.json", "report a.txt", "export row.txt"):
            await type_line(pilot, ":", line)
            await until(pilot, lambda: app.controllers.idle)
    markdown = Path("a.md").read_text()
    assert "## Notes" in markdown and "see &#42;this&#42;" in markdown
    rows = json.loads(Path("a.json").read_text())["rows"]
    assert [row["index"] for row in rows if "note" in row] == [12]
    assert rows[12]["note"] == "see *this*"
    assert f"{RECORD}: see *this*" in Path("a.txt").read_text()
    assert "note        see *this*" in Path("row.txt").read_text()
