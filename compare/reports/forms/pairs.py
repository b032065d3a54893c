"""The pairs one by one, as `compare_tensors` and torch.testing have them: shapes, mismatched
elements, the greatest absolute and relative difference with index.
"""

from __future__ import annotations

from collections.abc import Iterator

from ....capture.plurals import counted
from ...comparison import Comparison
from ..escaping import clean
from ..findings import agreement_of, does_not_pass, reports_of
from ..form import Settings
from ..nothing_compared import nothing_compared
from ..row_report import SIDES, RowReport
from ..row_text import titled_lines
from ..words import record_shape, wrapped
from .text_form import whole

__all__ = ["part", "whole"]


def part(comparison: Comparison, settings: Settings, name: str) -> str:
    """The report of one comparison."""
    reports = reports_of(comparison)
    pairs = [report for report in reports if report.row.kind == "pair"]
    shown = [r for r in pairs if does_not_pass(r) or not settings.only_diverged]
    lines = [*_head(comparison, len(pairs)), ""]
    for report in shown:
        lines += [*_pair(report), ""]
    for side in SIDES:
        gaps = [r.record(side) for r in reports if r.row.kind == f"gap_{side}"]
        if gaps:
            lines += [f"only in the {side}:"]
            lines += [f"  {record.name} {record_shape(record)}" for record in gaps if record]
            lines.append("")
    lines.append(settings.command)
    return "\n".join(clean(line) for line in lines) + "\n"


def _head(comparison: Comparison, count: int) -> list[str]:
    counts = comparison.counts
    first = comparison.first_divergence()
    answer = agreement_of(comparison)
    if first is not None and nothing_compared(comparison) is None:
        answer = f"first divergence: {comparison.rows[first.index].label}"
    return [
        f"{counted(count, 'matching pair')}, {counts.gaps_reference} only in the reference, "
        f"{counts.gaps_candidate} only in the candidate",
        answer,
        *(f"- {reason}" for reason in comparison.outcome().reasons),
        f"reference  {comparison.reference.path}",
        f"candidate  {comparison.candidate.path}",
    ]


def _pair(report: RowReport) -> Iterator[str]:
    yield f"{report.name}: {report.word}"
    for side in SIDES:
        yield f"  {side:10} {report.record_line(side)}"
    for fact in report.matched:
        if fact.label.endswith("recipe"):
            yield f"  {fact.label:11} {fact.text}"
    if report.measured is None or does_not_pass(report):
        yield from wrapped(report.reason or report.problem)
    facts = sorted(report.extremes, key=lambda fact: fact.label != "mismatched")
    for fact in facts:
        if fact.full:
            yield from titled_lines(fact)
        elif fact.label == "partial":
            yield f"  {fact.text}"
        elif fact.label != "fit":
            yield f"  {fact.title or fact.label}: {fact.text}"
