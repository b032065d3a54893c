"""The work behind the list: what names leave over is paired by values, and the list is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layertui.tui.jobs.compare_job import Request, compare_directories
from layertui.tui.jobs.news import Aligned
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
    assert compare_directories(lambda: request_for, list)(job)  # type: ignore[arg-type]
    first, second = job.aligned
    assert "content" not in ways(first)
    assert ways(second) == {"content"}
    assert first.comparison is not second.comparison
    assert second.comparison.complete


def test_a_job_that_is_stopped_while_values_are_read_ends(request_for: Request) -> None:
    job = Heard(lambda news: any(isinstance(each, Aligned) for each in news))
    assert not compare_directories(lambda: request_for, list)(job)  # type: ignore[arg-type]
    assert len(job.aligned) == 1
