"""From a row to its symptoms: what is read, which fits are tried, what is reported first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..judging.dataflow import kind_of
from ..limits import LEAST_SCORE, SCORES_ALIKE
from ..matching.names.canonical import parent_of
from ..measuring.bounded_sample import UNREADABLE, Sample, read_sample
from ..model import Measurement, Row, Symptom
from ..tasks.on_executor import answers
from . import casts, fit, others, registry
from .unrelated import other_weights

if TYPE_CHECKING:
    from ...capture.values import Array
    from ..aligned import Aligned, Results
    from ..judging.noise.analysis import Analysis
    from ..measuring.pair_reader import PairTask

_MOST_OTHERS = 48  # records that one is compared with
_MOST = 1 << 17


@np.errstate(all="ignore")  # a file may hold any bits
def symptoms_of(
    aligned: Aligned, results: Results, analysis: Analysis, index: int
) -> tuple[Symptom, ...]:
    """What the difference of a measured pair looks like, the best explanation first; one symptom
    `other-weights`, `none` or `noise-like` where no simple one explains most of it, nothing where
    nothing differs.

    Reads a bounded sample of the pair and of records of the same shape. Raises `RecordError` or
    `RecipeError` where the pair cannot be read any more.
    """
    result = results.measurements[index]
    if not isinstance(result, Measurement) or result.identical or not result.compared:
        return ()
    if result.partial or not aligned.measurable(index):
        return ()
    sample = read_sample(aligned.task(index), result.max_abs_index, _MOST)
    if sample.x.size < 4:
        return ()
    pair = _pair(analysis, index, sample)
    if not (np.isfinite(pair.squares) and np.isfinite(np.vdot(pair.x, pair.x))):
        return (_overflowing(result, sample),)
    found = list(_all(aligned, results, analysis, index, sample, pair))
    likely = likely_ones(found)
    hidden = analysis.hidden_symptom(index)
    if hidden is not None:
        return _given_away(hidden, found)
    if not likely:
        other = other_weights(aligned.rows[index], analysis.facts[index], pair)
        return (other or _nothing(result, pair, found),)
    return ranked(likely)


def _overflowing(result: Measurement, sample: Sample) -> Symptom:
    """What there is to say where sums of squares are more than float64 holds."""
    if result.nonfinite_mismatch:
        return next(casts.overflow(result, sample.x, sample.y))
    words = "the squares are more than float64 holds: garbage, or numbers of another dtype"
    return Symptom("none", 0.0, words)


def likely_ones(found: list[Symptom]) -> list[Symptom]:
    """Those that explain enough of the error."""
    return [symptom for symptom in found if symptom.score >= LEAST_SCORE]


def _given_away(hidden: tuple[str, str], found: list[Symptom]) -> tuple[Symptom, ...]:
    """An error no larger than the noise around it looks like what gave it away: fits of all that
    differs would describe the noise.
    """
    name, words = hidden
    fits = [symptom for symptom in found if symptom.name == name]
    best = max(fits, key=lambda symptom: symptom.score, default=None)
    if best is None:
        return (Symptom(name, 0.0, words),)
    return (Symptom(name, best.score, f"{words}; {best.evidence}"),)


def ranked(likely: list[Symptom]) -> tuple[Symptom, ...]:
    """The three best, one of a name; of those that explain it alike, the simpler first."""
    best: dict[str, Symptom] = {}
    for symptom in likely:  # the simplest of a name stands first
        if symptom.name not in best or symptom.score > best[symptom.name].score + SCORES_ALIKE:
            best[symptom.name] = symptom
    top = max(symptom.score for symptom in best.values())
    return tuple(sorted(best.values(), key=lambda s: _rank(s, top)))[:3]


def _rank(symptom: Symptom, top: float) -> tuple[bool, int, float]:
    return symptom.score < top - SCORES_ALIKE, registry.place_of(symptom.name), -symptom.score


def _pair(analysis: Analysis, index: int, sample: Sample) -> fit.Pair:
    fine = np.isfinite(sample.x) & np.isfinite(sample.y)
    x, y = np.where(fine, sample.x, 0.0), np.where(fine, sample.y, 0.0)
    expected = analysis.expected(index)
    noise = expected * expected * float(np.vdot(x, x))
    d = y - x
    # Never all of it: an explanation must find something that noise leaves over.
    noise = min(noise, 0.9 * float(np.vdot(d, d)))
    return fit.Pair(x, y, sample.rows, sample.channels, sample.shape, noise)


def _all(
    aligned: Aligned, results: Results, analysis: Analysis, index: int, sample: Sample,
    pair: fit.Pair,
) -> Iterator[Symptom]:  # fmt: skip
    result = results.measurements[index]
    assert isinstance(result, Measurement)
    if result.nonfinite_mismatch:
        yield from casts.overflow(result, sample.x, sample.y)
    if pair.squares == 0:
        return
    row = aligned.rows[index]
    sources = [aligned.rows[i] for i in analysis.sources(index)]
    difference = registry.Difference(
        pair, result, analysis.facts[index].bits,
        lambda: _others(aligned, results, row, result, _near(aligned, row)),
        lambda: _others(aligned, results, row, result, sources),
    )  # fmt: skip
    for test in registry.TESTS:
        yield from test(difference)


def _near(aligned: Aligned, row: Row) -> list[Row]:
    """Rows that this one could have been mixed up with: of the same parent, then its peers, the
    nearest first.
    """
    kind, parent = kind_of(row), parent_of(row.canonical)
    beside = [
        other
        for other in aligned.rows
        if other.index != row.index
        and (parent_of(other.canonical) == parent or kind_of(other)[:2] == kind[:2])
    ]
    beside.sort(key=lambda other: abs(other.index - row.index))
    return beside


def _others(
    aligned: Aligned, results: Results, row: Row, result: Measurement, rows: list[Row]
) -> list[others.Other]:  # fmt: skip
    """The same sample of other pairs of this shape; what cannot be read is left out."""
    alike = [
        other
        for other in rows
        if isinstance(measured := results.measurements[other.index], Measurement)
        and measured.shape == result.shape and not measured.partial
        and other.index != row.index and aligned.measurable(other.index)
    ]  # fmt: skip
    found: list[others.Other] = []
    while alike and len(found) < _MOST_OTHERS:
        some, alike = alike[: _MOST_OTHERS - len(found)], alike[_MOST_OTHERS - len(found) :]
        wanted = [(aligned.task(other.index), result.max_abs_index) for other in some]
        for other, sample in zip(some, answers(_sample, wanted), strict=True):
            if sample is not None:
                is_peer = kind_of(other)[:2] == kind_of(row)[:2]
                found.append(others.Other(other.label, is_peer, *sample))
    return found


def _sample(wanted: tuple[PairTask, tuple[int, ...] | None]) -> tuple[Array, Array] | None:
    """The sample of a pair with that place in it; None where it cannot be read or is not finite."""
    try:
        sample = read_sample(*wanted, _MOST)
    except UNREADABLE:
        return None
    finite = np.isfinite(sample.x).all() and np.isfinite(sample.y).all()
    return (sample.x, sample.y) if finite else None


def _nothing(result: Measurement, pair: fit.Pair, found: list[Symptom]) -> Symptom:
    """Nothing simple: spread evenly like noise, or not even that."""
    best = max(found, key=lambda symptom: symptom.score, default=None)
    tried = "no simple mistake explains it"
    if best is not None and best.score > 0.01:
        tried += f"; the best, {best.name}, explains {100 * best.score:.2g} % ({best.evidence})"
    structure = result.structure
    if structure is not None and _even(structure.row_error) and _even(structure.channel_error):
        along = abs(result.pearson or 1.0)
        if result.relative_l2 is not None and result.relative_l2 < 0.5 and along > 0.8:
            score = 1.0 - (best.score if best is not None else 0.0)
            return Symptom("noise-like", score, f"spread over all rows and channels alike; {tried}")
    return Symptom("none", 0.0, tried)


def _even(error: tuple[float, float, int]) -> bool:
    middle, worst, _ = error
    return worst < 4 * middle
