"""Measuring many pairs: order, cancelling, reports, and executors of every kind."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import (
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layertui.capture.environment import usable_cores
from layertui.compare.comparison import Comparison
from layertui.compare.judging.policy import policy_named
from layertui.compare.measuring.kernel import NO_KERNEL, instruction_sets
from layertui.compare.measuring.pair_reader import PairTask
from layertui.compare.model import Failure, Measurement
from layertui.compare.running import measuring, scheduler
from layertui.compare.running.measuring import default_threads
from support.small_captures import huge_sides, layer_file, opened, two_sides

pytestmark = pytest.mark.filterwarnings("error")


class Clock:
    """A clock that stands still until it is moved on."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


class Inline(Executor):
    """Does each task when it is submitted, so that the order is known, and moves a clock on."""

    SECONDS = 0.005  # that a task takes, by that clock

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock
        self.tasks: list[PairTask] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.tasks.append(args[0])
        if self.clock is not None:
            self.clock.now += self.SECONDS
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def layers(executor: Inline) -> list[int]:
    """The layers in the order in which they were given to the executor."""
    return [int(Path(task.reference.locator.path).name.split(".")[2]) for task in executor.tasks]


def measured(sides: tuple[Path, Path], **options: Any) -> Comparison:
    comparison = opened(sides)
    assert comparison.measure(use_cache=False, **options)
    return comparison


def test_rows_on_the_screen_come_first(tmp_path: Path) -> None:
    executor = Inline()
    measured(two_sides(tmp_path, 20), executor=executor, visible=lambda: [12, 13, 14, 99, -1])
    assert layers(executor)[:4] == [12, 13, 14, 0]
    assert sorted(layers(executor)) == list(range(20))


def test_scrolling_changes_what_comes_next(tmp_path: Path) -> None:
    executor = Inline()

    def visible() -> list[int]:
        return [15, 16] if len(executor.tasks) >= 3 else [4, 5, 6, 7, 8]

    measured(two_sides(tmp_path, 20), executor=executor, visible=visible)
    assert layers(executor)[:7] == [4, 5, 6, 15, 16, 0, 1]


