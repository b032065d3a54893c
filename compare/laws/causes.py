"""Which one change of its law explains the local error of a layer that sticks out.

Every hypothesis is held against the same rows as the law itself. One explains the error when
nothing sticks out any more; of several, the one that fits better by far, else the one with fewer
fitted numbers, else the one named first in `vocabulary.CAUSES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from ..measuring.bounded_sample import UNREADABLE
from ..measuring.pair_reader import CancelledError
from ..model import Cause
from ..vocabulary import CAUSES
from . import limits
from .elsewhere import recorded_hypotheses
from .evaluate import cases_of
from .law import Case, Hypothesis, Prediction, Scene
from .numerics.local_error import LocalError, corrected, local_error
from .peers import Excess, Judged, strains
from .registry import law_named

_ALIKE = 1.25  # local errors within this factor are alike
_SIMPLER = 2.0  # times the least local error that a hypothesis with fewer fitted numbers may leave
_MANY = 2  # class of fitted numbers, see `_cost`
_MOST_SAID = 3  # causes of one layer that are said
_IMPROVED = 0.5  # of the local error that must go for a hypothesis to count at all
_MOSTLY = 1.0  # times the usual squares: what is beyond them counts by itself from there on
# Coarser arithmetic makes larger errors and says little of each: it is held to their size alone.
_ROUNDING = ("precision", "cast")
COARSER = (*_ROUNDING, "quantised")  # causes that are a coarser arithmetic themselves
# Of the local error that is left where nothing restores the usual, and 99.75 % of its squares are
# explained all the same: weights that were rounded once more when they were loaded.
_NEARLY = 0.05
_TOO_WIDE = 0.02  # ratio below which errors are not those of the arithmetic that is supposed


@dataclass(frozen=True)
class Trial:
    """A hypothesis that was tried: the candidate's local error with it, how many times its limit
    the worst test of it is, and whether nothing sticks out any more. `nearer`: it also improves in
    units of the unchanged law, where a wider spread of its own does not help.
    """

    hypothesis: Hypothesis
    error: LocalError
    restored: bool
    strain: float = 0.0
    nearer: bool = True


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
    except (*UNREADABLE, CancelledError):
        trials = []
    return Diagnosis(judged, tuple(trials), tuple(_causes(judged, trials)))


def explained(
    judged: Judged, hypotheses: Iterable[Hypothesis], candidate: Case, base: Prediction
) -> tuple[Cause, ...]:
    """The causes among hypotheses of a place that belongs to no law."""
    tried = (_trial(judged, hypothesis, candidate, base) for hypothesis in hypotheses)
    trials = sorted((trial for trial in tried if trial is not None), key=_rank)
    return tuple(_causes(judged, trials))


def _trials(scene: Scene, judged: Judged, cancelled: Callable[[], bool] | None) -> Iterator[Trial]:
    site, fit = judged.evaluation.site, judged.evaluation.fit
    law = law_named(site.law)
    cases = cases_of(scene, law, judged.evaluation)
    if cases is None:
        return
    reference, candidate = cases
    with np.errstate(all="ignore"):
        own = law.predict(scene, site, fit, [candidate])[0]
        elsewhere = () if own is None else recorded_hypotheses(scene, site, own, candidate)
        hypotheses = law.hypotheses(scene, site, fit, reference, candidate)
        for hypothesis in chain(elsewhere, hypotheses):
            if cancelled is not None and cancelled():
                return
            trial = _trial(judged, hypothesis, candidate, own)
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
    found = strains(error, judged)
    restored = all(e.times <= limits.RESTORED or _as_predicted(error, e) for e in found)
    strain = max(e.times for e in found)
    nearer = _nearer(judged, hypothesis, candidate, prediction, base, error)
    return Trial(hypothesis, error, restored, strain, nearer)


def _nearer(
    judged: Judged, hypothesis: Hypothesis, candidate: Case, prediction: Prediction,
    base: Prediction | None, error: LocalError,
) -> bool:  # fmt: skip
    """Whether the candidate is nearer to the prediction than to that of the unchanged law."""
    if base is None or base.value.shape != prediction.value.shape:
        return True
    by_size = hypothesis.by_size or hypothesis.name in _ROUNDING
    if by_size and max(error.ratio, error.total) >= _TOO_WIDE:
        return True
    same = local_error(
        candidate, replace(prediction, spread=base.spread), judged.evaluation.site.groups
    )
    before = judged.evaluation.candidate
    strain, left = (max(e.times for e in strains(each, judged)) for each in (before, same))
    return _less(same, before, judged) or left <= _IMPROVED * strain


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
    strain = max(e.times for e in strains(before, judged))
    good = [t for t in trials if t.restored and _improved(t, judged, strain)]
    if not good and before.bad:
        good = [t for t in trials if t.restored]
    if not good:
        good = [t for t in trials if _explains_nearly_all(t, before)]
    if not good:
        return
    usual = judged.usual_candidate.ratio
    least = min(t.error.total for t in good)
    alike = usual if judged.usual_candidate.count > 1 else judged.evaluation.reference.ratio
    alike = max(alike, limits.ALIKE)
    fair = [t for t in good if t.error.total <= max(least * _SIMPLER, alike)]
    fewest = min(_cost(t.hypothesis) for t in fair)
    simple = [t for t in fair if _cost(t.hypothesis) == fewest]
    least = min(t.error.total for t in simple)
    near = [t for t in simple if t.error.total <= max(least * _ALIKE, alike)]
    near.sort(key=lambda t: (_order(t.hypothesis.name), t.error.total))
    said: set[str] = set()
    for trial in near:
        name = trial.hypothesis.name
        if name in said or len(said) == _MOST_SAID:
            continue
        said.add(name)
        yield _cause(judged, trial)


def _explains_nearly_all(trial: Trial, before: LocalError) -> bool:
    """Whether a mistake of few numbers leaves next to nothing of the error, and no NaN or Inf."""
    few = _cost(trial.hypothesis) < _MANY and not trial.error.bad
    return few and trial.nearer and trial.error.total <= _NEARLY * before.total


def _improved(trial: Trial, judged: Judged, strain: float) -> bool:
    """Whether enough of the error has gone: of all of it, or of what stuck out (one channel)."""
    less = _less(trial.error, judged.evaluation.candidate, judged)
    return trial.nearer and (less or trial.strain <= _IMPROVED * strain)


def _less(error: LocalError, before: LocalError, judged: Judged) -> bool:
    """Whether an error is at most half of what it was, or half of what it was beyond the usual
    (squares of independent errors add up), where that is most of it.
    """
    if error.total <= _IMPROVED * before.total:
        return True
    usual = judged.usual_candidate.ratio
    beyond = before.total**2 - usual**2
    return beyond > _MOSTLY * usual**2 and error.total**2 - usual**2 <= _IMPROVED**2 * beyond


def _cost(hypothesis: Hypothesis) -> int:
    """Fitted numbers, in classes: none, one, many."""
    return 0 if hypothesis.fitted == 0 else 1 if hypothesis.fitted <= 2 else _MANY


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
    counts: dict[tuple[str, str, str], int] = {}
    for diagnosis in listed:
        site = diagnosis.judged.evaluation.site
        for cause in diagnosis.causes:
            place = site.law, site.kind, cause.name
            counts[place] = counts.get(place, 0) + 1
    return [_counted(diagnosis, counts) for diagnosis in listed]


def _counted(diagnosis: Diagnosis, counts: Mapping[tuple[str, str, str], int]) -> Diagnosis:
    site = diagnosis.judged.evaluation.site
    causes = (replace(c, layers=counts[site.law, site.kind, c.name]) for c in diagnosis.causes)
    return replace(diagnosis, causes=tuple(causes))
