"""The work behind the list: what names leave over is paired by values, and the list is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.rules.rules import Rules
from layertui.tui.jobs.compare_job import Request, compare_directories
from layertui.tui.jobs.news import Aligned
from layertui.tui.list.folds.prepared import Prepare
from layertui.tui.list.row_model import ComparedRows
from layertui.tui.present.row_fields import pane_fields
from support.screens.fake_host import FakeHost
from support.screens.tui_captures import make_app, measured, settled
from support.synthetic import saved


class Heard:
    """A job that keeps its news, and is stopped when `stop` says so of them."""

    def __init__(self, stop: Callable[[list[Any]], bool] = lambda news: False) -> None:
        self.news: list[Any] = []
        self._stop = stop

    def tell(self, news: Any) -> None:
        self.news.append(news)

    def stopped(self) -> bool:
        return self._stop(self.news)

    @property
    def aligned(self) -> list[Aligned]:
        return [news for news in self.news if isinstance(news, Aligned)]


@pytest.fixture
def request_for(tmp_path: Path) -> Request:
    rng = np.random.default_rng(3)
    arrays = {f"layers.{n}.mlp": rng.standard_normal((6, 20)).astype(np.float32) for n in range(9)}
    saved(tmp_path / "a", arrays)
    saved(tmp_path / "b", {f"t{n:03d}": x for n, x in enumerate(arrays.values())})
    return Request(str(tmp_path / "a"), str(tmp_path / "b"))


def ways(news: Aligned) -> set[str | None]:
    return {row.matched_by for row in news.comparison.rows}


def test_rows_by_name_come_first_and_then_those_by_values(request_for: Request) -> None:
    job = Heard()
    assert compare_directories(lambda: request_for, list, Prepare())(job)  # type: ignore[arg-type]
    first, second = job.aligned
    assert "content" not in ways(first)
    assert ways(second) == {"content"}
    assert first.comparison is not second.comparison
    assert second.comparison.complete


def test_a_job_that_is_stopped_while_values_are_read_ends(request_for: Request) -> None:
    job = Heard(lambda news: any(isinstance(each, Aligned) for each in news))
    assert not compare_directories(lambda: request_for, list, Prepare())(job)  # type: ignore[arg-type]
    assert len(job.aligned) == 1


def test_p_takes_over_what_values_offer(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    arrays = {f"layers.{n}.mlp": rng.standard_normal((6, 20)).astype(np.float32) for n in range(9)}
    moved = {**arrays, "layers.4.mlp": arrays["layers.4.mlp"][::-1] * 3}
    reference = saved(tmp_path / "a", {**arrays, "alone": np.arange(40.0) ** 2})
    candidate = saved(tmp_path / "b", {**moved, "spare": arrays["layers.4.mlp"]})
    host = FakeHost(Path(reference.path), Path(candidate.path))
    comparison = open_comparison(reference.path, candidate.path)
    host.session.comparison = comparison
    host.list.open(ComparedRows(comparison))
    (row,) = [row.index for row in comparison.rows if row.canonical == "layers.4.mlp"]
    told = " ".join(str(field) for field in pane_fields(comparison, row))
    assert "layers.4.mlp equals spare of the candidate" in told
    host.list.go_to_row(row)
    host.controllers.pairing.pair()
    host.work()
    assert "layers.4.mlp equals spare of the candidate: paired" in host.said
    found = {each.reference.name: each.candidate.name for each in comparison.rows
             if each.reference is not None and each.candidate is not None}  # fmt: skip
    assert found["layers.4.mlp"] == "spare"
    assert "alone" not in found
    assert [pair.candidate for pair in host.session.unsaved.pairs] == ["spare"]
    assert [pair.candidate for pair in host.session.unsaved.apart] == ["layers.4.mlp"]


def test_a_cursor_that_nobody_moved_stays_on_top(request_for: Request) -> None:
    async def drive() -> None:
        app = make_app(request_for.reference, request_for.reference)
        async with app.run_test(size=(80, 24)) as pilot:
            await measured(pilot, app)
            comparison = app.session.comparison
            assert comparison is not None
            for place, kept in ((0, 0), (3, 5)):
                for _ in range(place):
                    await pilot.press("j")
                sides = (comparison.reference, comparison.candidate)
                others = (replace(side, records=side.records[::-1]) for side in sides)
                app.list_screen.aligned(Comparison(*others, Rules(), comparison.policy))
                await settled(pilot)
                assert app.list_screen.cursor == kept
                app.list_screen.aligned(comparison)
                await pilot.press("home")

    asyncio.run(drive())
