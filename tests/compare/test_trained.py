"""Trained models, their first layers: clean pairs without a false alarm, faults with their causes.

The models, the pairs and the faults are those of `benchmarks/trained.py`. Here every cause that
there is has one fault, in float32 and in bfloat16, and the shares have to reach the same bars.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
import trained

from trained_models.faults import CAUSES, FAULTS
from trained_models.planting import TrainedFault
from trained_models.runs import CLEAN, Bench, Case, in_groups
from trained_models.wheels import UnavailableError, cache_directory

pytestmark = [pytest.mark.trained, pytest.mark.xdist_group("trained")]

LAYERS = 4  # the first ones: the massive activation is made in the third
CULPRITS, NAMED = 0.95, 0.85  # shares of the faults that can be told
UNSAID = 1.0  # of errors that no name fits, those that are given none
CACHE = cache_directory()  # before a test's own home stands in its place


def one_of_each() -> tuple[TrainedFault, ...]:
    """The first fault of the list that has each cause, and those whose cause nobody can name."""
    first = [next(fault for fault in FAULTS if fault.causes[:1] == (name,)) for name in CAUSES]
    return (*first, *(fault for fault in FAULTS if not fault.causes))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    made = Bench(tmp_path_factory.mktemp("trained"), CACHE, LAYERS)
    try:
        for base in ("llama", "bert"):
            made.checkpoint(base)
    except UnavailableError as error:
        pytest.fail(str(error), pytrace=False)
    return made


@pytest.fixture(scope="module")
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # the models are small: threads only wait for one another
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def faults(bench: Bench, threads: None) -> list[Case]:
    return [bench.fault(*pair) for pair in in_groups(one_of_each(), ("f32", "bf16"))]


def reached(cases: list[Case], right: Callable[[Case], bool | None], share: float) -> None:
    """At least this share of the cases is right. Says the share and every miss."""
    assert cases
    misses = [case for case in cases if not right(case)]
    fine = len(cases) - len(misses)
    said = "\n".join([trained.share(fine, len(cases)), *map(trained.line, misses)])
    assert fine >= share * len(cases), said


def test_every_cause_has_faults_in_both_dtypes(threads: None) -> None:
    for name in CAUSES:
        same = [fault for fault in FAULTS if name in fault.causes]
        for dtype in ("f32", "bf16"):
            assert any(fault.answer(dtype) in ("named", "below") for fault in same), (name, dtype)


def test_clean_pairs_have_no_false_alarm(bench: Bench, threads: None) -> None:
    reached([bench.clean(pair) for pair in CLEAN], lambda case: case.named, 1.0)


def test_culprits_are_named(faults: list[Case]) -> None:
    told = [case for case in faults if case.answer != "below"]
    reached(told, lambda case: case.named, CULPRITS)


def test_causes_are_named(faults: list[Case]) -> None:
    asked = [case for case in faults if case.cause_right is not None]
    reached(asked, lambda case: case.cause_right, NAMED)


def test_what_cannot_be_told_is_not_said(faults: list[Case]) -> None:
    reached([case for case in faults if case.answer == "below"], lambda case: case.right, 1.0)
    unknown = [case for case in faults if not case.accepted]
    reached(unknown, lambda case: not case.false_cause, UNSAID)
