"""What every layer gets wrong by itself: its record against its law on the inputs that it had.

The law has the reference's parameters and the candidate's inputs, so that nothing inherited is left
in the difference: the mirror image of running the candidate's layer on the reference's inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from ...capture.values import Array
from ..measuring.bounded_sample import UNREADABLE
from ..measuring.measure import finish, tolerance_of
from ..measuring.pair_reader import PairTask
from ..measuring.sums import Sums, Tolerance
from ..model import Cause, Measurement
from ..vocabulary import LAW_STATES, LawState
from .evaluate import evaluations, read_cases
from .law import Scene
from .model_difference import ModelDifference
from .peers import Judged, Peers
from .registry import law_named
from .suspects import diagnosed


@dataclass(frozen=True)
class OwnError:
    """A row of the comparison whose layer has a law. `single` has what the law gives as its
    reference, over `sampled` of the record's `rows`; `state` is `unknown` where the reference
    itself does not keep to the law. `causes` were looked for where the candidate does not;
    `model_difference` says what its own checkpoint or config has otherwise there.
    """

    row: int
    module: str
    law: str
    state: LawState
    single: Measurement
    sampled: int
    rows: int
    causes: tuple[Cause, ...] = ()
    model_difference: str = ""


def own_errors(scene: Scene, cancelled: Callable[[], bool] | None = None) -> dict[int, OwnError]:
    """By row. Of several laws of a row, one that is kept to tells that its module is fine; one that
    the reference does not keep to tells nothing.
    """
    found: dict[int, OwnError] = {}
    own = ModelDifference(scene, cancelled)
    for judged in _preferred(Peers(evaluations(scene)).judged()):
        if cancelled is not None and cancelled():
            break
        single = _single(scene, judged)
        if single is None:
            continue
        evaluation, state, words = judged.evaluation, judged.state, ""
        causes: tuple[Cause, ...] = ()
        diagnosis = diagnosed(scene, judged, cancelled)
        if diagnosis is not None:
            state, causes = "breaks", diagnosis.causes
            words = own.words(evaluation.site, [cause.name for cause in causes])
        found[evaluation.row] = OwnError(
            evaluation.row, evaluation.site.module, evaluation.site.law, state, single,
            evaluation.sampled, evaluation.rows, causes, words,
        )  # fmt: skip
    return found


def _preferred(places: Iterable[Judged]) -> list[Judged]:
    best: dict[int, Judged] = {}
    for judged in places:
        row = judged.evaluation.row
        known = best.get(row, judged)
        best[row] = min(known, judged, key=lambda place: LAW_STATES.index(place.state))
    return list(best.values())


def _single(scene: Scene, judged: Judged) -> Measurement | None:
    """The candidate's record against its law; None where it cannot be read any more."""
    site, fit = judged.evaluation.site, judged.evaluation.fit
    law = law_named(site.law)
    try:
        cases = read_cases(scene, law, site)
        if cases is None:
            return None
        with np.errstate(all="ignore"):
            (prediction,) = law.predict(scene, site, fit, [cases[1]])
    except UNREADABLE:
        return None
    if prediction is None:
        return None
    left, right = (side.known[site.target].task for side in scene.sides)
    return _measured(prediction.value, cases[1].output, tolerance_of(PairTask(left, right)))


def _measured(expected: Array, recorded: Array, tolerance: Tolerance) -> Measurement:
    """The numbers of a pair of tables."""
    sums = Sums(tolerance)
    x, y = (np.ascontiguousarray(table, np.float64).reshape(-1) for table in (expected, recorded))
    with np.errstate(all="ignore"):
        sums.add(x, y, 0)
    return finish(sums, recorded.shape, tolerance)
