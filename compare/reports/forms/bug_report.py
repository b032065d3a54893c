"""A bug report in Markdown, for the people who maintain an engine: what is wrong and why, its
numbers, how the two runs differ, how to see it again, and what was looked at and is in order.

Paths are shortened to the names of the captures: nothing of the user's home stands in it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ....capture.models.run_details import run_details
from ....capture.plurals import IS, counted, which
from ...checks.two_sides import check_pair
from ...inspection.naming import command_line
from ...inspection.report import row_report
from ...vocabulary import MARKS, NOT_PASSED
from ..component_growth import growth_by_component
from ..escaping import clean
from ..findings import BADGES, columns_of, does_not_pass, headings, reports_of
from ..form import Part, Settings, is_one
from ..places import without_places
from .markdown import (
    cases_table,
    code,
    counts_line,
    fence,
    first_lines,
    notes_lines,
    plain_text,
    title_of,
)
from .text_form import side_line

if TYPE_CHECKING:
    from ...checks.finding import Finding
    from ...comparison import Comparison
    from ...model import FirstDivergence
    from ..row_report import RowReport

_MOST_ROWS = 12  # of each table
_TOP = 10  # of the greatest differences
_VIEWS = ("top", "heat")
# What two runs say of themselves, in the words of their headers: what numbers depend on.
_TOLD = (
    "framework", "framework_version", "model", "dtype", "device", "attention",
    "environment.versions.", "environment.hardware.", "environment.precision.", "config.",
    "quantisation", "run.",
)  # fmt: skip


def part(comparison: Comparison, settings: Settings, name: str = "") -> str:
    """The report of one comparison; `name` is that of its case."""
    first, reports = comparison.first_divergence(), reports_of(comparison)
    lines = [f"# {title_of(comparison, first)}" + (f" (case {code(name)})" if name else ""), ""]
    lines += first_lines(first, reports)
    lines += _outcome(comparison)
    lines += _numbers(comparison, first)
    lines += _others(reports, first, settings)
    lines += notes_lines(reports, "## Notes")
    lines += _components(comparison)
    findings = check_pair(comparison)
    lines += _runs(comparison, findings)
    lines += _in_order(comparison, findings)
    lines += _again(comparison, first, settings)
    text = without_places("\n".join(lines), comparison, settings.command)
    return text.rstrip() + "\n"


def whole(parts: Sequence[Part], settings: Settings) -> str:
    """One report; of several cases those that do not agree, below a list of all."""
    if is_one(parts):
        return parts[0].text
    bad = [part.text for part in parts if part.status and not part.problem]
    return "\n".join([*cases_table(parts), "", *bad])


def _outcome(comparison: Comparison) -> list[str]:
    """What else is wrong or doubtful, and what was not compared."""
    outcome = comparison.outcome()
    said = [f"- {plain_text(words)}" for words in (*outcome.reasons, *outcome.doubts)]
    return [*said, *([""] if said else []), counts_line(comparison), ""]


def _numbers(comparison: Comparison, first: FirstDivergence | None) -> list[str]:
    """The first divergence looked at closely, with its heat map as text."""
    if first is None:
        return []
    text = row_report(comparison, first.index, views=_VIEWS, top=_TOP)
    text = text.partition("\nREPRODUCE\n")[0].rstrip()
    return ["## Where it diverges first", "", *fence(text), ""]


def _others(
    reports: Sequence[RowReport], first: FirstDivergence | None, settings: Settings
) -> list[str]:
    """The other rows at which an error was made, and what else does not pass, in a few lines."""
    bad = [r for r in reports if does_not_pass(r) and (first is None or r.row.index != first.index)]
    made = [report for report in bad if "introduced" in report.origin]
    shown = (made or bad)[:_MOST_ROWS]
    if not shown:
        return []
    columns = columns_of(settings.metric)
    heads = ["row", "verdict", "origin", "module-slot", *headings(columns)]
    lines = ["## Other rows that do not agree", "", f"| {' | '.join(heads)} |",
             "|---" * len(heads) + "|"]  # fmt: skip
    for report in shown:
        cells = [
            str(report.row.index), f"{BADGES[report.level]} {report.word}",
            plain_text(report.origin), code(report.name),
            *(report.metric(column) for column in columns),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    left = len(bad) - len(shown)
    more = f"{counted(left, 'more row')} {which(left, 'does', 'do')} not agree."
    return [*lines, "", *([more, ""] if left else [])]


def _components(comparison: Comparison) -> list[str]:
    """What each kind of module adds to the error that it inherits."""
    if not comparison.complete:
        return []
    growth = [each for each in growth_by_component(comparison) if each.level in NOT_PASSED]
    if not growth:
        return []
    lines = ["## By kind of module", "", "Errors relative to those of what a record is made from: "
             "1x adds nothing.", "", "| kind | records | median | worst | at | not passed |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    for each in growth[:_MOST_ROWS]:
        place = "" if each.worst_row is None else comparison.rows[each.worst_row].label
        numbers = ["-" if n is None else f"{n:.3g}x" for n in (each.median, each.worst)]
        told = ", ".join(f"{count} {MARKS[level][1]}" for level, count in each.told)
        cells = [code(each.name), str(each.rows), *numbers, code(place) if place else "", told]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _runs(comparison: Comparison, findings: Sequence[Finding]) -> list[str]:
    """Both runs: what each says of itself, and what was found to differ."""
    lines = ["## The runs", ""]
    sides = (("reference", comparison.reference), ("candidate", comparison.candidate))
    for word, capture in sides:
        lines.append(f"- {word} {code(capture.path)}: {plain_text(side_line(capture))}")
    lines += [f"- {plain_text(finding.line)}" for finding in findings]
    details = [run_details(capture.path) for _, capture in sides]
    rows = list(_details(*details))
    if rows:
        heads = ["| | reference | candidate |", "|---|---|---|"]
        title = "<details><summary>Versions and configuration</summary>"
        lines += ["", title, "", *heads, *rows, "", "</details>"]
    return [*lines, ""]


def _details(left: dict[str, str], right: dict[str, str]) -> Iterator[str]:
    """What is told of both, differences first."""
    keys = [key for key in dict.fromkeys((*left, *right)) if key.startswith(_TOLD)]
    for key in sorted(keys, key=lambda key: left.get(key) == right.get(key)):
        values = (left.get(key, ""), right.get(key, ""))
        cells = (code(value) if value else "" for value in values)
        mark = "" if values[0] == values[1] else " ≠"
        yield f"| {code(key)}{mark} | {' | '.join(cells)} |"


def _in_order(comparison: Comparison, findings: Sequence[Finding]) -> list[str]:
    """What was looked at and found to be fine."""
    levels = comparison.level_counts()
    fine = sum(levels.get(level, 0) for level in ("identical", "ok", "noise"))
    agree = which(fine, "agrees", "agree")
    lines = [f"- {fine} of {counted(comparison.counts.pairs, 'pair')} {agree} up to rounding"]
    laws = comparison.laws
    kept = 0 if laws is None else sum(row.state == "keeps" for row in laws.rows.values())
    if kept:
        lines.append(
            f"- {counted(kept, 'layer', IS)} what their own inputs and parameters imply"
            if kept != 1 else "- one layer is what its own inputs and parameters imply"
        )  # fmt: skip
    found = {finding.code for finding in findings}
    quiet = [words for name, words in _CHECKED if name not in found]
    lines += [f"- checked, nothing found: {', '.join(quiet)}"] if quiet else []
    return ["## What is in order", "", *lines, ""]


# What `check` looks at, by the code of its findings.
_CHECKED = (
    ("inputs", "inputs"), ("weights", "kept weights"), ("incomplete", "incomplete captures"),
    ("unreadable", "unreadable records"), ("steps", "missing steps"), ("layers", "missing layers"),
    ("stale", "stale buffers"), ("constant", "constant outputs"), ("nan", "NaN and Inf"),
    ("config", "configuration"), ("numerics", "precision and determinism settings"),
    ("dtype", "values of less precision than their dtype"),
)  # fmt: skip


def _again(comparison: Comparison, first: FirstDivergence | None, settings: Settings) -> list[str]:
    sides = [os.path.basename(os.path.normpath(side.path)) or side.path
             for side in (comparison.reference, comparison.candidate)]  # fmt: skip
    commands = [settings.command.replace(" --format bug-report", "")]
    if first is not None:
        commands.append(command_line(["layertui", "repro"], [*sides, first.module], []))
    return ["## How to see it again", "", *fence("\n".join(map(clean, commands))), ""]
