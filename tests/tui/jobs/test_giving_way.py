"""A job beside the screen: it gives way to it, and stops."""

from __future__ import annotations

import pytest

from layertui.tui.jobs import job as job_module
from layertui.tui.jobs.job import Job


class Clock:
    """Time that passes when somebody sleeps, or as told."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_work_that_asks_often_pauses_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(job_module, "time", clock)
    job = Job(lambda _: True, lambda *_: None, lambda _: None)
    for _ in range(1000):  # a second of work, which asks every millisecond
        assert not job.stopped()
        clock.now += 0.001
    assert 80 <= len(clock.slept) <= 100
    assert sum(clock.slept) < 0.05


def test_a_job_that_is_told_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_module, "time", Clock())
    job = Job(lambda _: True, lambda *_: None, lambda _: None)
    assert not job.stopped()
    job.stop()
    assert job.stopped()
