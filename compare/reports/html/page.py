"""One HTML file: the finding, the plot, heat maps of the worst pairs, a table to sort and filter.

It needs no network and may load nothing: the page's own content security policy allows its one
style sheet, its one script (both by hash) and images that are in the file. Names come from files:
everything is escaped.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from hashlib import sha256
from html import escape
from typing import Any

from ...comparison import Comparison
from ...measuring.metrics import METRICS
from ...model import Measurement
from ...vocabulary import MARKS
from ..escaping import clean
from ..findings import (
    FAILED,
    agreement_of,
    cause_words,
    confidence_of,
    name_of,
    shape_of,
    shown,
    symptom_lines,
    value_of,
    verdict_of,
    word_of,
)
from ..form import Part, Settings, is_one
from ..json_form import json_report
from ..row_text import row_text
from ..text_form import side_line, summary_lines
from .assets import SCRIPT, STYLE
from .picture import picture

_TOP_PAIRS = 6
_LEGEND = (
    '<p class="legend">Green agrees, amber drifts, red does not. At the lower edge: equal rows, '
    "and grey those without a partner. The dashed line is the first divergence; a point leads to "
    "its row.</p>"
)
_COLUMNS = ("mse", "relative_l2", "max_abs", "cosine")


def part(comparison: Comparison, settings: Settings, name: str = "") -> str:
    """The part of the page that is about one comparison."""
    report = json_report(comparison, settings.command, settings.min_coverage)
    mark = f"c{sha256(name.encode()).hexdigest()[:8]}" if name else "c"
    for row in report["rows"]:
        row["anchor"] = f"{mark}-{row['index']}"
    outcome = comparison.outcome(settings.min_coverage)
    title = f"<h2>case {_text(name)}</h2>" if name else ""
    return "\n".join(
        [
            f'<section class="case" id="{mark}">', title,
            _banner(report, outcome.status),
            _list("Outcome", outcome.lines()) if outcome.status or outcome.doubts else "",
            _captures(comparison),
            _list("Summary", summary_lines(comparison)),
            f"<h3>{_text(METRICS[_plotted(settings)].heading)} in execution order</h3>",
            picture(comparison, report["rows"], _plotted(settings)), _LEGEND,
            _heat_maps(comparison, report["rows"]),
            _table(comparison, report["rows"], settings),
            "<h3>Reproduce</h3>", f"<pre>{_text(settings.command)}</pre>", "</section>",
        ]
    )  # fmt: skip


def whole(parts: Sequence[Part], settings: Settings) -> str:
    """The whole file; of many cases with a list of them on top."""
    title = "layertui comparison"
    body: list[str] = [f"<h1>{title}</h1>"]
    if not is_one(parts):
        body += ["<ul>", *(_case_line(part) for part in parts), "</ul>"]
    body += [part.text for part in parts if part.problem is None]
    policy = (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src '{_hash(STYLE)}'; script-src '{_hash(SCRIPT)}'"
    )
    return "\n".join(
        [
            '<!DOCTYPE html>', '<html lang="en">', "<head>", '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}</title>", f"<style>{STYLE}</style>", "</head>", "<body>",
            *body, f"<script>{SCRIPT}</script>", "</body>", "</html>", "",
        ]
    )  # fmt: skip


def _case_line(part: Part) -> str:
    mark = f"c{sha256(part.name.encode()).hexdigest()[:8]}"
    said = f"{'✅' if part.status == 0 else '❌'} {part.result}"
    if part.problem:
        return f"<li>{_text(part.name)}: {said}: {_text(part.problem)}</li>"
    return f'<li><a href="#{mark}">{_text(part.name)}</a>: {said}</li>'


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(sha256(text.encode()).digest()).decode()


def _text(text: object) -> str:
    return escape(clean(str(text)))


def _plotted(settings: Settings) -> str:
    """What the plot shows: a likeness has no place on an axis of errors."""
    return settings.metric if METRICS[settings.metric].greater_is_worse else "mse"


def _banner(report: Mapping[str, Any], status: int) -> str:
    first = report["first_divergence"]
    if first is None:
        said = agreement_of(report).capitalize()
        if status:
            said = "No divergence found, but not everything could be compared"
        return (
            f'<div class="banner {"good" if status == 0 else "bad"}"><strong>{said}</strong></div>'
        )
    row = report["rows"][first["index"]]
    sure = confidence_of(first)
    sure = f", confidence {sure}" if sure else ""
    lines = [
        '<div class="banner bad">',
        f"<strong>First divergence: <code>{_text(first['module'])}</code></strong>",
        f'<p><a href="#{row["anchor"]}">row {first["index"]}</a> '
        f"<code>{_text(name_of(row))}</code>: {word_of(first['verdict'])}{sure}</p>",
        f"<p>{_text(first['reason'])}</p>",
        f"<p>reference <code>{_text(first['reference'])}</code><br>"
        f"candidate <code>{_text(first['candidate'])}</code></p>",
    ]
    causes = cause_words(first)
    if causes:
        lines.append(_items([f"{label}: {line}" for label, line in causes]))
    symptoms = symptom_lines(first)
    if symptoms:
        lines.append(_items(symptoms))
    return "\n".join([*lines, "</div>"])


def _captures(comparison: Comparison) -> str:
    parts = ["<h3>Captures</h3>", "<dl>"]
    for word, side in (("reference", comparison.reference), ("candidate", comparison.candidate)):
        parts.append(f"<dt>{word}</dt><dd><code>{_text(side.path)}</code><br>")
        parts.append(_text(side_line(side)))
        if side.prompt:
            parts.append(f"<br>prompt: {_text(side.prompt)}")
        if side.notes:
            parts.append(_items(side.notes))
        parts.append("</dd>")
    return "\n".join([*parts, "</dl>"])


def _list(title: str, lines: Sequence[str]) -> str:
    return f"<h3>{title}</h3>\n{_items(lines)}"


def _items(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{_text(line)}</li>' for line in lines)}</ul>"


# Heat maps


def _heat_maps(comparison: Comparison, rows: Sequence[Mapping[str, Any]]) -> str:
    chosen = _worst(comparison, rows)
    if not chosen:
        return ""
    from .heat_map import heat_map, png

    parts = [
        "<h3>Where the differences are</h3>",
        "<p>|candidate − reference| of the worst pairs, the first divergence first: the greatest "
        "in every cell, rows are tokens (all axes but the last), columns features.</p>",
        '<div class="maps">',
    ]
    for row in chosen:
        found = heat_map(comparison.task(row["index"]))
        name = f'<a href="#{row["anchor"]}">{_text(name_of(row))}</a>'
        if isinstance(found, str):
            parts.append(f"<figure><figcaption>{name}: {_text(found)}</figcaption></figure>")
            continue
        data = base64.b64encode(png(found)).decode()
        high, wide = found.cells.shape
        scale = f"{found.least:.1e} (dark) to {found.greatest:.1e} (bright), logarithmic"
        if not found.greatest:
            scale = "no difference"
        parts.append(
            f'<figure><img src="data:image/png;base64,{data}" width="{wide}" height="{high}" '
            f'alt="heat map of the differences of {_text(name_of(row))}">'
            f"<figcaption>{name}<br>view {_text(list(found.shape))}, {scale}; pink: NaN or Inf on "
            "one side</figcaption></figure>"
        )
    return "\n".join([*parts, "</div>"])


def _worst(comparison: Comparison, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The first divergence, then the failing pairs of greatest relative error; none where all
    agree.
    """
    first = comparison.failing[0] if comparison.failing else -1
    bad = [
        row
        for row in rows
        if row["verdict"] in ("diverged", "nan")
        and isinstance(comparison.measurements[row["index"]], Measurement)
    ]

    def rank(row: Mapping[str, Any]) -> tuple[bool, bool, float]:
        error = value_of(row, "relative_l2")
        return (row["index"] != first, row["verdict"] != "nan", -(error or 0.0))

    return sorted(bad, key=rank)[:_TOP_PAIRS]


