"""Rows that others replace: they are freed bit by bit in a thread, and nothing is searched."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import pytest

from layertui.compare.comparison import open_comparison
from layertui.compare.model import Row
from layertui.tui.jobs import letting_go
from layertui.tui.jobs.letting_go import let_go
from support.screens.tui_captures import make_app, until


async def test_rows_of_a_large_capture_are_freed_beside_the_screen(
    big_pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    freed: list[tuple[threading.Thread, int]] = []
    free = letting_go.free_slowly

    def noted(parts: list[object]) -> None:
        rows = sum(isinstance(part, Row) for part in parts)
        freed.append((threading.current_thread(), rows))
        free(parts)

    monkeypatch.setattr(letting_go, "free_slowly", noted)
    app = make_app(*big_pair)
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: app.session.comparison is not None)
        first = id(app.session.comparison)
        await pilot.press("ctrl+r")
        await until(pilot, lambda: id(app.session.comparison) != first)
        await until(pilot, lambda: freed)
        assert [rows for _, rows in freed] == [10_000]
        assert freed[0][0] is not threading.main_thread()
        await pilot.press("ctrl+c")
        await until(pilot, lambda: not app.working)


async def test_no_garbage_is_looked_for_when_a_running_job_is_replaced(
    big_pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(*big_pair)
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: app.session.comparison is not None and app.working)
        looked: list[int] = []
        monkeypatch.setattr(gc, "collect", lambda *_: looked.append(1) or 0)
        was = app.session.comparison
        await pilot.press("ctrl+r")
        await until(pilot, lambda: app.session.comparison is not was)
        assert not looked
        await pilot.press("ctrl+c")
        await until(pilot, lambda: not app.working)


def test_few_rows_need_no_thread(small_pair: tuple[Path, Path]) -> None:
    before = threading.active_count()
    let_go(open_comparison(*map(str, small_pair)))
    let_go(None)
    assert threading.active_count() == before
