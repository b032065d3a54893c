"""Which one change of its law explains the local error of a layer that sticks out.

Every hypothesis is held against the same rows as the law itself. One explains the error when
nothing sticks out any more; of several, the one that fits better by far, else the one with fewer
fitted numbers, else the one named first in `vocabulary.CAUSES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..model import Cause
from ..sample import UNREADABLE
from ..vocabulary import CAUSES
from . import limits
from .evaluate import corrected, read_cases
from .law import Case, Hypothesis, Prediction, Scene
from .local_error import LocalError, local_error
from .peers import Excess, Judged, excess_of
from .registry import law_named

_ALIKE = 1.25  # local errors within this factor are alike
_MOST_SAID = 3  # causes of one layer that are said
_IMPROVED = 0.5  # of the local error that must go for a hypothesis to count at all


@dataclass(frozen=True)
class Trial:
    """A hypothesis that was tried: the candidate's local error with it, whether nothing sticks
    out any more, and how many times its limit the worst test is (1 where none is beyond it).
    """

    hypothesis: Hypothesis
    error: LocalError
    restored: bool
    strain: float = 1.0


@dataclass(frozen=True)
class Diagnosis:
    """What was tried at a place, the best first, and the causes among it."""

    judged: Judged
    trials: tuple[Trial, ...]
    causes: tuple[Cause, ...]


def diagnose(
    scene: Scene, judged: Judged, cancelled: Callable[[], bool] | None = None
) -> Diagnosis:
    """Try every hypothesis of the place's law. A record that cannot be read any more has none."""
    try:
        trials = sorted(_trials(scene, judged, cancelled), key=_rank)
    except UNREADABLE:
        trials = []
    return Diagnosis(judged, tuple(trials), tuple(_causes(judged, trials)))


def _trials(scene: Scene, judged: Judged, cancelled: Callable[[], bool] | None) -> Iterator[Trial]:
    site, fit = judged.evaluation.site, judged.evaluation.fit
    law = law_named(site.law)
    cases = read_cases(scene, law, site)
    if cases is None:
        return
    reference, candidate = cases
    with np.errstate(all="ignore"):
        terms = judged.evaluation.candidate.terms
        base = law.predict(scene, site, fit, [candidate])[0] if terms else None
        for hypothesis in law.hypotheses(scene, site, fit, reference, candidate):
            if cancelled is not None and cancelled():
                return
            trial = _trial(judged, hypothesis, candidate, base)
            if trial is not None:
                yield trial


def _trial(
    judged: Judged, hypothesis: Hypothesis, candidate: Case, base: Prediction | None
) -> Trial | None:
    prediction = hypothesis.predict()
    if prediction is None or prediction.value.shape != candidate.output.shape:
        return None
    if base is not None and not prediction.terms:
        prediction = replace(prediction, terms=base.terms)
    error = local_error(candidate, prediction, judged.evaluation.site.groups)
    if hypothesis.fitted:
        free = hypothesis.fitted / candidate.output.shape[1]
        error = corrected(error, free)
    excess = excess_of(error, judged)
    restored = excess is None or excess.times <= limits.RESTORED or _as_predicted(error, excess)
    return Trial(hypothesis, error, restored, excess.times if excess is not None else 1.0)


def _as_predicted(error: LocalError, excess: Excess) -> bool:
    """Whether every row keeps to what rounding predicts. The changed law may round where the one
    of its peers does not (ReLU copies, its square does not).
    """
    return not (excess.by_factor or error.bad) and error.row.ratio <= limits.AS_PREDICTED


def _rank(trial: Trial) -> tuple[bool, float]:
    return not trial.restored, trial.error.total


def _causes(judged: Judged, trials: Iterable[Trial]) -> Iterator[Cause]:
    """The hypotheses that restore, best first; alike ones of the same name only once."""
    before = judged.evaluation.candidate
    good = [t for t in trials if t.restored and _improved(t, judged)]
    if not good and before.bad:
        good = [t for t in trials if t.restored]
    if not good:
        return
    least = min(t.error.total for t in good)
    usual = judged.usual_candidate
    # Without peers what is usual is only a bound; the reference shows how well the law can fit.
    alike = usual.ratio if usual.count > 1 else judged.evaluation.reference.ratio
    near = [t for t in good if t.error.total <= max(least * _ALIKE, alike)]
    near.sort(key=lambda t: (_cost(t.hypothesis), _order(t.hypothesis.name), t.error.total))
    fewest = _cost(near[0].hypothesis)
    said: set[str] = set()
    for trial in near:
        name = trial.hypothesis.name
        if name in said or len(said) == _MOST_SAID or _cost(trial.hypothesis) > fewest:
            continue
        said.add(name)
        yield _cause(judged, trial)


def _improved(trial: Trial, judged: Judged) -> bool:
    """Whether enough has gone: of the error, or of what sticks out, which may be far below the
    size of the error (a common factor, ordinary rows beside a massive one).
    """
    before, excess = judged.evaluation.candidate, judged.excess
    if trial.error.total <= _IMPROVED * before.total:
        return True
    if excess is None or trial.error.total > before.total:
        return False
    return excess.by_factor or trial.strain <= _IMPROVED * excess.times


def _cost(hypothesis: Hypothesis) -> int:
    """Fitted numbers, in classes: none, one, many."""
    return 0 if hypothesis.fitted == 0 else 1 if hypothesis.fitted <= 2 else 2


def _order(name: str) -> int:
    return CAUSES.index(name) if name in CAUSES else len(CAUSES)


def _cause(judged: Judged, trial: Trial) -> Cause:
    hypothesis = trial.hypothesis
    return Cause(
        hypothesis.name, hypothesis.text, hypothesis.parameter, hypothesis.reference,
        hypothesis.candidate, hypothesis.uncertainty, judged.evaluation.candidate.total,
        trial.error.total, judged.usual_candidate.ratio,
    )  # fmt: skip


def joined(diagnoses: Iterable[Diagnosis]) -> list[Diagnosis]:
    """The same with `layers` counted: how many layers show a cause of this name and law."""
    listed = list(diagnoses)
    counts: dict[tuple[str, str], int] = {}
    for diagnosis in listed:
        for cause in diagnosis.causes:
            place = diagnosis.judged.evaluation.site.kind, cause.name
            counts[place] = counts.get(place, 0) + 1
    return [
        replace(
            d,
            causes=tuple(
                replace(c, layers=counts[d.judged.evaluation.site.kind, c.name]) for c in d.causes
            ),
        )
        for d in listed
    ]