# The table


def _table(comparison: Comparison, rows: Sequence[Mapping[str, Any]], settings: Settings) -> str:
    columns = tuple(dict.fromkeys((settings.metric, *_COLUMNS)))
    heads = ["row", "verdict", "origin", "module-slot"]
    heads += [METRICS[name].heading for name in columns]
    heads += ["reference", "candidate", "matched", "reason"]
    chosen = rows
    if settings.only_diverged:
        chosen = [row for row in rows if row["verdict"] in FAILED or row["doubtful"]]
    parts = [
        f"<h3>{'Rows that do not agree' if settings.only_diverged else 'All rows'}</h3>",
        '<p class="tools"><label>Filter <input type="search" class="filter" '
        'placeholder="words, all must occur"></label> <label><input type="checkbox" '
        'class="bad-only"> only what does not agree</label> <span class="shown"></span></p>',
        '<div class="scroll"><table><thead><tr>',
        *(f'<th scope="col"><button type="button">{_text(head)}</button></th>' for head in heads),
        "</tr></thead><tbody>",
        *(_row(comparison, row, columns) for row in chosen),
        "</tbody></table></div>",
    ]
    return "\n".join(parts)


def _row(comparison: Comparison, row: Mapping[str, Any], columns: Sequence[str]) -> str:
    level = row["verdict"]
    bad = level in FAILED
    name = f"<code>{_text(name_of(row))}</code>"
    if bad:
        text = "".join(
            f"{_text(line)}\n" for line in row_text(comparison, row["index"]).split("\n")
        )
        name = f"<details><summary>{name}</summary><pre>{text}</pre></details>"
    cells = [
        f'<td data-v="{row["index"]}">{row["index"]}</td>',
        f'<td><span class="badge l-{level}">{_text(MARKS[level][0])} {verdict_of(row)}</span></td>',
        f"<td>{_text(row['origin'] or '')}</td>",
        f"<td>{name}</td>",
        *(_number_cell(row, metric) for metric in columns),
        f"<td>{_text(shape_of(row, 'reference'))}</td>",
        f"<td>{_text(shape_of(row, 'candidate'))}</td>",
        f"<td>{_text(row['matched_by'] or '')}</td>",
        f"<td>{_text(row['reason'])}</td>",
    ]
    kind = "bad" if bad else "fine"
    return f'<tr id="{row["anchor"]}" class="{kind}">{"".join(cells)}</tr>'


def _number_cell(row: Mapping[str, Any], metric: str) -> str:
    value = value_of(row, metric)
    key = "" if value is None else f' data-v="{value!r}"'
    return f'<td class="n"{key}>{_text(shown(row, metric))}</td>'
