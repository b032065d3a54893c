"""An earlier candidate on the screen: its column, rows that changed, the line above the list."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from textual.pilot import Pilot

from layertui.tui.app import LayertuiApp
from layertui.tui.before.before_line import BeforeLine
from layertui.tui.jobs.compare_job import Request
from layertui.tui.list.folds.list_lines import Start
from layertui.tui.widgets.detail_pane import Detail
from layertui.tui.widgets.lines import Lines
from support.screens.tui_captures import measured, settled, type_line, until, write_pair

Pair = tuple[Path, Path, Path]


@pytest.fixture
def three(tmp_path: Path) -> Pair:
    """Reference, candidate, and an earlier candidate: 12 is cured, 20 new, 31 as before."""
    reference, candidate = write_pair(tmp_path / "now", 40, (20, 31))
    _, old = write_pair(tmp_path / "earlier", 40, (12, 31))
    return reference, candidate, old


def app_of(three: Pair, before: str | None = "", fold: Start = "none") -> LayertuiApp:
    reference, candidate, old = three
    before = str(old) if before == "" else before
    request = Request(str(reference), str(candidate))
    return LayertuiApp(request, before=before, fold=fold)


async def compared(pilot: Pilot[None], app: LayertuiApp) -> None:
    """Until everything is measured, and compared with what was earlier."""
    await measured(pilot, app)
    await until(pilot, lambda: app.controllers.idle)
    await settled(pilot)


def said_above(app: LayertuiApp) -> str:
    line = app.list_screen.query_one(BeforeLine)
    return line.texts[0].strip() if line.display and line.region.height else ""


def line_of(app: LayertuiApp, row: int) -> str:
    pairs = app.list_screen.pairs
    return pairs.render_line(pairs.lines.line_at(row) - pairs.scroll_offset.y).text


@pytest.mark.parametrize("size", [(80, 24), (200, 60), (60, 15)])
async def test_the_list_says_what_changed(three: Pair, size: tuple[int, int]) -> None:
    app = app_of(three)
    async with app.run_test(size=size) as pilot:
        await compared(pilot, app)
        await pilot.press("g")
        assert "cured; next: " in said_above(app)
        assert "1 cured, 1 new, 0 worse" in said_above(app) or size == (60, 15)
        for row, word in ((12, "cured"), (20, "new"), (31, "")):
            app.list_screen.go_to_row(row)
            await pilot.pause()
            shown = line_of(app, row)
            assert len(shown) == app.list_screen.pairs.size.width
            assert (word in shown) if word else ("cured" not in shown and "new" not in shown)
        heading = app.list_screen.query_one("#heading", Lines).texts[0]
        assert ("before" in heading) == (size[0] >= 80)


async def test_the_column_has_the_badge_of_before(three: Pair) -> None:
    app = app_of(three)
    async with app.run_test(size=(140, 60)) as pilot:
        await compared(pilot, app)
        changes = app.session.changes
        assert changes is not None
        assert "cured  █ " in line_of(app, 12)
        assert "new    = " in line_of(app, 20)
        assert line_of(app, 31).count("█") == 2
        number = changes.number(12, "mse")
        assert number is not None and f"{number:.1e}" in line_of(app, 12)
        await pilot.press("m")
        await settled(pilot)
        number = changes.number(12, app.session.metric)
        assert number is not None and f"{number:.1e}" in line_of(app, 12)


async def test_the_pane_says_what_the_row_was(three: Pair) -> None:
    app = app_of(three)
    async with app.run_test(size=(200, 50)) as pilot:
        await compared(pilot, app)
        await type_line(pilot, ":", "12")
        await settled(pilot)
        values = app.list_screen.query_one(Detail).query_one("#left .values", Lines).texts
        assert any("DIVERGED, relative L2 5.0e-01" in text for text in values)
        assert any("cured" in text for text in values)


async def test_only_what_changed_so(three: Pair) -> None:
    app = app_of(three)
    async with app.run_test(size=(80, 24)) as pilot:
        await compared(pilot, app)
        await type_line(pilot, ":", "only cured")
        assert list(app.list_screen.shown) == [12]
        assert app.said == (
            "1 row cured; Esc shows all. cured: did not agree before and agrees now"
        )
        assert "only cured" in app.list_screen.query_one("#counts", Lines).texts[0]
        await type_line(pilot, ":", "only n")
        assert list(app.list_screen.shown) == [20]
        await pilot.press("escape")
        assert len(app.list_screen.shown) == 40
        await type_line(pilot, ":", "only same")
        assert len(app.list_screen.shown) == 38
        await type_line(pilot, ":", "goto 12")
        assert app.list_screen.row == 12 and "all rows" in app.said
        await type_line(pilot, ":", "only diverged")
        assert list(app.list_screen.shown) == [20, 31]
        await type_line(pilot, ":", "only all")
        assert len(app.list_screen.shown) == 40
        await type_line(pilot, ":", "only nonsense")
        assert "only what? diverged, new, worse" in app.said


async def test_without_an_earlier_candidate_there_is_nothing_of_it(three: Pair) -> None:
    app = app_of(three, None)
    async with app.run_test(size=(80, 24)) as pilot:
        await compared(pilot, app)
        assert said_above(app) == ""
        assert "before" not in app.list_screen.query_one("#heading", Lines).texts[0]
        await type_line(pilot, ":", "only cured")
        assert "nothing earlier is known" in app.said
        assert len(app.list_screen.shown) == 40


async def test_a_folded_layer_says_the_worst_change(three: Pair) -> None:
    app = app_of(three, fold="layers")
    async with app.run_test(size=(100, 24)) as pilot:
        await compared(pilot, app)
        await pilot.press("z", "M")
        await pilot.pause()
        lines = [app.list_screen.pairs.render_line(y).text for y in range(4)]
        assert [("cured" in line, "new" in line) for line in lines] == [
            (False, False), (True, False), (False, True), (False, False),
        ]  # fmt: skip


async def test_it_is_named_and_taken_back_on_the_screen(three: Pair, tmp_path: Path) -> None:
    app = app_of(three, None)
    async with app.run_test(size=(100, 30)) as pilot:
        await compared(pilot, app)
        await type_line(pilot, ":", "before")
        assert "no earlier candidate" in app.said
        await type_line(pilot, ":", f"before {tmp_path / 'nowhere'}")
        assert "nowhere: no such file or directory" in app.said
        await type_line(pilot, ":", f"before {three[2]}")
        await compared(pilot, app)
        assert "1 cured, 1 new" in said_above(app)
        await type_line(pilot, ":", "before off")
        await pilot.pause()
        assert said_above(app) == "" and app.session.changes is None
        assert "cured" not in line_of(app, 12)


async def test_what_is_no_capture_is_said_and_the_rest_stays(three: Pair, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    app = app_of(three, str(tmp_path / "empty"))
    async with app.run_test(size=(100, 30)) as pilot:
        await compared(pilot, app)
        assert "not compared with the earlier candidate: " in said_above(app)
        assert app.session.comparison is not None and app.session.comparison.complete
        assert app.is_running


async def test_records_that_were_unreadable_or_not_there_are_said(
    three: Pair, tmp_path: Path
) -> None:
    _, few = write_pair(tmp_path / "few", 25, (12,))
    app = app_of((three[0], three[1], few))
    async with app.run_test(size=(140, 60)) as pilot:
        await compared(pilot, app)
        assert "15 not compared before" in said_above(app)
        assert "added  ╌" in line_of(app, 35)


async def test_another_policy_judges_both(three: Pair) -> None:
    app = app_of(three)
    async with app.run_test(size=(100, 30)) as pilot:
        await compared(pilot, app)
        await type_line(pilot, ":", "threshold mse=1e9")
        await compared(pilot, app)
        assert "0 cured, 0 new, 0 worse" in said_above(app)
        assert app.session.changes is not None and app.session.comparison is not None
        policy = app.session.comparison.policy.describe()
        assert app.session.changes.earlier.policy == policy
        await type_line(pilot, ":", "policy noise")
        await compared(pilot, app)
        assert "1 cured, 1 new, 0 worse" in said_above(app)


async def test_ctrl_c_stops_it_and_ctrl_r_begins_again(three: Pair) -> None:
    app = app_of(three)
    async with app.run_test(size=(100, 30)) as pilot:
        await compared(pilot, app)
        before = app.controllers.before
        before._measured = None
        before.refresh()
        assert before.job is not None
        await pilot.press("ctrl+c")
        await until(pilot, lambda: before.job is None)
        assert app.is_running
        await pilot.press("ctrl+r")
        await compared(pilot, app)
        assert "1 cured, 1 new, 0 worse" in said_above(app)


async def test_exports_carry_it(
    three: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = app_of(three)
    async with app.run_test(size=(100, 30)) as pilot:
        await compared(pilot, app)
        for name in ("a.md", "a.json", "a.txt"):
            await type_line(pilot, ":", f"report {name}")
            await until(pilot, lambda: app.controllers.idle)
        await type_line(pilot, ":", "12")
        await type_line(pilot, ":", "export row.txt")
        await until(pilot, lambda: app.controllers.idle)
    markdown, text = (Path(f"a.{end}").read_text() for end in ("md", "txt"))
    assert "## Changes" in markdown and "| cured |" in markdown and "--before" in markdown
    assert "CHANGES SINCE" in text and "1 cured, 1 new, 0 worse" in text
    found = json.loads(Path("a.json").read_text())["changes"]
    assert (found["counts"]["cured"], found["counts"]["new"]) == (1, 1)
    assert "before      DIVERGED, relative L2 5.0e-01" in Path("row.txt").read_text()
