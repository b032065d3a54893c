"""Laws on threads of this process: the same evaluations in the same order for any number."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from threadpoolctl import threadpool_info

from layertui.compare.comparison import open_comparison
from layertui.compare.laws.evaluate import Place, by_target, one_by_one, turns
from layertui.compare.laws.evaluation import Evaluation
from layertui.compare.laws.law import Scene, Site
from layertui.compare.laws.numerics.quantities import Key, Tables
from layertui.compare.laws.registry import LAWS
from layertui.compare.running import law_threads
from layertui.compare.running.law_checks import scene_of
from layertui.compare.running.law_threads import OnThreads


@pytest.fixture
def scene(real: Path) -> Scene:
    comparison = open_comparison(*(str(real / "qwen3-f32" / f"{side}_dump") for side in SIDES))
    comparison.measure(use_cache=False)
    return fresh(scene_of(comparison.aligned, comparison.results, comparison.models))


SIDES = "torch", "max"


def fresh(scene: Scene) -> Scene:
    """The same with nothing read and nothing learnt."""
    return replace(scene, tables=Tables(), kept={})


def errors(found: Iterable[Evaluation | None]) -> list[Any]:
    """What was found, without the fits, which hold tables; None where a place tells nothing."""
    return [
        one and (one.site, one.reference, one.candidate, one.sampled, one.fit.words)
        for one in found
    ]


@pytest.mark.parametrize("workers", [1, 2, 7])
@pytest.mark.parametrize("learning", [1, 2, 8])
def test_as_one_by_one(
    scene: Scene, workers: int, learning: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("layertui.compare.laws.evaluate.LEARNING", learning)
    monkeypatch.setattr(law_threads, "MOST_WORKERS", workers)
    places = list(by_target(scene, LAWS))
    expected = errors(one_by_one(fresh(scene), places))
    assert errors(OnThreads(workers)(fresh(scene), places)) == expected
    assert len(expected) == len(places) > 20


def test_few_places_are_worked_on_ahead(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept until it is handed out stays small while one place takes long."""
    monkeypatch.setattr(law_threads, "AHEAD", 4)
    places = list(by_target(scene, LAWS))
    slow, seen = places[0], list[int]()

    def best_of(scene: Scene, law: Any, sites: Any, learns: bool) -> None:
        if sites is slow[1]:
            time.sleep(0.3)
            seen.append(len(done))
        done.append(sites)

    done: list[Any] = []
    monkeypatch.setattr(law_threads, "best_of", best_of)
    assert list(OnThreads(2)(scene, places)) == [None] * len(places)
    assert seen == [3] and len(done) == len(places)


def test_who_learns_from_whom() -> None:
    places = [place(kind) for kind in ("a", "a", "b", "a", *"a" * 7, "b")]
    found = turns(places)
    assert [turn.after for turn in found] == [None, 0, None, 1, 3, 4, 5, 6, 7, 8, 8, 2]
    assert [turn.learns for turn in found] == [True] * 9 + [False] * 2 + [True]


def place(kind: str) -> Place:
    return LAWS[0], [Site(LAWS[0].name, "module", Key("module", "output"), kind)]


def test_stopping_ends_it(scene: Scene) -> None:
    stop = False
    places = list(by_target(scene, LAWS))
    running = OnThreads(2)(replace(scene, cancelled=lambda: stop), places)
    first = [next(running) for _ in range(3)]
    stop = True
    assert len(list(running)) < len(places) - len(first)


def test_products_take_no_threads_of_their_own_meanwhile(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counts() -> Iterator[int]:
        return (one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas")

    seen: list[int] = []
    monkeypatch.setattr(law_threads, "best_of", lambda *_: seen.extend(counts()))
    before = list(counts())
    list(OnThreads(2)(scene, list(by_target(scene, LAWS))))
    assert before and set(seen) == {1} and list(counts()) == before


def test_the_environment_stays_as_it_is(real: Path) -> None:
    """What is run in a child is known by its environment, too."""
    program = """
import os, sys
from layertui.cli.main import status_of
before = dict(os.environ)
assert status_of(["compare", *sys.argv[1:], "--no-cache"]) == 0
assert "threadpoolctl" in sys.modules
assert dict(os.environ) == before
"""
    sides = [str(real / "llama-f32" / f"{side}_dump") for side in SIDES]
    subprocess.run([sys.executable, "-c", program, *sides], check=True, capture_output=True)


def test_what_a_law_raises_is_raised(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def best_of(*_: object) -> None:
        raise ZeroDivisionError("a law")

    monkeypatch.setattr(law_threads, "best_of", best_of)
    with pytest.raises(ZeroDivisionError, match="a law"):
        list(OnThreads(2)(scene, list(by_target(scene, LAWS))))
