"""Two views beside one another, and what is read for them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.pilot import Pilot

from layertui.tui.app import LayertuiApp
from layertui.tui.jobs.inspector import Failed, Found
from layertui.tui.list.screen import ListScreen
from layertui.tui.pair.panes import WIDE_ENOUGH, Panes
from layertui.tui.pair.reading import Reading
from layertui.tui.pair.screen import PairScreen
from support.screens.tui_captures import make_app, measured, settled, until

NAMES = ("stats", "top", "heat", "values")

# Logic, without a terminal


@given(st.lists(st.sampled_from([*NAMES, "|", "tab", "other"])))
def test_the_keys_are_always_with_a_view_that_is_shown(steps: list[str]) -> None:
    panes = Panes(("stats",))
    for step in steps:
        before = panes
        if step == "|" and panes.other is not None:
            panes = panes.single()
            assert panes.names == (before.front,)
        elif step == "|":
            panes = panes.beside(next(name for name in NAMES if name != panes.front))
            assert panes.other == before.front
        elif step == "tab":
            panes = panes.switched()
            assert panes.names == before.names
        elif step == "other":
            if panes.other is not None and panes.front != "values":
                panes = panes.with_other("values")
                assert panes.front == before.front and panes.other == "values"
        else:
            panes = panes.chosen(step)
            assert panes.front == step
        assert len(set(panes.names)) == len(panes.names) in (1, 2)
        assert panes.front in panes.names and panes.other != panes.front


class _Asked:
    """A reading whose tasks wait until they are let go."""

    def __init__(self, shown: tuple[str, ...]) -> None:
        self.news: list[Any] = []
        self.arrived = threading.Event()
        self.reading = Reading(self._post, lambda: shown)
        self.gates: dict[str, threading.Event] = {}
        self.began: list[str] = []

    def _post(self, news: Any) -> None:
        self.news.append(news)
        self.arrived.set()

    def ask(self, name: str) -> None:
        gate = self.gates.setdefault(name, threading.Event())

        def work(task: Any) -> str:
            self.began.append(name)
            while not gate.wait(0.002):
                if task.cancelled():
                    from layertui.compare.measuring.pair_reader import CancelledError

                    raise CancelledError
            return name

        self.reading.run(name, name, work)

    def finish(self, name: str) -> str:
        """Who got news next."""
        self.arrived.clear()
        self.gates[name].set()
        assert self.arrived.wait(10)
        found, _, news = self.reading.take(self.news.pop())
        assert isinstance(news, Found | Failed)
        self.reading.go_on()
        return found


def test_what_was_put_off_for_another_view_goes_on_afterwards() -> None:
    asked = _Asked(("stats", "top"))
    asked.ask("stats")
    asked.ask("top")
    assert asked.finish("top") == "top" and asked.reading.busy
    assert asked.finish("stats") == "stats" and not asked.reading.busy
    asked.reading.close()


def test_what_a_hidden_view_asked_for_is_forgotten() -> None:
    asked = _Asked(("top",))
    asked.ask("stats")
    asked.ask("top")
    assert asked.finish("top") == "top" and not asked.reading.busy
    asked.reading.close()


def test_stopping_stops_what_waits_too() -> None:
    asked = _Asked(("stats", "top"))
    asked.ask("stats")
    asked.ask("top")
    asked.arrived.clear()
    assert asked.reading.stop()
    assert asked.arrived.wait(10)
    name, _, news = asked.reading.take(asked.news.pop())
    assert name == "top" and isinstance(news, Failed) and news.stopped
    asked.reading.go_on()
    assert not asked.reading.busy
    asked.reading.close()


# On the screen


@pytest.fixture
def app(real: Path) -> LayertuiApp:
    return make_app(real / "olmo2-f32/torch_dump", real / "olmo2-f32/max_dump")


async def _press(pilot: Pilot[None], *keys: str) -> PairScreen:
    app = pilot.app
    assert isinstance(app, LayertuiApp)
    for key in keys:
        await pilot.press(key)
        await pilot.pause()
        await until(pilot, lambda: getattr(app.screen, "reading", False) is not True)
    await settled(pilot)
    assert isinstance(app.screen, PairScreen)
    return app.screen


def _tabs(screen: PairScreen) -> str:
    return screen.query_one("#tabs").texts[0]  # type: ignore[attr-defined]


def _shown(screen: PairScreen) -> dict[str, Any]:
    """The views on the screen, by their left edge."""
    views = [screen.view_named(name) for name in screen.panes.names]
    return {view.NAME: SimpleNamespace(x=view.region.x, width=view.region.width, view=view)
            for view in views}  # fmt: skip


async def test_two_views_by_keys(app: LayertuiApp) -> None:
    """`|`, a digit for the second, Tab, a digit for the first, `|` again."""
    async with app.run_test(size=(200, 50)) as pilot:
        await measured(pilot, app)
        screen = await _press(pilot, "f", "enter", "vertical_line")
        assert "(1 Stats)" in _tabs(screen) and "[2 Greatest differences]" in _tabs(screen)
        screen = await _press(pilot, "4")
        shown = _shown(screen)
        assert list(shown) == ["stats", "heat"]
        assert shown["stats"].x == 0 and shown["heat"].x == shown["stats"].width + 1
        assert shown["stats"].width + 1 + shown["heat"].width == 200
        assert "cause" in "\n".join(shown["stats"].view.texts)
        assert "|difference|" in shown["heat"].view.texts[0]
        assert any(" 99 %" in line for line in shown["stats"].view.texts)  # both were read
        before = screen.view.cursor  # type: ignore[attr-defined]
        screen = await _press(pilot, "left")  # keys are about the second
        assert screen.view_named("heat").cursor != before
        screen = await _press(pilot, "tab", "5")
        assert screen.panes == Panes(("values", "heat"), 0)
        assert _shown(screen)["values"].x == 0
        screen = await _press(pilot, "4")  # is shown already: it gets the keys
        assert screen.panes == Panes(("values", "heat"), 1)
        screen = await _press(pilot, "J")  # both follow to the next row
        assert screen.scene is not None
        assert screen.view_named("values").scene is screen.view_named("heat").scene
        screen = await _press(pilot, "vertical_line")
        assert screen.panes == Panes(("heat",))
        assert _shown(screen)["heat"].width == 200


async def test_enter_on_a_difference_shows_it_in_the_other_half(app: LayertuiApp) -> None:
    async with app.run_test(size=(200, 50)) as pilot:
        await measured(pilot, app)
        screen = await _press(pilot, "f", "enter", "2", "vertical_line", "4", "tab", "j", "enter")
        assert screen.panes == Panes(("top", "values"), 0)
        assert "(5, 36)" in screen.view.texts[3]
        focus = screen.view_named("values")._focus
        assert focus == (5, 36)


async def test_a_click_gives_the_keys_to_a_view(app: LayertuiApp) -> None:
    async with app.run_test(size=(200, 50)) as pilot:
        await measured(pilot, app)
        screen = await _press(pilot, "f", "enter", "vertical_line")
        assert screen.panes.front == "top"
        await pilot.click(offset=(10, 10))
        await settled(pilot)
        assert screen.panes == Panes(("stats", "top"), 0)


async def test_keys_in_a_row_are_all_about_what_the_one_before_left(app: LayertuiApp) -> None:
    """A terminal may send several before any of them has come to its end."""
    async with app.run_test(size=(200, 50)) as pilot:
        await measured(pilot, app)
        screen = await _press(pilot, "f", "enter")
        screen.action_view("top")
        screen.action_two_views()
        await settled(pilot)
        assert screen.panes == Panes(("top", "stats"), 1)
        screen.action_view("values")
        screen.action_next_view(1)
        await settled(pilot)
        assert screen.panes == Panes(("top", "values"), 0)


async def test_narrow_terminals_say_so_and_return_to_one(app: LayertuiApp) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await measured(pilot, app)
        screen = await _press(pilot, "f", "enter", "vertical_line")
        assert screen.panes == Panes(("stats",))
        assert screen.prompt.message == "two views need 160 columns; here are 80"
        await pilot.resize_terminal(WIDE_ENOUGH, 40)
        screen = await _press(pilot, "vertical_line")
        assert len(screen.panes.names) == 2
        await pilot.resize_terminal(WIDE_ENOUGH - 1, 40)
        await settled(pilot)
        assert screen.panes == Panes(("top",))
        assert _shown(screen)["top"].width == WIDE_ENOUGH - 1
        assert screen.prompt.message == "two views need 160 columns; here are 159"
        await pilot.press("escape")
        assert isinstance(app.screen, ListScreen)


def test_kept_types() -> None:
    """The names in this file are views."""
    from layertui.tui.pair.views.registry import VIEWS

    known: Callable[[str], bool] = {view.NAME for view in VIEWS}.__contains__
    assert all(map(known, NAMES))
