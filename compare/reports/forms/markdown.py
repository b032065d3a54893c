"""Markdown for a comment on GitHub: the finding first, tables folded away, never too long.

A comment may have 65,536 characters; tables end before that, and say how many rows are left out.
Names come from files: they stand in code spans, which neither format nor mention.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ....capture.plurals import IS, counted, which
from ....capture.records import Capture
from ...aligned import SideName
from ...comparison import Comparison
from ...model import FirstDivergence
from ..effect_words import effect_line
from ..escaping import clean
from ..findings import (
    BADGES,
    agreement_of,
    columns_of,
    does_not_pass,
    first_facts,
    headings,
    reports_of,
    word_of,
)
from ..form import Part, Settings, is_one
from ..row_report import RowReport
from ..words import sure_text
from .text_form import side_line

MOST = 60_000  # characters of one comparison in a comment
_MOST_IN_ALL = 65_000  # of the whole comment, with the list of cases
_MOST_CELL = 300
_MOST_NOTES = 5
_MOST_ROW_NOTES = 20


def part(comparison: Comparison, settings: Settings, name: str = "", most: int = MOST) -> str:
    """The report of one comparison, at most `most` characters."""
    first = comparison.first_divergence()
    reports = reports_of(comparison)
    outcome = comparison.outcome()
    status = outcome.status
    title = f"### {'✅' if status == 0 else '❌'} {title_of(comparison, first)}"
    if name:
        title += f" (case {code(name)})"
    why = [f"- {plain_text(reason)}" for reason in outcome.reasons]
    head = [title, "", *first_lines(first, reports), *([*why, ""] if why else [])]
    head += _summary(comparison, outcome.doubts)
    head += notes_lines(reports, "")
    foot = ["", "Reproduce with:", "", *fence(clean(settings.command)), ""]
    room = most - sum(len(line) + 1 for line in (*head, *foot))
    columns = columns_of(settings.metric)
    tables: list[str] = []
    bad = [report for report in reports if does_not_pass(report)]
    if bad:
        tables += _table(
            f"{counted(len(bad), 'row')} that {which(len(bad), 'does', 'do')} not agree",
            bad,
            columns,
            room,
        )
    elif not settings.only_diverged:
        tables += _table(f"All {len(reports)} rows, in execution order", reports, columns, room)
    return "\n".join([*head, *tables, *foot])


def whole(parts: Sequence[Part], settings: Settings) -> str:
    """The whole comment; of many cases a list of what agrees, then those that do not."""
    if is_one(parts):
        return parts[0].text
    text = "\n".join([*cases_table(parts), ""])
    left = 0
    for part in sorted(parts, key=lambda part: part.status == 0):
        if part.problem:
            continue
        if len(text) + len(part.text) > _MOST_IN_ALL:
            left += 1
            continue
        text += "\n" + part.text
    cases = counted(left, "case", IS)
    return text + (f"\n{cases} left out here: too long for a comment.\n" if left else "")


def cases_table(parts: Sequence[Part]) -> list[str]:
    """What came of each case."""
    lines = ["| case | result |", "|---|---|"]
    for part in parts:
        words = part.problem or part.result
        lines.append(f"| {code(part.name)} | {'✅' if part.status == 0 else '❌'} {_cell(words)} |")
    return lines


def title_of(comparison: Comparison, first: FirstDivergence | None) -> str:
    if first is not None:
        return f"first divergence: {code(first.module)}"
    return plain_text(agreement_of(comparison), _MOST_CELL)


def first_lines(first: FirstDivergence | None, reports: Sequence[RowReport]) -> list[str]:
    if first is None:
        return []
    name = code(reports[first.index].name)
    sure = "" if first.confidence is None else f", {sure_text(first.confidence)}"
    lines = [
        f"**{word_of(first.verdict)}** at {name} (row {first.index}){sure}",
        "",
        f"- {plain_text(first.reason)}",
        f"- reference {code(first.reference)}, candidate {code(first.candidate)}",
    ]
    lines += [f"- {fact.label}: {plain_text(fact.text)}" for fact in first_facts(first)]
    return [*lines, ""]


def counts_line(comparison: Comparison) -> str:
    """How many pairs there are with which verdicts, and what has no partner or cannot be read."""
    counts = comparison.counts
    paired = "" if counts.coverage is None else f", {counts.coverage:.0%} of the outputs paired"
    verdicts = ", ".join(
        f"{count} {word_of(level)}"
        for level, count in comparison.level_counts().items()
        if level != "missing"
    )
    return (
        f"{counted(counts.pairs, 'pair')} ({verdicts or 'none'}), {counts.gaps_reference} only in "
        f"the reference, {counts.gaps_candidate} only in the candidate, {counts.unreadable} "
        f"unreadable{paired}"
    )


def _summary(comparison: Comparison, doubts: Sequence[str]) -> list[str]:
    lines = [counts_line(comparison), ""]
    sides: tuple[SideName, ...] = ("reference", "candidate")
    for word in sides:
        side: Capture = getattr(comparison, word)
        notes = comparison.notes(word)
        lines.append(f"- {word} {code(side.path)}: {plain_text(side_line(side))}")
        lines += [f"  - {plain_text(note)}" for note in notes[:_MOST_NOTES]]
        more = len(notes) - _MOST_NOTES
        lines += [f"  - and {more} more notes"] if more > 0 else []
    lines += [f"- ⚠️ {plain_text(doubt)}" for doubt in doubts]
    effect = comparison.known_effect
    lines += [f"- {plain_text(effect_line(effect))}"] if effect is not None else []
    return [*lines, f"- policy {plain_text(comparison.policy.describe())}", ""]


def notes_lines(reports: Sequence[RowReport], heading: str) -> list[str]:
    """What people wrote on rows, a line each below the heading; nothing where nobody did."""
    noted = [report for report in reports if report.note]
    if not noted:
        return []
    said = [
        f"- note on {code(report.name)} (row {report.row.index}, {word_of(report.level)}): "
        f"{plain_text(report.note)}"
        for report in noted[:_MOST_ROW_NOTES]
    ]
    left = len(noted) - _MOST_ROW_NOTES
    said += [f"- and {left} more notes"] if left > 0 else []
    return [*([heading, ""] if heading else []), *said, ""]


def _table(
    title: str, rows: Sequence[RowReport], columns: Sequence[str], room: int
) -> list[str]:  # fmt: skip
    """A folded table of as many rows as `room` characters hold."""
    heads = ["row", "verdict", "origin", "module-slot", *headings(columns)]
    heads += ["reference", "candidate", "reason"]
    lines = [
        f"<details><summary>{title}</summary>", "",
        f"| {' | '.join(heads)} |", "|---" * len(heads) + "|",
    ]  # fmt: skip
    room -= sum(len(line) + 1 for line in lines) + 120
    shown_rows = 0
    for row in rows:
        line = _row(row, columns)
        room -= len(line) + 1
        if room < 0:
            break
        lines.append(line)
        shown_rows += 1
    left = len(rows) - shown_rows
    lines.append("")
    if left:
        lines += [f"{left} more {which(left, 'row', 'rows')}: too long for a comment.", ""]
    return [*lines, "</details>", ""]


def _row(report: RowReport, columns: Sequence[str]) -> str:
    explained = report.level == "drift" or does_not_pass(report)
    cells = [
        str(report.row.index), f"{BADGES[report.level]} {report.word}", _cell(report.origin),
        code(report.name), *(report.metric(name) for name in columns),
        _cell(report.shape_line("reference")), _cell(report.shape_line("candidate")),
        _cell(report.reason if explained else ""),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def code(text: str) -> str:
    """A code span, whatever backticks `text` has; `|` is escaped, as tables want it."""
    plain = clean(text)
    plain = plain if len(plain) <= _MOST_CELL else plain[: _MOST_CELL - 1] + "…"
    longest = max((len(run) for run in re.findall("`+", plain)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if longest or plain != plain.strip() or not plain else ""
    return f"{fence}{pad}{plain}{pad}{fence}".replace("|", "\\|")


_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#+!|~$@&:]|(?<=www)\.)")


def plain_text(text: str, most: int = 1000) -> str:
    """Text without formatting, links or mentions, on one line of at most `most` characters."""
    plain = clean(str(text))
    plain = plain if len(plain) <= most else plain[: most - 1] + "…"
    return _SPECIAL.sub(lambda match: f"&#{ord(match[1])};", plain)


def _cell(text: str) -> str:
    return plain_text(text, _MOST_CELL)


def fence(text: str) -> list[str]:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence, text, fence]