def test_without_a_screen_a_thread_gets_several_pairs_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as have some bytes together; large pairs go first, alone, the largest in front."""
    pair = 2 * 50 * 4 * 4  # bytes of both sides
    monkeypatch.setattr(scheduler, "LARGE", 3 * pair)
    monkeypatch.setattr(scheduler, "TOGETHER_BYTES", 3 * pair)
    sides = two_sides(tmp_path, 8)
    for layer, times in ((3, 5), (6, 10)):
        for side in sides:
            rows = np.load(layer_file(side, layer))
            np.save(layer_file(side, layer), np.tile(rows, (times, 1)))
    given: list[list[int]] = []

    class Watched(ThreadPoolExecutor):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            given.append(list(args[0]))
            return super().submit(fn, *args, **kwargs)

    monkeypatch.setattr(measuring, "ThreadPoolExecutor", Watched)
    comparison = measured(sides, threads=2)
    assert given == [[6], [3], [0, 1, 2], [4, 5, 7]]
    given.clear()
    watched = measured(sides, threads=2, visible=lambda: [2])
    assert given == [[2], [0], [1], [3], [4], [5], [6], [7]]
    assert watched.measurements == comparison.measurements


def test_an_error_is_that_of_its_pair_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = scheduler.measure

    def clumsy(task: PairTask, *more: Any) -> Any:
        if task.reference.locator.path.endswith("layers.4.mlp-output.npy"):
            raise KeyError("clumsy")
        return real(task, *more)

    sides = two_sides(tmp_path, 9)
    whole = measured(sides, threads=1).measurements
    monkeypatch.setattr(scheduler, "measure", clumsy)
    found = measured(sides, threads=1).measurements
    assert found[4] == Failure("measuring failed: KeyError: 'clumsy'")
    assert found[:4] + found[5:] == whole[:4] + whole[5:]


def test_only_a_few_tasks_are_handed_out_at_once(tmp_path: Path) -> None:
    """Otherwise what the user scrolls to would wait behind all the others."""
    waiting: list[Future[Any]] = []
    stop = threading.Event()

    class Slow(Executor):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            waiting.append(Future())
            return waiting[-1]

    comparison = opened(two_sides(tmp_path, 50))
    timer = threading.Timer(0.3, stop.set)
    timer.start()
    done = comparison.measure(executor=Slow(), threads=2, cancelled=stop.is_set, use_cache=False)
    timer.join()
    assert not done
    assert 2 <= len(waiting) <= 8
    assert all(future.cancelled() for future in waiting)


def test_results_are_the_same_with_one_thread_four_and_processes(tmp_path: Path) -> None:
    sides = two_sides(tmp_path, 8, size=20_000)
    one = measured(sides, threads=1)
    assert measured(sides, threads=4).measurements == one.measurements
    with ThreadPoolExecutor(3) as pool:
        assert measured(sides, executor=pool).measurements == one.measurements
        assert pool.submit(int, "7").result() == 7  # the caller's pool is left running
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn) as pool:
        assert measured(sides, executor=pool).measurements == one.measurements
    assert {result.compared for result in one.measurements if isinstance(result, Measurement)} == {
        80_000
    }


def with_recipe(comparison: Comparison, index: int, **recipe: str) -> None:
    rows = list(comparison.rows)
    rows[index] = replace(rows[index], **recipe)
    comparison.aligned = replace(comparison.aligned, rows=tuple(rows))


@pytest.mark.parametrize("turned", [False, True])
def test_cancelling_returns_at_once(tmp_path: Path, turned: bool) -> None:
    """In the middle of a pair of 4 GB; in seconds of the processor, which a busy machine has not
    more of.
    """
    comparison = opened(huge_sides(tmp_path, (32_768, 32_768)))
    if turned:
        with_recipe(comparison, 0, recipe_reference="transpose(0, 1)")
    asked = threading.Event()
    at = [0.0]

    def ask() -> None:
        at[0] = time.process_time()
        asked.set()

    timer = threading.Timer(0.5, ask)
    timer.start()
    done = comparison.measure(cancelled=asked.is_set, threads=2)
    late = time.process_time() - at[0]
    timer.join()
    assert not done
    assert late < 2
    assert comparison.measurements == [None]
    assert comparison.verdicts[0].level == "pending"


def test_workers_end_within_50_ms_of_being_told(tmp_path: Path) -> None:
    """In seconds of the processor, which both workers and what waits for them may take; the least
    of some runs, as a machine that has other work takes more for the same.
    """
    comparison = opened(huge_sides(tmp_path, (32_768, 32_768)))
    late: list[float] = []
    for _ in range(5):  # the first time imports what is needed
        asked = threading.Event()
        at = [0.0]

        def ask(asked: threading.Event = asked, at: list[float] = at) -> None:
            at[0] = time.process_time()
            asked.set()

        timer = threading.Timer(0.3, ask)
        timer.start()
        assert not comparison.measure(cancelled=asked.is_set, threads=2)
        late.append(time.process_time() - at[0])
        timer.join()
    assert min(late) < 0.05


def test_as_many_threads_as_there_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = usable_cores()
    assert 1 <= cores <= (os.cpu_count() or 1)
    assert default_threads() == (cores if instruction_sets() else min(2, cores))
    monkeypatch.setenv(NO_KERNEL, "1")
    assert default_threads() == min(2, cores)


@pytest.mark.skipif(sys.platform != "linux", reason="priorities are those of processes")
def test_workers_of_a_screen_step_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def measured_at(*args: Any) -> Failure:
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return Failure("looked only", level="missing")

    monkeypatch.setattr(scheduler, "measure", measured_at)
    sides = two_sides(tmp_path, 3)
    own = os.getpriority(os.PRIO_PROCESS, 0)
    opened(sides).measure(use_cache=False, threads=1)
    assert set(seen) == {own}
    seen.clear()
    opened(sides).measure(use_cache=False, threads=1, visible=list)
    assert set(seen) == {max(own, 10)}
    assert os.getpriority(os.PRIO_PROCESS, 0) == own


def test_what_is_done_when_cancelled_is_kept_and_the_rest_can_follow(tmp_path: Path) -> None:
    comparison = opened(two_sides(tmp_path, 30))
    executor = Inline()
    assert not comparison.measure(
        executor=executor, cancelled=lambda: len(executor.tasks) >= 10, threads=1, use_cache=False
    )
    before = comparison.measured
    assert 0 < before < 30
    more = Inline()
    assert comparison.measure(executor=more, use_cache=False)
    assert (comparison.measured, len(more.tasks)) == (30, 30 - before)
    nothing = Inline()
    assert comparison.measure(executor=nothing, use_cache=False)
    assert nothing.tasks == []


def test_reports_are_few_and_tell_of_every_row_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(scheduler, "time", clock)
    comparison = opened(two_sides(tmp_path, 120))
    comparison.set_policy(policy_named("dtype"))  # which judges no row anew
    told: list[list[int]] = []
    caller = threading.get_ident()

    def on_results(rows: list[int]) -> None:
        assert threading.get_ident() == caller
        assert all(comparison.measurements[row] is not None for row in rows)
        told.append(rows)

    comparison.measure(executor=Inline(clock), on_results=on_results, threads=1)
    assert clock.now == pytest.approx(120 * Inline.SECONDS)
    assert 2 <= len(told) <= clock.now / 0.1 + 2
    assert sorted(row for rows in told for row in rows) == list(range(120))
    again = opened((tmp_path / "reference", tmp_path / "candidate"))
    again.set_policy(comparison.policy)
    told.clear()
    comparison = again
    comparison.measure(on_results=on_results)
    assert sorted(row for rows in told for row in rows) == list(range(120))


# Failures


class Clumsy(Inline):
    """Its worker raises on one layer, whatever the kind of exception."""

    def __init__(self, layer: int, error: BaseException) -> None:
        super().__init__()
        self.layer, self.error = layer, error

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future = super().submit(fn, *args, **kwargs)
        if layers(self)[-1] == self.layer:
            future = Future()
            future.set_exception(self.error)
        return future


@pytest.mark.parametrize("error", [ZeroDivisionError("oh"), SystemExit(3), MemoryError()])
def test_a_worker_that_raises_makes_a_row_unreadable(tmp_path: Path, error: BaseException) -> None:
    comparison = measured(two_sides(tmp_path, 5), executor=Clumsy(2, error))
    bad = comparison.measurements[2]
    assert isinstance(bad, Failure)
    assert type(error).__name__ in bad.reason
    assert comparison.verdicts[2].level == "unreadable"
    assert comparison.exit_status() == 1
    good = [r for i, r in enumerate(comparison.measurements) if i != 2]
    assert all(isinstance(result, Measurement) for result in good)


def test_a_pool_without_workers_is_no_crash(tmp_path: Path) -> None:
    sides = two_sides(tmp_path, 3)
    closed = ThreadPoolExecutor(1)
    closed.shutdown()
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as broken:
        broken.submit(os._exit, 3).exception()
        for executor in (closed, broken):
            comparison = measured(sides, executor=executor)
            assert all(isinstance(result, Failure) for result in comparison.measurements)
            assert comparison.exit_status() == 1


def test_a_file_that_is_gone_or_cut_is_a_row_of_its_side(tmp_path: Path) -> None:
    sides = two_sides(tmp_path, 4)
    comparison = opened(sides)
    layer_file(sides[0], 1).unlink()
    with open(layer_file(sides[1], 2), "r+b") as file:
        file.truncate(200)
    assert comparison.measure()
    levels = [verdict.level for verdict in comparison.verdicts]
    assert [level == "unreadable" for level in levels] == [False, True, True, False]
    first, second = comparison.measurements[1:3]
    assert isinstance(first, Failure)
    assert isinstance(second, Failure)
    assert (first.side, second.side) == ("reference", "candidate")
    counts = comparison.counts
    assert (counts.records_reference.unreadable, counts.records_candidate.unreadable) == (1, 1)


def test_a_recipe_that_is_wrong_is_said_on_its_row(tmp_path: Path) -> None:
    comparison = opened(two_sides(tmp_path, 3))
    for index, recipe in ((0, "concat(0"), (1, "squeeze(0)")):
        with_recipe(comparison, index, recipe_candidate=recipe)
    assert comparison.measure()
    assert [verdict.level for verdict in comparison.verdicts][:2] == ["shape", "shape"]
    assert isinstance(comparison.measurements[2], Measurement)


def test_numbers_of_rows_are_those_of_their_records(tmp_path: Path) -> None:
    """No result lands on another row, whatever finishes first."""
    sides = two_sides(tmp_path, 12)
    for layer in range(12):
        path = layer_file(sides[1], layer)
        np.save(path, np.load(layer_file(sides[0], layer)) + np.float32(2.0**layer))
    comparison = measured(sides, threads=4)
    found = [r.mean_abs for r in comparison.measurements if isinstance(r, Measurement)]
    assert found == pytest.approx([2.0**layer for layer in range(12)], rel=1e-4)
