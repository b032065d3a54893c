"""The candidate is written anew while it is on the screen."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from textual.pilot import Pilot

from layertui.capture.run_metadata import write_metadata
from layertui.tui.app import LayertuiApp
from layertui.tui.before.before_line import BeforeLine
from layertui.tui.jobs.compare_job import Request
from layertui.tui.list.folds.list_lines import Start
from layertui.tui.watch.writing_state import Pace
from layertui.tui.widgets.lines import Lines
from support.screens.resources import in_use, more_of, no_more_than, objects
from support.screens.tui_captures import (
    layer_names,
    measured,
    settled,
    type_line,
    until,
    write_pair,
    write_safetensors,
)

ROWS = 40
QUICK = Pace(glances=0.01, rest=0.03, rest_with_fewer=0.2)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """12 and 31 diverge."""
    return write_pair(tmp_path / "pair", ROWS, (12, 31))


def app_of(
    pair: tuple[Path, Path], *, watch: bool = True, before: Path | None = None,
    fold: Start = "none",
) -> LayertuiApp:  # fmt: skip
    request = Request(*map(str, pair))
    earlier = None if before is None else str(before)
    app = LayertuiApp(request, fold=fold, watch=watch, before=earlier)
    app.controllers.watch.pace = QUICK
    return app


def write(candidate: Path, wrong: tuple[int, ...], count: int = ROWS) -> None:
    """The candidate anew, in place."""
    names = layer_names(count)
    values = {
        name: [v * (1.5 if i in wrong else 1.0) for v in (1.0, 2.0, 3.0 + i)]
        for i, name in enumerate(names)
    }
    write_safetensors(candidate / "model.safetensors", values)


async def ready(pilot: Pilot[None], app: LayertuiApp) -> None:
    await measured(pilot, app)
    await until(pilot, lambda: app.controllers.idle)
    await settled(pilot)


async def read_again(pilot: Pilot[None], app: LayertuiApp, was: object) -> None:
    """Until the candidate was read again, after the comparison `was`, and compared with that."""
    await until(pilot, lambda: app.session.comparison is not was, limit=20)
    await until(pilot, lambda: not app.working, limit=20)
    await until(pilot, lambda: app.session.changes is not None and app.controllers.idle, limit=20)
    await settled(pilot)


def said_above(app: LayertuiApp) -> str:
    return app.list_screen.query_one(BeforeLine).texts[0].strip()


def status(app: LayertuiApp) -> str:
    return app.list_screen.query_one("#counts", Lines).texts[0]


async def test_it_is_read_again_and_what_changed_is_said(pair: tuple[Path, Path]) -> None:
    app = app_of(pair)
    async with app.run_test(size=(120, 30)) as pilot:
        await ready(pilot, app)
        assert "watching" in status(app)
        await type_line(pilot, ":", "goto 20")
        was = app.session.comparison
        write(pair[1], (31,))
        await read_again(pilot, app, was)
        assert app.list_screen.row == 20
        assert "cured; next: layers.3.self_attn.q_proj" in said_above(app)
        assert "read again: layers.1.self_attn.k_proj cured; next: " in app.said
        assert app.session.changes is not None
        assert list(app.session.changes.by_change["cured"]) == [12]
        was = app.session.comparison
        write(pair[1], (5, 31))
        await read_again(pilot, app, was)
        assert list(app.session.changes.by_change["new"]) == [5]
        assert list(app.session.changes.by_change["cured"]) == []  # against the last reading


async def test_what_was_said_of_other_rows_is_not_said_of_these(pair: tuple[Path, Path]) -> None:
    app = app_of(pair)
    async with app.run_test(size=(120, 30)) as pilot:
        await ready(pilot, app)
        was = app.session.comparison
        write(pair[1], (31,))
        await read_again(pilot, app, was)
        comparison = app.session.comparison
        assert comparison is not None
        app.list_screen.aligned(comparison)  # rows of another reading
        assert app.session.changes is None
        assert said_above(app) == "before: compared again when all is measured"
        app.controllers.before.refresh()
        await until(pilot, lambda: app.session.changes is not None)
        assert "cured" in said_above(app)


async def test_the_cursor_stays_where_the_program_put_it(pair: tuple[Path, Path]) -> None:
    app = app_of(pair)
    async with app.run_test(size=(120, 30)) as pilot:
        await ready(pilot, app)
        assert app.list_screen.row == 12  # the answer
        was = app.session.comparison
        write(pair[1], (31,))
        await read_again(pilot, app, was)
        assert app.list_screen.row == 12


async def test_the_row_of_the_cursor_is_not_folded_away(pair: tuple[Path, Path]) -> None:
    app = app_of(pair, fold="layers")
    async with app.run_test(size=(120, 30)) as pilot:
        await ready(pilot, app)
        assert app.list_screen.row == 12 and not app.list_screen.folded
        was = app.session.comparison
        write(pair[1], (31,))
        await read_again(pilot, app, was)
        assert app.list_screen.row == 12 and not app.list_screen.folded
        await pilot.press("z", "M")
        assert app.list_screen.folded
        was = app.session.comparison
        write(pair[1], (12,))
        await read_again(pilot, app, was)
        assert app.list_screen.folded and 12 in app.list_screen.members


@pytest.mark.parametrize("key", ["enter", "M", "T"])
async def test_other_screens_go_on_with_what_was_read(key: str, pair: tuple[Path, Path]) -> None:
    app = app_of(pair)
    async with app.run_test(size=(120, 30)) as pilot:
        await ready(pilot, app)
        await pilot.press(key)
        await pilot.pause(0.1)
        was = app.session.comparison
        write(pair[1], (31,))
        await read_again(pilot, app, was)
        assert "read again: " in app.said
        scene = app.session.scene
        if key == "enter":
            assert scene is not None and scene.comparison is app.session.comparison
            assert scene.verdict.level == "identical"
        await pilot.press("escape")
        await settled(pilot)
        assert app.list_screen.row == 12 and "cured" in said_above(app)


async def test_a_named_candidate_stays_what_it_is_compared_with(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    _, old = write_pair(tmp_path / "old", ROWS, (3,))
    app = app_of(pair, before=old)
    async with app.run_test(size=(120, 30)) as pilot:
        await ready(pilot, app)
        was = app.session.comparison
        write(pair[1], (31,))
        await read_again(pilot, app, was)
        assert app.session.changes is not None
        assert list(app.session.changes.by_change["cured"]) == [3]
        assert list(app.session.changes.by_change["new"]) == [31]


async def test_what_is_incomplete_waits_and_ctrl_r_reads_it(pair: tuple[Path, Path]) -> None:
    app = app_of(pair)
    async with app.run_test(size=(120, 30)) as pilot:
        await ready(pilot, app)
        was = app.session.comparison
        write_metadata(str(pair[1]), {"complete": False})
        write(pair[1], (31,))
        await until(pilot, lambda: "incomplete" in status(app), limit=20)
        assert "the candidate is incomplete" in app.said
        assert app.session.comparison is was
        await pilot.press("ctrl+r")
        await read_again(pilot, app, was)
        assert said_above(app).startswith("so far (incomplete): ")
        was = app.session.comparison
        write_metadata(str(pair[1]), {"complete": True})
        await read_again(pilot, app, was)
        assert "incomplete" not in said_above(app) and "watching" in status(app)
        assert app.session.changes is not None  # since the reading that was complete
        assert list(app.session.changes.by_change["cured"]) == [12]


async def test_a_candidate_that_vanishes_and_comes_back(pair: tuple[Path, Path]) -> None:
    app = app_of(pair)
    async with app.run_test(size=(120, 30)) as pilot:
        await ready(pilot, app)
        was = app.session.comparison
        shutil.rmtree(pair[1])
        await until(pilot, lambda: "candidate gone" in status(app), limit=20)
        assert app.session.comparison is was and app.is_running
        write(pair[1], (31,))
        await read_again(pilot, app, was)
        assert "cured" in said_above(app)


async def test_damage_is_said_and_the_old_rows_stay(pair: tuple[Path, Path]) -> None:
    app = app_of(pair)
    async with app.run_test(size=(120, 30)) as pilot:
        await ready(pilot, app)
        was = app.session.comparison
        (pair[1] / "model.safetensors").write_bytes(b"\0" * 100)
        await until(pilot, lambda: "damaged" in app.said and not app.working, limit=20)
        assert app.is_running and app.session.comparison is was
        write(pair[1], ())
        await read_again(pilot, app, was)
        assert "nothing diverges any more" in said_above(app)


async def test_it_is_begun_and_ended_on_the_screen(pair: tuple[Path, Path]) -> None:
    app = app_of(pair, watch=False)
    async with app.run_test(size=(120, 30)) as pilot:
        await ready(pilot, app)
        assert "watching" not in status(app)
        await type_line(pilot, ":", "watch off")
        assert "nothing is watched" in app.said
        await type_line(pilot, ":", "watch never")
        assert "watch, or watch off" in app.said
        write(pair[1], (31,))  # between the reading and the watching
        was = app.session.comparison
        await type_line(pilot, ":", "watch")
        assert app.session.watched
        await read_again(pilot, app, was)
        await type_line(pilot, ":", "watch off")
        assert "watching" not in status(app)
        was = app.session.comparison
        write(pair[1], ())
        await pilot.pause(0.2)
        assert app.session.comparison is was


async def test_nothing_is_left_of_what_was_read_again(tmp_path: Path) -> None:
    pair = write_pair(tmp_path, 100, wrong=(70,))
    app = app_of(pair)
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot, app)
        await rewrite(app, pilot, pair[1], 5)
        before, there = in_use(), objects()
        await rewrite(app, pilot, pair[1], 50)
        await until(pilot, lambda: no_more_than(before), limit=10)
        assert more_of(there, objects()) == {}


async def rewrite(app: LayertuiApp, pilot: Pilot[None], candidate: Path, times: int) -> None:
    for number in range(times):
        was = app.session.comparison
        write(candidate, (70, number % 60), count=100)
        await until(pilot, lambda was=was: app.session.comparison is not was, limit=20)
        await until(pilot, lambda: not app.working and app.controllers.idle, limit=20)
