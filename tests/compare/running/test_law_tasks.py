"""Laws on an executor: the same report as here, whatever the workers do."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from layertui.cli.main import status_of
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.laws.evaluate import by_target, one_by_one
from layertui.compare.laws.evaluation import Evaluation
from layertui.compare.laws.registry import LAWS
from layertui.compare.measuring.pair_reader import CancelledError
from layertui.compare.running.law_checks import scene_of
from layertui.compare.running.law_tasks import OnExecutor, evaluate_places


class Here(Executor):
    """Does each task in this process when it is given; or fails it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.given: list[tuple[Any, ...]] = []

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.given.append(args)
        done: Future[Any] = Future()
        if self.error is not None:
            done.set_exception(self.error)
        else:
            done.set_result(pickle.loads(pickle.dumps(fn(*args, **kwargs))))
        return done


@pytest.fixture
def measured(real: Path) -> Comparison:
    """A pair in which one cause explains what differs; its laws are not checked yet."""
    comparison = open_comparison(*sides_of(real))
    comparison.measure(use_cache=False)
    return comparison


def sides_of(real: Path) -> list[str]:
    return [str(real / "qwen3-f32" / side) for side in ("torch_dump", "max_dump")]


def laws_of(real: Path, executor: Executor | None, threads: int | None = None) -> Any:
    comparison = open_comparison(*sides_of(real))
    comparison.measure(use_cache=False, executor=executor, threads=threads)
    first = comparison.first_divergence()
    assert first is not None and first.causes
    return comparison.laws, first.causes, [verdict.level for verdict in comparison.verdicts]


def test_the_report_is_the_same(real: Path) -> None:
    expected = laws_of(real, None)
    mine = Here()
    assert laws_of(real, mine, 2) == expected
    assert sum(1 for args in mine.given if len(args) == 2 and isinstance(args[0], bytes)) > 1
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        assert laws_of(real, pool) == expected


def errors(found: Iterable[Evaluation | None]) -> list[Any]:
    """What was found, without the fits, which hold tables."""
    return [(one.site, one.reference, one.candidate, one.sampled) for one in found if one]


@pytest.mark.parametrize("error", [RuntimeError("killed"), TimeoutError(), OSError(5, "gone")])
def test_what_workers_fail_is_done_here(error: Exception, measured: Comparison) -> None:
    scene = scene_of(measured.aligned, measured.results, measured.models)
    places = list(by_target(scene, LAWS))
    found = list(OnExecutor(Here(error), 3)(scene, places))
    assert errors(found) == errors(one_by_one(scene, places))


def test_a_task_is_done_from_any_directory(
    real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(real / "qwen3-f32")
    comparison = open_comparison("torch_dump", "max_dump")
    comparison.measure(use_cache=False)
    scene = scene_of(comparison.aligned, comparison.results, comparison.models)
    places = list(by_target(scene, LAWS))
    expected = errors(one_by_one(scene, places))
    mine = Here()
    list(OnExecutor(mine, 1)(scene, places))
    monkeypatch.chdir(tmp_path)
    found = [one for packed, part in mine.given for one in evaluate_places(packed, part)]
    assert errors(found) == expected and len(expected) > 10


def test_stopping_is_heard_while_workers_work(measured: Comparison) -> None:
    class Never(Executor):
        def __init__(self) -> None:
            self.given: list[Future[Any]] = []

        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            self.given.append(Future())
            return self.given[-1]

    asked: list[int] = []

    def cancelled() -> bool:
        asked.append(os.getpid())
        return len(asked) > 3

    scene = scene_of(measured.aligned, measured.results, measured.models, cancelled)
    never = Never()
    with pytest.raises(CancelledError):
        list(OnExecutor(never, 1)(scene, list(by_target(scene, LAWS))))
    assert never.given and all(future.cancelled() for future in never.given)


def test_laws_with_a_checkpoint_can_be_sent(tmp_path: Path) -> None:
    """Whatever a law fits there: `Here` packs every answer, which fails for what cannot be sent."""
    pytest.importorskip("torch")
    from support.tiny_checkpoints import write_llama

    write_llama(tmp_path / "model")
    ids = ["--input-ids", "1,2,3,4,5"]
    for side, more in (("a", []), ("b", ["--dtype", "bfloat16"])):
        words = ["capture", "torch", str(tmp_path / "model"), "-o", str(tmp_path / side)]
        assert status_of([*words, *ids, *more]) == 0
    comparison = open_comparison(str(tmp_path / "a"), str(tmp_path / "b"))
    comparison.measure(use_cache=False)
    assert comparison.models.reference is not None
    scene = scene_of(comparison.aligned, comparison.results, comparison.models)
    places = list(by_target(scene, LAWS))
    mine = Here()
    assert errors(OnExecutor(mine, 2)(scene, places)) == errors(one_by_one(scene, places))
    assert len({law.name for law, _ in places}) > 4
    assert len(mine.given[0][0]) < 200_000  # weights are read where the work is done
