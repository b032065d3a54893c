"""The form of the C++ against Python workflow by text dumps: a line a tensor with `max_abs`,
`max_rel`, `cos_sim` and a level, and the first tensor with a significant difference.

    SIGNIFICANT   fails by the policy (with --rtol and --atol: allclose is false)
    EXCELLENT     passes, and max_abs is below 1e-4
    GOOD          passes, and max_abs is below 1e-3
    ACCEPTABLE    passes, with a greater difference

The level follows the verdict: what fails is never called acceptable, however small the numbers.
"""

from __future__ import annotations

from collections import Counter

from ....capture.plurals import counted
from ...comparison import Comparison
from ...model import FirstDivergence, Measurement
from ...vocabulary import NOT_PASSED
from ..escaping import clean
from ..findings import reports_of
from ..form import Settings
from ..law_words import labelled_causes
from ..nothing_compared import NOTHING, nothing_compared
from ..row_report import RowReport
from ..words import mismatch_text, record_shape, wrapped
from .text_form import whole

__all__ = ["LEVELS", "level_of", "part", "whole"]

EXCELLENT, GOOD = 1e-4, 1e-3  # greatest absolute difference
LEVELS = ("EXCELLENT", "GOOD", "ACCEPTABLE", "SIGNIFICANT")
_MOST_NAME = 42  # characters that a name has before it pushes the columns
_UNKNOWN = "-"


def level_of(report: RowReport) -> str:
    """The level of a pair; `-` for what could not be compared or is not judged."""
    if report.level in ("unreadable", "pending", "missing") or report.verdict.doubtful:
        return _UNKNOWN
    if report.level in NOT_PASSED:
        return "SIGNIFICANT"
    found = report.measured
    if found is None:
        return _UNKNOWN
    if report.level == "drift" or found.max_abs is None:
        return "ACCEPTABLE" if found.max_abs is not None else "EXCELLENT"
    return next(
        (level for level, most in (("EXCELLENT", EXCELLENT), ("GOOD", GOOD))
         if found.max_abs < most), "ACCEPTABLE",
    )  # fmt: skip


def part(comparison: Comparison, settings: Settings, name: str) -> str:
    """The report of one comparison."""
    pairs = [report for report in reports_of(comparison) if report.row.kind == "pair"]
    levels = [level_of(report) for report in pairs]
    width = min(max((len(_name(report)) for report in pairs), default=6), _MOST_NAME)
    lines = [
        _headline(comparison, pairs),
        "",
        f"reference  {comparison.reference.path}",
        f"candidate  {comparison.candidate.path}",
        f"policy     {comparison.policy.describe()}",
        "",
        f"{'tensor':{width}} {'max_abs':>10} {'max_rel':>10} {'cos_sim':>10}  level",
        *(_line(report, level, width) for report, level in zip(pairs, levels, strict=True)
          if not (settings.only_diverged and level in LEVELS[:3])),
        "",
        *_counts(comparison, levels),
        *_allclose(comparison),
        *_gaps(comparison),
        *_reasons(comparison),
        *_first(comparison),
        "",
        settings.command,
    ]  # fmt: skip
    return "\n".join(clean(line) for line in lines) + "\n"


def _headline(comparison: Comparison, pairs: list[RowReport]) -> str:
    nothing = nothing_compared(comparison)
    if nothing is not None:
        return nothing.line
    first = comparison.first_divergence()
    if first is not None:
        return f"first significant difference: {_tensor(pairs, first)}"
    if comparison.exit_status():
        return "no significant difference found, but not everything could be compared"
    return f"no significant difference in {counted(len(pairs), 'tensor')}"


def _tensor(pairs: list[RowReport], first: FirstDivergence) -> str:
    return next((_name(report) for report in pairs if report.row.index == first.index), "")


def _name(report: RowReport) -> str:
    """The shorter of the names that the dumps have; where that is too long, that of other
    reports.
    """
    row = report.row
    names = [record.name for record in (row.reference, row.candidate) if record is not None]
    step = f" step {row.step}" if row.step else ""
    name = min(names, key=len)
    return (name if len(name) <= _MOST_NAME else row.label) + step


def _line(report: RowReport, level: str, width: int) -> str:
    name = f"{_name(report):{width}}"
    if report.measured is None:
        return f"{name} {report.word}: {report.reason or report.problem}"
    columns = " ".join(f"{report.metric(key):>10}" for key in ("max_abs", "max_rel", "cosine"))
    why = f" ({report.word})" if level == _UNKNOWN else ""
    return f"{name} {columns}  {level}{why}"


def _counts(comparison: Comparison, levels: list[str]) -> list[str]:
    found = Counter(levels)
    words = [f"{found[level]} {level}" for level in LEVELS]
    if found[_UNKNOWN]:
        words.append(f"{found[_UNKNOWN]} not compared")
    return [", ".join(words)]


def _allclose(comparison: Comparison) -> list[str]:
    """What `allclose` gives at the tolerance that was asked for; nothing where none was."""
    rtol, atol = comparison.policy.tolerance
    if rtol is None and atol is None:
        return []
    found = [each for each in comparison.measurements if isinstance(each, Measurement)]
    close = sum(not each.mismatched for each in found)
    apart, count = sum(each.mismatched for each in found), sum(each.count for each in found)
    return [
        f"allclose at rtol {rtol:g}, atol {atol:g}: {close} of {counted(len(found), 'tensor')}",
        f"mismatched elements: {mismatch_text(apart, count)}",
    ]


def _gaps(comparison: Comparison) -> list[str]:
    """What only one side has, so that nothing is left out."""
    lines = []
    for kind, side in (("gap_reference", "reference"), ("gap_candidate", "candidate")):
        records = [row.reference or row.candidate for row in comparison.rows if row.kind == kind]
        if records:
            lines += ["", f"only in the {side}:"]
            lines += [f"  {r.name} {record_shape(r)}" for r in records if r is not None]
    return lines


def _reasons(comparison: Comparison) -> list[str]:
    outcome = comparison.outcome()
    lines = [*outcome.reasons, *outcome.doubts]
    return ["", *(f"- {line}" for line in lines)] if lines else []


def _first(comparison: Comparison) -> list[str]:
    first = comparison.first_divergence()
    nothing = nothing_compared(comparison)
    if nothing is not None:
        return ["", f"{NOTHING}:", *(f"  {reason}" for reason in nothing.reasons)]
    if first is None:
        return []
    lines = ["", f"first significant difference: {first.module}", *wrapped(first.reason)]
    for label, line in labelled_causes(first.causes, first.model_difference):
        lines += wrapped(f"{label}: {line}")
    return lines
