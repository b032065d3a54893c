"""Everything known of one row, as text: for export and the clipboard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ..measuring.metrics import NUMBERS
from ..model import Row
from .escaping import clean
from .row_report import SIDES, Fact, RowReport, Side, row_report

if TYPE_CHECKING:
    from ..comparison import Comparison
    from ..model import Result

_IN_A_LINE = 3  # metrics
_WIDTH = 80
_FIVE = ("relative_l2", "mse", "cosine", "max_abs", "max_rel")  # numbers of the short form


def row_text(
    comparison: Comparison, index: int, row: Row | None = None, result: Result = None
) -> str:
    """Everything known of one row, as text.

    `row` and `result` replace those of the comparison, where other recipes are tried.
    """
    return text_of(judged_report(comparison, index, row, result))


def judged_report(
    comparison: Comparison, index: int, row: Row | None = None, result: Result = None
) -> RowReport:
    """What is known of a row, with where its error comes from, which is worked out if need be."""
    if comparison.complete and comparison.verdicts[index].fails:
        comparison.analysis()  # says where the error comes from
    return row_report(comparison, index, row, result)


def short_text(report: RowReport) -> str:
    """A headline and the five numbers that say most, to be pasted into a message: two lines; of
    what was not measured the headline alone.
    """
    step = f", step {report.row.step}" if report.row.step else ""
    verdict = report.verdict_line
    why = next((text for text in (report.gap, report.problem) if text), "")
    lines = [f"{report.row.label} (row {report.row.index}{step}): {verdict}"]
    lines[0] += f"  {why}" if why else ""
    if report.measured is not None:
        numbers = (f"{NUMBERS[name].heading} {report.metric(name)}" for name in _FIVE)
        lines.append("  " + "  ".join(numbers))
    return "\n".join(clean(line) for line in lines) + "\n"


def text_of(report: RowReport) -> str:
    """The same of what is known already."""
    step = f", step {report.row.step}" if report.row.step else ""
    lines = [f"{report.row.label} (row {report.row.index}{step}): {report.word}"]
    facts = [Fact("reason", report.reason), Fact("problem", report.problem)]
    if report.so_far:
        facts.append(Fact("so far", "judged by its dtype alone: the other rows are not measured"))
    facts += [Fact("origin", report.origin_line), Fact("gap", report.gap), *report.findings]
    lines += _lines(fact for fact in facts if fact.text)
    for side in SIDES:
        lines += _record_lines(report, side)
    lines += _lines((*report.matched, *report.view, *_metrics(report), *report.extremes))
    table = report.statistics_table
    if table:
        lines.append(f"  {'':10} {'reference':>16} {'candidate':>16}")
        lines += [f"  {label:10} {left:>16} {right:>16}" for label, left, right in table]
    lines += [f"  {fact.label} is absent: {fact.text}" for fact in report.absent]
    return "\n".join(clean(line) for line in lines) + "\n"


def _lines(facts: Iterable[Fact]) -> Iterator[str]:
    for fact in facts:
        if fact.full:
            yield from titled_lines(fact)
        else:
            label = f"{fact.title}:" if fact.title else f"{fact.label:11}"
            yield f"  {label} {fact.text}"


def titled_lines(fact: Fact) -> Iterator[str]:
    """A fact by its title and in full, its values in a line of their own: neither is longer than
    a terminal is wide.
    """
    text, _, values = fact.full.partition(": ")
    line = f"  {fact.title}: {text}"
    if len(line) > _WIDTH:
        line, allowed, rest = line.partition(" (up to ")
        values = f"{allowed.strip()} {rest}: {values}" if allowed else values
    yield line
    if values:
        yield f"    {values}"


def _metrics(report: RowReport) -> Iterator[Fact]:
    """The metrics, a few to a line."""
    found = [f"{fact.label} {fact.text}" for fact in report.metrics]
    for start in range(0, len(found), _IN_A_LINE):
        yield Fact("" if start else "error", "  ".join(found[start : start + _IN_A_LINE]))


def _record_lines(report: RowReport, side: Side) -> Iterator[str]:
    record = report.record(side)
    yield f"  {side:11} {report.record_line(side)}"
    if record is None:
        return
    yield from _lines([Fact("", record.path + (f" [{record.key}]" if record.key else ""))])
    if record.module_class:
        yield from _lines([Fact("", f"class {record.module_class}")])
    if record.error:
        yield from _lines([Fact("", f"unreadable: {record.error}")])
