"""The scenario with injection where nothing of the candidate can be run: by the layers' laws.

A law has the reference's parameters and is given the candidate's own inputs, where a rerun gives
the candidate's layer the reference's inputs. Either way what came in is taken out of the error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ..comparison import Comparison
from ..model import Failure, Measurement, Row
from ..reports.words import number
from ..running.law_checks import scene_of
from ..weights.models import Models
from .judge import Judgement, worst, wrong_layers_sentence
from .layers import inside
from .scenario_report import laid_out, scientific
from .verification import ScenarioRow, Verification

if TYPE_CHECKING:
    from ...capture.weights import Weights
    from ..laws.own_errors import OwnError

_NO_LAW = "no law predicts what it should output"
_DOUBTFUL = "its law does not fit this side: its inputs may have been changed in place"


def errors_by_law(
    comparison: Comparison, weights: Weights | None, candidate_weights: Weights | None = None
) -> dict[int, OwnError]:
    """The own error of every row that has a law; `weights` are the reference's. Reads records."""
    from ..laws.own_errors import own_errors

    return own_errors(
        scene_of(comparison.aligned, comparison.results, Models(weights, candidate_weights))
    )


def offline_rows(
    comparison: Comparison, errors: Mapping[int, OwnError]
) -> tuple[list[ScenarioRow], tuple[str, ...]]:
    """Every output, and other records that a law was tried on, in execution order; and the modules
    that are wrong on their own.
    """
    judged = {
        row.index: _judgement(comparison, row, errors.get(row.index))
        for row in comparison.rows
        if row.kind == "pair" and (row.role in ("output", "value") or row.index in errors)
    }
    wrong = [index for index, judgement in judged.items() if judgement.kind == "wrong"]
    wrong_layers = tuple(dict.fromkeys(errors[index].module for index in wrong))
    rows = [
        _scenario_row(comparison, index, errors.get(index),
                      _around(comparison, index, judgement, wrong, errors))
        for index, judgement in judged.items()
    ]  # fmt: skip
    return rows, wrong_layers


def _judgement(comparison: Comparison, row: Row, error: OwnError | None) -> Judgement:
    verdict = comparison.verdicts[row.index]
    if error is None:
        return Judgement("unknown", _NO_LAW)
    if error.state == "unknown":
        return Judgement("unknown", f"the reference violates the law of {error.law}: no statement")
    size = f"relative error {number(error.single.relative_l2)}"
    if error.state == "breaks":
        if not error.causes and (not verdict.fails or verdict.origin == "inherited"):
            return Judgement("unknown", _DOUBTFUL)
        cause = error.causes[0].text if error.causes else "no known mistake explains it"
        return Judgement("wrong", f"wrong on its own by its law ({size}): {cause}")
    if verdict.fails:
        words = f"fine by its law ({size}): it only passes on an error in its inputs"
        return Judgement("inherited", words)
    return Judgement("fine", f"fine by its law ({size})")


def _around(
    comparison: Comparison, index: int, own: Judgement, wrong: Sequence[int],
    errors: Mapping[int, OwnError],
) -> Judgement:  # fmt: skip
    """The same; of a module that differs and has a wrong one inside, that: a law may tell of what
    the module itself adds alone (a residual stream).
    """
    if own.kind not in ("unknown", "inherited") or not comparison.verdicts[index].fails:
        return own
    rows = comparison.rows
    parts = [i for i in wrong if inside(rows[i], rows[index])]
    names = list(dict.fromkeys(errors[i].module for i in parts))
    if not names:
        return own
    if len(names) == 1:
        return Judgement("inside", f"wrong inside: {names[0]} is wrong on its own")
    more = f"{names[0]} and {len(names) - 1} more are wrong on their own"
    return Judgement("inside", f"wrong inside: {more}")


def _scenario_row(
    comparison: Comparison, index: int, error: OwnError | None, judgement: Judgement
) -> ScenarioRow:
    row, entire = comparison.rows[index], comparison.measurements[index]
    return ScenarioRow(
        row.canonical, row.slot, row.call, row.step,
        row.reference.name if row.reference else "", row.candidate.name if row.candidate else "",
        entire if isinstance(entire, Measurement) else None, _inputs(comparison, row),
        None if error is None else error.single, judgement.kind, judgement.sentence,
    )  # fmt: skip


def _inputs(comparison: Comparison, row: Row) -> Measurement | None:
    """The input of the row's module that differs most, as far as they are recorded."""
    results = [
        (other.index, result)
        for other in comparison.rows
        if other.role == "input" and other.index != row.index
        and (other.canonical, other.call, other.step) == (row.canonical, row.call, row.step)
        and isinstance(result := comparison.measurements[other.index], Measurement | Failure)
    ]  # fmt: skip
    found = worst(results)[1] if results else None
    return found if isinstance(found, Measurement) else None


def by_laws(comparison: Comparison, errors: Mapping[int, OwnError]) -> Comparison:
    """A comparison of the same rows that has the own errors as its measurements, and no others."""
    alone = Comparison(
        comparison.reference, comparison.candidate, comparison.rules, comparison.policy
    )
    for index, error in errors.items():
        if error.state != "unknown":
            alone.take(index, error.single)
    return alone


def offline_report(
    comparison: Comparison, errors: Mapping[int, OwnError], found: Verification
) -> str:
    """The report of this scenario, the comparison of the two at its end."""
    alone = by_laws(comparison, errors)
    return laid_out(
        comparison, alone, [comparison.rows[index] for index in sorted(errors)], found,
        "what every layer gets wrong by itself, by its law", summary(comparison, errors, found),
        list(_detailed(comparison, errors)), f"NOTHING WAS RUN: {found.offline}",
    )  # fmt: skip


def summary(
    comparison: Comparison, errors: Mapping[int, OwnError], found: Verification
) -> list[str]:
    """How many outputs a law tells something about."""
    told = sum(1 for error in errors.values() if error.state != "unknown")
    outputs = sum(1 for row in comparison.rows if row.kind == "pair" and row.role == "output")
    tried = [comparison.rows[index] for index in errors]
    layers = len({(row.canonical, row.call, row.step) for row in tried})
    lines = [
        f"Total Layers: {layers}",
        f"{told} records were checked against their laws; {outputs} outputs are paired",
    ]
    unknown = len(errors) - told
    if unknown:
        lines.append(f"for {unknown} more, the reference violates the law: no statement")
    return [*lines, wrong_layers_sentence(found.wrong_layers)]


def _detailed(comparison: Comparison, errors: Mapping[int, OwnError]) -> Iterator[str]:
    for count, index in enumerate(sorted(errors)):
        row, error = comparison.rows[index], errors[index]
        step = f"  step {row.step}" if row.step else ""
        yield f"[{count:3d}] {row.label}{step}"
        looked = f"{error.sampled} of {error.rows} rows"
        yield f"      law of {error.law} of {error.module}, on {looked}"
        single = error.single
        state = {"keeps": "satisfied", "breaks": "VIOLATED", "unknown": "not this layer's law"}
        yield (
            f"      MSE: {scientific(single.mse)}  max abs {number(single.max_abs)}  relative L2 "
            f"{number(single.relative_l2)}  {state[error.state]}"
        )
        yield from (f"      {cause.name}: {cause.text}" for cause in error.causes)
        if error.model_difference:
            yield f"      model: {error.model_difference}"
