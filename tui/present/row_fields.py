"""A row in words and numbers: short fields for the pane beside the list, a page for one pair.

The words and numbers are those of `reports.row_report`; here they are put in the order and under
the headings of the screens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...compare.model import ByStatistics
from ...compare.reports.row_report import SIDES, Fact, RowReport, row_report
from ...compare.reports.words import record_shape
from .field import Field
from .origin import symptom_hint
from .text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ...compare.comparison import Comparison
    from ..scene import Scene

_IN_A_LINE = 2  # metrics of the pane


def summary(comparison: Comparison, index: int) -> str:
    """One line, for screens that have no room for the pane."""
    return clean(row_report(comparison, index).summary)


def pane_fields(comparison: Comparison, index: int) -> list[Field]:
    """What the pane shows, most telling first."""
    report = row_report(comparison, index)
    facts = [Fact("row", f"{report.row.index}  {report.row.label}"), *_verdict(report)]
    facts += [*_findings(report), *_metrics(report), *_statistics(report), *report.extremes]
    for side in SIDES:
        record = report.record(side)
        if record is not None:
            facts.append(Fact(side, report.record_line(side)))
            if record.error is not None:
                facts.append(Fact("", record.error, "unreadable"))
    for label, side in zip(("ref values", "cand values"), SIDES, strict=True):
        facts.append(Fact(label, report.statistics_line(side)))
    return _fields((*facts, *report.matched))


def _verdict(report: RowReport) -> Iterator[Fact]:
    yield Fact("verdict", report.verdict_line, report.level)
    yield Fact("gap", report.gap)
    yield Fact("problem", report.problem, report.level)


def _findings(report: RowReport) -> Iterator[Fact]:
    """What is known besides the verdict; in the place of symptoms how they can be had."""
    hint = symptom_hint(report)
    for fact in report.findings:
        if hint and fact.label == "usually":
            yield Fact("looks like", hint)
            hint = ""
        yield fact
    yield Fact("looks like", hint)


def _metrics(report: RowReport) -> Iterator[Fact]:
    """The metrics that can be chosen, two to a line."""
    found = report.chosen_metrics
    for start in range(0, len(found), _IN_A_LINE):
        first, *others = found[start : start + _IN_A_LINE]
        more = "".join(f"{other.label:<8}{other.text}" for other in others)
        yield Fact(first.label, f"{first.text:<11}{more}".rstrip())


def _statistics(report: RowReport) -> Iterator[Fact]:
    """Of a pair that is compared by statistics, each with its difference, in a line."""
    if not isinstance(report.result, ByStatistics):
        return
    from ...compare.reports.statistics_words import difference_table

    for label, left, right, _, relative in difference_table(report.result)[1:]:
        if left and relative:
            yield Fact(label, f"{left} against {right}, relative {relative}")


def _fields(facts: Iterable[Fact]) -> list[Field]:
    return [Field(fact.label, clean(fact.text), fact.level) for fact in facts if fact.text]


def scene_report(scene: Scene) -> RowReport:
    """What is known of what is looked at; of a trial or a rerun its numbers and verdict alone."""
    if scene.trial is None and scene.injected is None:
        return row_report(scene.comparison, scene.index)
    return RowReport(scene.row, scene.verdict, scene.measurement)


def page_fields(scene: Scene) -> list[tuple[str, list[Field]]]:
    """Everything about one pair, in titled sections, for a screen of its own."""
    report = scene_report(scene)
    sections = [("", [*_verdict(report), *_page_findings(report, scene)])]
    if report.measured is not None:
        numbers = (*report.metrics, *report.extremes, *report.view)
        sections.append(("Numbers", list(numbers)))
    matched = report.matched or (Fact("matched by", "not paired"),)
    sections.append(("Matched", list(matched)))
    if report.absent:
        sections.append(("Not computed", sorted(report.absent, key=lambda fact: fact.label)))
    return [(title, _fields(facts)) for title, facts in sections]


def _page_findings(report: RowReport, scene: Scene) -> Iterator[Fact]:
    """Nothing of a trial's: that was not judged among the others."""
    if scene.trial is None and scene.injected is None:
        yield from _findings(report)


def side_table(scene: Scene) -> list[tuple[str, str, str]]:
    """Label, reference, candidate: what both sides are and hold."""
    report = scene_report(scene)
    records = [report.record(side) for side in SIDES]
    rows: list[tuple[str, list[str | None]]] = [
        ("name", [r and r.name for r in records]),
        ("shape", [r and record_shape(r) for r in records]),
        ("dtype", [r and r.dtype for r in records]),
        ("class", [r and r.module_class for r in records]),
        ("file", [r and r.path for r in records]),
        ("error", [r and r.error for r in records]),
    ]
    table = [
        (label, *(text or "-" for text in texts))
        for label, texts in rows
        if label not in ("class", "error") or any(texts)
    ]
    if not isinstance(report.result, ByStatistics):  # else they stand above, with differences
        table += report.statistics_table
    return [(label, clean(left), clean(right)) for label, left, right in table]
