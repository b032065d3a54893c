"""Tasks that are no pairs: the same answers from whatever executor there is, or from none."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layertui.capture.load import load
from layertui.capture.records import Locator
from layertui.compare import assert_captures_match
from layertui.compare.checks.two_sides import check_pair
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.measuring.pair_reader import CancelledError
from layertui.compare.tasks.on_executor import Workers, answers, in_parts, shared, tasks_on


@dataclass
class Pickling(Executor):
    """Does each task when it is given, as if on another machine; or fails it with `error`."""

    error: Exception | None = None
    asked: list[str] = field(default_factory=list)

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        name = pickle.loads(args[0])[0].__name__ if fn.__name__ == "asked" else fn.__name__
        self.asked.append(name)
        done: Future[Any] = Future()
        if self.error is not None:
            done.set_exception(self.error)
        else:
            done.set_result(pickle.loads(pickle.dumps(fn(*args, **kwargs))))
        return done


def double(number: int) -> int:
    return 2 * number


def refuse(number: int) -> int:
    raise ValueError(f"{number} is refused")


def sum_of(locator: Locator) -> float:
    return float(load(locator).sum())


@pytest.mark.parametrize("count", [0, 1, 7, 100])
def test_answers_come_in_order(count: int) -> None:
    tasks = range(count)
    assert list(answers(double, tasks)) == [2 * n for n in tasks]
    with tasks_on(Workers(Pickling(), 3)):
        assert shared()
        assert list(answers(double, tasks)) == [2 * n for n in tasks]
    assert not shared()


@pytest.mark.parametrize("size, most", [(0, 4), (3, 4), (4, 4), (101, 4)])
def test_parts_are_all_of_it(size: int, most: int) -> None:
    parts: list[Sequence[int]] = in_parts(range(size), most)
    assert len(parts) <= most and [n for part in parts for n in part] == list(range(size))


@pytest.mark.parametrize("error", [RuntimeError("killed"), TimeoutError(), OSError(5, "gone")])
def test_what_workers_fail_is_done_here(error: Exception) -> None:
    with tasks_on(Workers(Pickling(error), 2)):
        assert list(answers(double, range(9))) == list(range(0, 18, 2))


def test_what_a_task_raises_is_raised_here() -> None:
    with tasks_on(Workers(Pickling(), 2)), pytest.raises(ValueError, match="0 is refused"):
        list(answers(refuse, range(3)))


def test_stopping_is_heard_with_workers_and_without() -> None:
    with pytest.raises(CancelledError):
        list(answers(double, range(3), lambda: True))
    never: Future[Any] = Future()

    class Waiting(Executor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            return never

    with tasks_on(Workers(Waiting(), 2)), pytest.raises(CancelledError):
        list(answers(double, range(3), lambda: True))
    assert never.cancelled()


def test_records_are_found_from_any_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "x.npy", np.ones(5))
    monkeypatch.chdir(tmp_path)
    comparison = open_comparison("x.npy", "x.npy")
    given: list[Locator] = [r.locator for r in comparison.reference.records if r.locator]
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        monkeypatch.chdir("/")
        pool.submit(double, 1).result()  # its worker began elsewhere
        monkeypatch.chdir(tmp_path)
        with tasks_on(Workers(pool, 1)):
            assert list(answers(sum_of, given)) == [5.0]


# --- what the comparison asks


def told(comparison: Comparison) -> Any:
    first = comparison.first_divergence()
    found = [(finding.line, finding.records) for finding in check_pair(comparison)]
    pairs = [(row.label, row.candidate and row.candidate.name) for row in comparison.rows]
    return found, pairs, first and [(s.name, s.score, s.evidence) for s in first.symptoms]


def renamed_pair(folder: Path) -> list[str]:
    """Names that have nothing to do with each other; one record of ten is moved by one channel."""
    draw = np.random.default_rng(0)
    values = [draw.standard_normal((12, 32)).astype(np.float32) for _ in range(10)]
    np.savez(folder / "a.npz", **{f"layer{n}": v for n, v in enumerate(values)})
    moved = [np.roll(v, 1, 1) if n == 6 else v * 1.0000001 for n, v in enumerate(values)]
    np.savez(folder / "b.npz", **{f"q{chr(97 + n)}": v for n, v in enumerate(moved)})
    return [str(folder / "a.npz"), str(folder / "b.npz")]


@pytest.mark.parametrize("which", ["real", "renamed"])
def test_a_comparison_on_workers_says_the_same(
    which: str, real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides = renamed_pair(tmp_path)
    if which == "real":
        sides = [str(real / "qwen3-f32" / side) for side in ("torch_dump", "max_dump")]
    plain = open_comparison(*sides)
    plain.measure(use_cache=False)
    expected = told(plain)
    mine = Pickling()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # nothing is remembered
    with tasks_on(Workers(mine, 2)):
        found = open_comparison(*sides)
        found.measure(use_cache=False, executor=mine, threads=2)
        assert told(found) == expected
    asked = set(mine.asked)
    assert "look" in asked
    if which == "real":
        assert "_sample" in asked and expected[2]
    else:
        assert "_sketches_of_share" in asked


@pytest.mark.torch
def test_what_a_law_finds_is_looked_at_on_workers(
    real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A layer's output that is off by less than rounding explains of a whole run: the law of the
    layer alone tells, and what the difference looks like is worked out behind it.
    """
    torch = pytest.importorskip("torch")
    reference = real / "llama-f32" / "torch_dump"
    candidate = shutil.copytree(reference, tmp_path / "candidate")
    path = candidate / "0" / "model.model.layers.0-output.pt"
    torch.save(torch.load(path) * (1 + 1e-6), path)
    comparison = open_comparison(str(reference), str(candidate))
    mine = Pickling()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    comparison.measure(use_cache=False, executor=mine, threads=2)
    first = comparison.first_divergence()
    assert first is not None and first.module == "layers.0" and first.symptoms
    laws = [place for place, name in enumerate(mine.asked) if name == "evaluate_places"]
    assert "_sample" not in mine.asked[: laws[0]]
    assert "_sample" in mine.asked[laws[-1] :]


def test_a_test_uses_its_executor_for_all_of_it(tmp_path: Path) -> None:
    sides = renamed_pair(tmp_path)
    mine = Pickling()
    with pytest.raises(AssertionError):
        assert_captures_match(*sides, executor=mine)
    assert {"look", "_sketches_of_share"} <= set(mine.asked)
