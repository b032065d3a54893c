"""Pictures of the screens. They break with every release of textual: look, then accept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from layertui.tui.app import LayertuiApp
from layertui.tui.terminal import Terminal
from support.screens.statistics_captures import PLACES, write_statistics
from support.screens.tui_captures import make_app, measured, settled

RunBefore = Callable[[Pilot[None]], Awaitable[None]]


@pytest.fixture
def olmo(real: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Terminal], LayertuiApp]:
    """The app over relative paths, which are the same on every machine."""
    monkeypatch.chdir(real)
    return lambda terminal: make_app("olmo2-f32/torch_dump", "olmo2-f32/max_dump", terminal, "auto")


def keys(*pressed: str) -> RunBefore:
    async def run(pilot: Pilot[None]) -> None:
        assert isinstance(pilot.app, LayertuiApp)
        await measured(pilot, pilot.app)
        for key in pressed:
            await pilot.press(key)
            await pilot.pause()
            while getattr(pilot.app.screen, "reading", False) is True or pilot.app.working:
                await pilot.pause(0.03)
        await settled(pilot)

    return run


# Size, terminal, keys pressed once everything is measured.
SCREENS: dict[str, tuple[tuple[int, int], Terminal, tuple[str, ...]]] = {
    "list-80x24": ((80, 24), Terminal(), ("f",)),
    "list-120x30": ((120, 30), Terminal(), ("f", "j", "space")),
    "list-200x50": ((200, 50), Terminal(), ("f",)),
    "list-no-color": ((120, 30), Terminal(colors="none"), ("f", "j")),
    "list-ascii": ((120, 30), Terminal(ascii=True), ("f",)),
    "everything": ((120, 40), Terminal(), ("o", "o", "f")),
    "only-diverged-prompt": ((100, 24), Terminal(), ("d", "colon", *"goto")),
    "pair": ((120, 40), Terminal(), ("f", "enter")),
    "pair-200x50": ((200, 50), Terminal(), ("f", "enter")),
    "pair-ascii-160x40": ((160, 40), Terminal(colors="none", ascii=True), ("f", "enter")),
    "greatest-200x50": ((200, 50), Terminal(), ("f", "enter", "2", "j")),
    "two-views-160x40": ((160, 40), Terminal(), ("f", "enter", "vertical_line", "4")),
    "greatest-differences": ((120, 30), Terminal(), ("f", "enter", "2", "j")),
    "histogram": ((100, 36), Terminal(), ("f", "enter", "3")),
    "heat-80x24": ((80, 24), Terminal(), ("f", "enter", "4", "right")),
    "heat-ascii": ((80, 24), Terminal(colors="none", ascii=True), ("f", "enter", "4")),
    "heat-16": ((120, 30), Terminal(colors="16"), ("f", "enter", "4", "v")),
    "values-200x50": ((200, 50), Terminal(), ("f", "enter", "5", "enter")),
    "layout": ((110, 30), Terminal(), ("f", "enter", "6", "l")),
    "rerun": ((80, 24), Terminal(), ("f", "enter", "7")),
    "explain-80x24": ((80, 24), Terminal(), ("f", "enter", "8")),
    "explain-200x50": ((200, 50), Terminal(), ("f", "enter", "8")),
    "folded-80x24": ((80, 24), Terminal(), ("z", "M")),
    "folded-200x50": ((200, 50), Terminal(), ("z", "M", "plus")),
    "folded-ascii": ((120, 30), Terminal(colors="none", ascii=True), ("z", "M")),
    "folded-16": ((100, 30), Terminal(colors="16"), ("z", "M")),
    "map-80x24": ((80, 24), Terminal(), ("M",)),
    "map-200x50": ((200, 50), Terminal(), ("M", "v", "right_parenthesis")),
    "map-ascii": ((80, 24), Terminal(colors="none", ascii=True), ("M",)),
    "map-16": ((80, 24), Terminal(colors="16"), ("M", "v", "v")),
    "trend-80x24": ((80, 24), Terminal(), ("T",)),
    "trend-200x50": ((200, 50), Terminal(), ("T", "plus")),
    "trend-ascii": ((80, 24), Terminal(colors="none", ascii=True), ("T",)),
    "help": ((100, 40), Terminal(), ("question_mark",)),
}


@pytest.mark.parametrize("name", SCREENS)
def test_screen(
    name: str, olmo: Callable[[Terminal], LayertuiApp], snap_compare: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    size, terminal, pressed = SCREENS[name]
    if terminal.colors == "none":
        monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(olmo(terminal), terminal_size=size, run_before=keys(*pressed))


@pytest.mark.parametrize("pressed", [(), ("f", "enter")], ids=["list", "pair"])
def test_statistics_without_values(
    pressed: tuple[str, ...], tmp_path: Path, snap_compare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_statistics(Path("ref"))
    write_statistics(Path("cand"), frozenset(PLACES[2:]))
    app = make_app("ref", "cand", Terminal())
    assert snap_compare(app, terminal_size=(80, 24), run_before=keys(*pressed))
