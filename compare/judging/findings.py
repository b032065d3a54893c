"""Divergences as findings: the module to look into, why, and what explains it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..aligned import Aligned
from ..model import FirstDivergence, Verdict
from .evidence.further import FurtherEvidence

if TYPE_CHECKING:
    from ..laws.report import LawRow
    from .noise.analysis import Analysis


def first_index(failing: Sequence[int], verdicts: Sequence[Verdict]) -> int | None:
    """The row of the first divergence: of those whose origin is known, the first that was made."""
    if not failing:
        return None
    return next((i for i in failing if verdicts[i].origin != "inherited"), failing[0])


def finding_of(
    aligned: Aligned, verdicts: Sequence[Verdict], analysis: Analysis, evidence: FurtherEvidence,
    index: int,
) -> FirstDivergence:  # fmt: skip
    """A failing row as a finding."""
    row, verdict = aligned.rows[index], verdicts[index]
    module, reason = row.canonical, verdict.reason
    if analysis.origin(index) == "made":
        module = analysis.origin_module(index)
    if module != row.canonical:
        reason = f"introduced inside {module}, whose records before this input agree: {reason}"
    law = _law_of(aligned, evidence, index, module)
    return FirstDivergence(
        index,
        module,
        row.reference.name if row.reference else "",
        row.candidate.name if row.candidate else "",
        row.slot,
        verdict.level,
        reason,
        analysis.confidence(index),
        evidence.symptoms.get(index, ()),
        evidence.output_causes.get(index) if law is None else law.causes,
        "" if law is None else law.model_difference,
        evidence.ranks.get(index, ""),
    )


def findings_of(
    aligned: Aligned, verdicts: Sequence[Verdict], analysis: Analysis, evidence: FurtherEvidence
) -> tuple[FirstDivergence, ...]:
    """Every divergence that was made where it shows, in execution order. One cause in several
    layers is one finding, at the first of them.
    """
    found: list[FirstDivergence] = []
    reported: set[tuple[str, str]] = set()
    for index, verdict in enumerate(verdicts):
        if not verdict.fails or verdict.origin == "inherited":
            continue
        law = evidence.law_rows.get(index)
        if law is not None and law.causes:
            place = law.kind, law.causes[0].name
            if law.causes[0].layers > 1 and place in reported:
                continue
            reported.add(place)
        finding = finding_of(aligned, verdicts, analysis, evidence, index)
        if not any(_is_repeated(finding, other) for other in found):
            found.append(finding)
    return tuple(found)


def _law_of(aligned: Aligned, evidence: FurtherEvidence, index: int, module: str) -> LawRow | None:
    """The law of a row; where it names no cause that of the module to look into, which may have
    been held against another of its records (what it made of a wrong value).
    """
    own = evidence.law_rows.get(index)
    if (own is not None and own.causes) or evidence.laws is None:
        return own
    step = aligned.rows[index].step
    for law in evidence.laws.broken:
        if law.module == module and law.causes and aligned.rows[law.row].step == step:
            return law
    return own


def _is_repeated(one: FirstDivergence, other: FirstDivergence) -> bool:
    """Whether two findings are the same for the same module, about two of its records."""
    return one.module == other.module and bool(one.causes) and one.causes == other.causes
