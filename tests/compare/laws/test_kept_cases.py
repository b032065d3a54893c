"""Which evaluations keep their cases, and what is worked out once for both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from layertui.compare.laws import evaluate, kept_cases
from layertui.compare.laws.evaluation import Evaluation
from layertui.compare.laws.kept_cases import KeptCases
from layertui.compare.laws.law import Case, Fit, Prediction, Scene, Site
from layertui.compare.laws.numerics.local_error import LocalError, Peak
from layertui.compare.laws.numerics.quantities import Key, Quantity, SideQuantities, Tables
from layertui.compare.laws.same_values import same_values

TARGET = Key("layers.0.mlp", "output")
SITE = Site("linear", TARGET.module, TARGET, "mlp")


def case(seed: int = 0, side: str = "reference", rows: int = 4) -> Case:
    y = np.random.default_rng(seed).standard_normal((rows, 8))
    return Case(side, y, np.arange(rows), {"x": y + 1.0}, {"x": 1e-3, "output": 1e-3})


def evaluation(candidate: float, read: bool = True, rows: int = 4) -> Evaluation:
    def error(total: float) -> LocalError:
        peak = Peak(total, 0)
        return LocalError(total, 1e-3, total, peak, peak, peak, total, 1.0, 1e-6, 0.1, rows)

    return Evaluation(
        SITE, Fit({}, read=read), error(1.0), error(candidate), 1e-3, 1e-3, 0, rows, rows,
        cases=(case(rows=rows), case(1, "candidate", rows)),
    )  # fmt: skip


def test_what_sticks_out_keeps_its_cases() -> None:
    found: list[Evaluation] = []
    kept = KeptCases(found)
    for one in (evaluation(1.2), evaluation(9.0), evaluation(9.0, read=False)):
        kept.add(one)
    assert [e.cases is not None for e in found] == [False, True, False]


def test_of_too_many_those_that_stick_out_most_keep_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    size = 2 * (3 * 4 * 8 + 4 * 8)  # both sides: the output thrice, and the input
    monkeypatch.setattr(kept_cases, "MOST", 2 * size)
    found: list[Evaluation] = []
    kept = KeptCases(found)
    for far in (5.0, 2.0, 9.0, 3.0):
        kept.add(evaluation(far))
    assert [e.cases is not None for e in found] == [True, False, True, False]
    assert [e.candidate.total for e in found] == [5.0, 2.0, 9.0, 3.0]


def test_values_are_the_same_in_every_part() -> None:
    one = replace(case(), more={"material": case(2), "count": 3})
    assert same_values(one, replace(case(), more={"material": case(2), "count": 3}))
    assert not same_values(one, replace(one, more={"material": case(3), "count": 3}))
    assert not same_values(one, replace(one, more={"material": case(2), "count": 4}))
    assert not same_values(one, replace(one, units={"x": 1e-3, "output": 1e-4}))
    assert not same_values(one, replace(one, inputs={}))
    assert not same_values(np.array([1.0, np.nan]), np.array([1.0, np.nan]))
    assert not same_values(np.zeros(2), np.zeros(2, np.float32))
    assert not same_values(object(), object())


class Law:
    """Doubles the input, and counts for how many cases it is asked."""

    name = "linear"

    def __init__(self) -> None:
        self.asked = 0

    def predict(
        self, scene: Scene, site: Site, fit: Fit, cases: Sequence[Case]
    ) -> list[Prediction | None]:
        self.asked += len(cases)
        return [Prediction(c.inputs["x"] - 1.0, np.full(c.output.shape, 1e-3)) for c in cases]


@pytest.mark.parametrize(("seed", "asked"), [(0, 1), (1, 2)])
def test_equal_sides_are_worked_out_once(
    seed: int, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    law = Law()
    known = {TARGET: Quantity(TARGET, "candidate", None, 7, True)}  # type: ignore[arg-type]
    scene = Scene(SideQuantities("reference", {}), SideQuantities("candidate", known), Tables())
    monkeypatch.setattr(Tables, "rows", lambda *_: 4)
    left, right = case(), case(seed, "candidate")
    right = replace(right, output=right.output + (1e-3 if seed else 0.0))
    found = evaluate.evaluate(scene, law, SITE, Fit({}, free=1.0), (left, right))  # type: ignore[arg-type]
    assert found is not None and law.asked == asked
    assert found.reference.total == pytest.approx(0.0, abs=1e-9)
    assert found.candidate.total == pytest.approx(1.0 if seed else 0.0, abs=1e-6)
    assert found.row == 7
