"""Markdown for a comment on GitHub: the finding first, tables folded away, never too long.

A comment may have 65,536 characters; tables end before that, and say how many rows are left out.
Names come from files: they stand in code spans, which neither format nor mention.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..comparison import Comparison
from ..measuring.metrics import METRICS
from .effect_words import effect_line
from .escaping import clean
from .findings import (
    BADGES,
    FAILED,
    agreement_of,
    cause_words,
    confidence_of,
    failing,
    name_of,
    shape_of,
    shown,
    symptom_lines,
    verdict_of,
    word_of,
)
from .form import Part, Settings, is_one
from .json_form import json_report
from .text_form import side_line

MOST = 60_000  # characters of one comparison in a comment
_MOST_IN_ALL = 65_000  # of the whole comment, with the list of cases
_MOST_CELL = 300
_MOST_NOTES = 5
_COLUMNS = ("mse", "relative_l2", "max_abs", "cosine")


def part(comparison: Comparison, settings: Settings, name: str = "", most: int = MOST) -> str:
    """The report of one comparison, at most `most` characters."""
    report = json_report(comparison, settings.command, settings.min_coverage)
    outcome = comparison.outcome(settings.min_coverage)
    status = outcome.status
    title = f"### {'✅' if status == 0 else '❌'} {_title(report, status)}"
    if name:
        title += f" (case {code(name)})"
    why = [f"- {_plain(reason)}" for reason in outcome.reasons]
    head = [title, "", *_first(report), *([*why, ""] if why else [])]
    head += _summary(comparison, report)
    foot = ["", "Reproduce with:", "", *_fence(clean(settings.command)), ""]
    room = most - sum(len(line) + 1 for line in (*head, *foot))
    columns = tuple(dict.fromkeys((settings.metric, *_COLUMNS)))
    tables: list[str] = []
    bad = failing(report["rows"])
    if bad:
        tables += _table(f"{len(bad)} rows that do not agree", bad, columns, room)
    elif not settings.only_diverged:
        rows = report["rows"]
        tables += _table(f"All {len(rows)} rows, in execution order", rows, columns, room)
    return "\n".join([*head, *tables, *foot])


def whole(parts: Sequence[Part], settings: Settings) -> str:
    """The whole comment; of many cases a list of what agrees, then those that do not."""
    if is_one(parts):
        return parts[0].text
    lines = ["| case | result |", "|---|---|"]
    for part in parts:
        said = part.problem or part.result
        lines.append(f"| {code(part.name)} | {'✅' if part.status == 0 else '❌'} {_cell(said)} |")
    text = "\n".join([*lines, ""])
    left = 0
    for part in sorted(parts, key=lambda part: part.status == 0):
        if part.problem:
            continue
        if len(text) + len(part.text) > _MOST_IN_ALL:
            left += 1
            continue
        text += "\n" + part.text
    return text + (f"\n{left} cases are left out here: no room in a comment.\n" if left else "")


def _title(report: Mapping[str, Any], status: int) -> str:
    first = report["first_divergence"]
    if first is not None:
        return f"first divergence: {code(first['module'])}"
    if status == 0:
        return agreement_of(report)
    return "no divergence found, but not everything compared"


def _first(report: Mapping[str, Any]) -> list[str]:
    first = report["first_divergence"]
    if first is None:
        return []
    row = report["rows"][first["index"]]
    sure = confidence_of(first)
    lines = [
        f"**{word_of(first['verdict'])}** at {code(name_of(row))} (row {first['index']})"
        + (f", confidence {sure}" if sure else ""),
        "",
        f"- {_plain(first['reason'])}",
        f"- reference {code(first['reference'])}, candidate {code(first['candidate'])}",
    ]
    lines += [f"- {label}: {_plain(line)}" for label, line in cause_words(first)]
    lines += [f"- symptom: {_plain(line)}" for line in symptom_lines(first)]
    return [*lines, ""]


def _summary(comparison: Comparison, report: Mapping[str, Any]) -> list[str]:
    counts = report["counts"]
    coverage = counts["coverage"]
    paired = "" if coverage is None else f", {coverage:.0%} of the outputs paired"
    verdicts = ", ".join(
        f"{count} {word_of(level)}"
        for level, count in report["verdicts"].items()
        if level != "missing"
    )
    lines = [
        f"{counts['pairs']} pairs ({verdicts or 'none'}), {counts['gaps_reference']} only in the "
        f"reference, {counts['gaps_candidate']} only in the candidate, {counts['unreadable']} "
        f"unreadable{paired}",
        "",
    ]
    for word, side in (("reference", comparison.reference), ("candidate", comparison.candidate)):
        lines.append(f"- {word} {code(side.path)}: {_plain(side_line(side))}")
        lines += [f"  - {_plain(note)}" for note in side.notes[:_MOST_NOTES]]
        more = len(side.notes) - _MOST_NOTES
        lines += [f"  - and {more} more notes"] if more > 0 else []
    lines += [f"- ⚠️ {_plain(doubt)}" for doubt in report["outcome"]["doubts"]]
    effect = comparison.known_effect
    lines += [f"- {_plain(effect_line(effect))}"] if effect is not None else []
    return [*lines, f"- policy {_plain(report['policy'])}", ""]


def _table(
    title: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str], room: int
) -> list[str]:
    """A folded table of as many rows as `room` characters hold."""
    heads = ["row", "verdict", "origin", "module-slot"]
    heads += [METRICS[name].heading for name in columns]
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
        lines += [f"{left} more rows: no room in a comment.", ""]
    return [*lines, "</details>", ""]


def _row(row: Mapping[str, Any], columns: Sequence[str]) -> str:
    level = row["verdict"]
    cells = [
        str(row["index"]), f"{BADGES[level]} {verdict_of(row)}", _cell(row["origin"] or ""),
        code(name_of(row)), *(shown(row, name) for name in columns),
        _cell(shape_of(row, "reference")), _cell(shape_of(row, "candidate")),
        _cell(row["reason"] if level in ("drift", *FAILED) else ""),
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


def _plain(text: str, most: int = 1000) -> str:
    """Text without formatting, links or mentions, on one line of at most `most` characters."""
    plain = clean(str(text))
    plain = plain if len(plain) <= most else plain[: most - 1] + "…"
    return _SPECIAL.sub(lambda match: f"&#{ord(match[1])};", plain)


def _cell(text: str) -> str:
    return _plain(text, _MOST_CELL)


def _fence(text: str) -> list[str]:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence, text, fence]
