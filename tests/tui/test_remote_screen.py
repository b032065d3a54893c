"""Captures by URL on the screen."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from layertui.capture.remote.fsspec_storage import FsspecStorage
from layertui.capture.storage import register, unregister
from layertui.tui.start import peeked
from support.screens.terminal_driver import PtyApp
from support.screens.tui_captures import make_app, measured

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def far(small_pair: tuple[Path, Path]) -> Iterator[list[str]]:
    """The URLs of both sides of a small pair."""
    register("memory", FsspecStorage())
    fs = fsspec.filesystem("memory")
    for side in small_pair:
        for file in side.iterdir():
            fs.pipe_file(f"/screen/{side.name}/{file.name}", file.read_bytes())
    yield [f"memory://screen/{side.name}/" for side in small_pair]
    fs.store.clear()
    unregister("memory")


def test_they_are_listed_and_measured_and_read_again(far: list[str]) -> None:
    async def drive() -> None:
        app = make_app(*far)
        async with app.run_test(size=(120, 30)) as pilot:
            await measured(pilot, app)
            comparison = app.list_screen.comparison
            assert comparison is not None and len(comparison.rows) == 40
            assert comparison.failing == [12, 13, 31]
            assert comparison.reference.path == far[0]
            await pilot.press("ctrl+r")
            await measured(pilot, app)
            again = app.list_screen.comparison
            assert again is not None and again.failing == [12, 13, 31]

    asyncio.run(drive())


def test_nothing_is_asked_of_a_server_before_the_first_paint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    class Watched(FsspecStorage):
        def status(self, path: str) -> Any:
            asked.append(path)
            return None

    register("memory", Watched())
    try:
        assert peeked("memory://screen/ref").records == []
    finally:
        unregister("memory")
    assert asked == []


def test_a_url_with_nothing_behind_it_is_one_line_and_status_2(
    small_pair: tuple[Path, Path],
) -> None:
    with PtyApp(small_pair[0], "memory://none/dump") as app:
        assert app.wait_for_exit() == 2
        assert "memory://none/dump: no such file or directory" in " ".join(app.text.split())
