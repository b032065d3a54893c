"""Both directories read again: what goes through all records is done beside the screen."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from layertui.capture.records import Capture
from layertui.compare.comparison import open_comparison
from layertui.compare.rerun.session import RerunSession
from layertui.tui.jobs.rerun_job import Reruns
from layertui.tui.present.short_names import ShortNames
from support.screens.tui_captures import make_app, measured, until


async def test_names_are_shortened_by_the_job(
    small_pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(100, 30)) as pilot:
        await measured(pilot, app)
        made: list[threading.Thread] = []
        make = ShortNames.__init__

        def noted(self: ShortNames, capture: Capture) -> None:
            made.append(threading.current_thread())
            make(self, capture)

        monkeypatch.setattr(ShortNames, "__init__", noted)
        was = app.session.comparison
        await pilot.press("ctrl+r")
        await until(pilot, lambda: app.session.comparison is not was and not app.working)
        assert made
        assert threading.main_thread() not in made
        model, comparison = app.list_screen.model, app.session.comparison
        assert model is not None
        assert comparison is not None
        assert [short.capture for short in model.short] == [
            comparison.reference, comparison.candidate,
        ]  # fmt: skip


def test_a_runner_that_nobody_chose_is_not_looked_for_in_old_rows(
    small_pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = (open_comparison(*map(str, small_pair)) for _ in range(2))
    reruns = Reruns()
    before = reruns.session(old)

    def looked(_: RerunSession) -> None:
        raise AssertionError("all names of the old capture are looked at")

    monkeypatch.setattr(RerunSession, "spec", property(looked))
    after = reruns.session(new)
    assert after is not before
    assert after.asked is None


def test_a_runner_that_was_chosen_stays(small_pair: tuple[Path, Path]) -> None:
    from layertui.capture.runners.spec import RunnerSpec

    old, new = (open_comparison(*map(str, small_pair)) for _ in range(2))
    reruns, spec = Reruns(), RunnerSpec("external", command=("true",))
    reruns.session(old).choose(spec)
    assert reruns.session(new).asked == spec
