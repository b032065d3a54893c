"""Gathering the further evidence and judging by it: everything here may read records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from .aligned import Aligned, Results
from .judging.evidence.further import FurtherEvidence
from .judging.judgement import Judgement
from .judging.outcome import Demands
from .judging.policies.base import Policy
from .model import Layout

if TYPE_CHECKING:
    from .judging.noise.analysis import Analysis
    from .judging.noise.floor import Baselines
    from .model import FirstDivergence
    from .symptoms.parameters import Stored
    from .weights.models import Models


def gather_and_judge(
    aligned: Aligned, results: Results, policy: Policy, known: FurtherEvidence, demands: Demands,
    baselines: Baselines | None = None, models: Models | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> tuple[FurtherEvidence, Judgement]:  # fmt: skip
    """The evidence that needs all measurements, and what `policy` makes of it. Of what is `known`
    laws and symptoms are kept. What the first divergence looks like is worked out, and, where no
    law applies to it and `models` are given, what explains it.
    """
    evidence = replace(_from_records(aligned, results, known), layouts={}, quantised={}, instead={})
    if baselines is not None:
        floors = baselines.floors(aligned, results, cancelled)
        evidence = replace(evidence, floors=floors, floor_notes=tuple(baselines.notes))
    judgement = policy.judge_all(aligned, results, evidence, demands)
    layouts = _layouts(aligned, results, policy, judgement)
    stored = _stored(aligned, results, judgement, cancelled)
    if layouts or stored.layouts or stored.quantised:
        layouts = {**layouts, **stored.layouts}
        evidence = replace(evidence, layouts=layouts, quantised=stored.quantised)
        judgement = policy.judge_all(aligned, results, evidence, demands)
    instead = _instead(aligned, results, judgement)
    if instead:
        evidence = replace(evidence, instead=instead)
        judgement = policy.judge_all(aligned, results, evidence, demands)
    first, analysis = judgement.first, judgement.analysis
    if first is not None and analysis is not None:
        evidence = with_symptoms(evidence, aligned, results, analysis, first.index)
        evidence = _with_output_causes(evidence, aligned, results, analysis, first, models)
        causes = evidence.output_causes.get(first.index, first.causes)
        if first.index not in evidence.ranks:
            from .ranks.blame import rank_to_blame

            ranks = {**evidence.ranks, first.index: rank_to_blame(aligned, first.index)}
            evidence = replace(evidence, ranks=ranks)
        first = replace(
            first, symptoms=evidence.symptoms[first.index], causes=causes,
            rank=evidence.ranks[first.index],
        )  # fmt: skip
        judgement = replace(judgement, first=first)
    return evidence, judgement


def _from_records(aligned: Aligned, results: Results, known: FurtherEvidence) -> FurtherEvidence:
    """What routers, dropout modules and equal bits show; read once for the same measurements."""
    from .judging.noise.dropout import judging_of
    from .judging.noise.expert_routing import find_routings
    from .judging.sameness import equal_bits, same_files

    if known.from_records:
        return known
    same = same_files(aligned.reference, aligned.candidate)
    if same is None and results.complete:
        same = equal_bits(aligned, results)
    routings = find_routings(aligned, results)
    return replace(
        known, routings=routings, dropout=judging_of(aligned), same=same,
        from_records=results.complete,
    )  # fmt: skip


def _layouts(
    aligned: Aligned, results: Results, policy: Policy, judgement: Judgement
) -> dict[int, Layout]:
    """Pairs whose values are in another order, where the policy asks for them."""
    from .symptoms.layouts import explained_layouts

    analysis = judgement.analysis
    if "layouts" not in policy.needs or analysis is None or not results.complete:
        return {}
    errors = analysis.origins.errors
    wrong = {
        index for index, verdict in enumerate(judgement.verdicts)
        if verdict.level == "diverged" and index in errors.facts
    }  # fmt: skip
    return explained_layouts(aligned, results, errors, wrong | analysis.origins.doubtful.keys())


def _instead(aligned: Aligned, results: Results, judgement: Judgement) -> dict[int, str]:
    """What the records of doubtful pairs are instead."""
    from .matching.content.instead import what_instead

    doubtful = [aligned.rows[i] for i, verdict in enumerate(judgement.verdicts) if verdict.doubtful]
    return what_instead(aligned, doubtful) if doubtful and results.complete else {}


def _stored(
    aligned: Aligned, results: Results, judgement: Judgement,
    cancelled: Callable[[], bool] | None,
) -> Stored:  # fmt: skip
    """Parameters that differ by how they are stored; where the policy asks for origins."""
    from .symptoms.parameters import Stored, differently_stored

    analysis = judgement.analysis
    if analysis is None or not results.complete:
        return Stored({}, {})
    wrong = [
        index for index, verdict in enumerate(judgement.verdicts)
        if verdict.level == "diverged" and index in analysis.facts
        and analysis.facts[index].parameter
    ]  # fmt: skip
    return differently_stored(aligned, results, wrong, cancelled)


def _with_output_causes(
    evidence: FurtherEvidence, aligned: Aligned, results: Results, analysis: Analysis,
    first: FirstDivergence, models: Models | None,
) -> FurtherEvidence:  # fmt: skip
    """Causes that need no law, where none applies to the first divergence: in its output alone."""
    from .laws.numerics.quantities import Key
    from .laws.same_inputs import causes_of_output
    from .running.law_checks import scene_of

    index, row = first.index, aligned.rows[first.index]
    plain = first.module == row.canonical and row.slot == "output"
    if models is None or evidence.laws is None or index in evidence.law_rows or not plain:
        return evidence
    if index in evidence.output_causes:
        return evidence
    key = Key(row.canonical, row.slot, row.step, row.call)
    scene = scene_of(aligned, results, models)
    found = causes_of_output(scene, key, analysis.expected(index))
    known = evidence.output_causes
    return replace(evidence, output_causes={**known, index: found} if found else known)


def with_symptoms(
    evidence: FurtherEvidence, aligned: Aligned, results: Results, analysis: Analysis, index: int
) -> FurtherEvidence:
    """The evidence with what the difference on row `index` looks like, the best explanation first;
    nothing where it cannot be read. Reads a bounded part of the records unless it is known.
    """
    from .measuring.bounded_sample import UNREADABLE
    from .symptoms.diagnosis import symptoms_of

    if index in evidence.symptoms:
        return evidence
    try:
        found = symptoms_of(aligned, results, analysis, index)
    except UNREADABLE:
        found = ()
    return replace(evidence, symptoms={**evidence.symptoms, index: found})
