"""One HTML file: the finding, the plot, heat maps of the worst pairs, a table to sort and filter.

It needs no network and may load nothing: the page's own content security policy allows its one
style sheet, its one script (both by hash) and images that are in the file. Names come from files:
everything is escaped.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from hashlib import sha256
from html import escape

from ....aligned import SideName
from ....comparison import Comparison
from ....measuring.metrics import METRICS
from ....model import FirstDivergence
from ....vocabulary import MARKS
from ...escaping import clean
from ...findings import (
    agreement_of,
    columns_of,
    does_not_pass,
    first_facts,
    first_verdict,
    headings,
    reports_of,
)
from ...form import Part, Settings, is_one
from ...nothing_compared import nothing_compared
from ...row_report import RowReport
from ...row_text import text_of
from ..text_form import side_line, summary_lines
from .assets import SCRIPT, STYLE
from .picture import picture

Anchor = Callable[[int], str]  # the id of a row's line
_TOP_PAIRS = 6
_LEGEND = (
    '<p class="legend">Green agrees, amber drifts, red does not. At the lower edge: equal rows, '
    "and grey those without a partner. The dashed line is the first divergence; a point links to "
    "its row.</p>"
)


def part(comparison: Comparison, settings: Settings, name: str = "") -> str:
    """The part of the page that is about one comparison."""
    first = comparison.first_divergence()  # with what the rows say of their origin
    reports = reports_of(comparison)
    mark = f"c{sha256(name.encode()).hexdigest()[:8]}" if name else "c"

    def anchor(row: int) -> str:
        return f"{mark}-{row}"

    outcome = comparison.outcome()
    title = f"<h2>case {_text(name)}</h2>" if name else ""
    return "\n".join(
        [
            f'<section class="case" id="{mark}">', title,
            _banner(comparison, first, reports, anchor, outcome.status),
            _list("Outcome", outcome.lines()) if outcome.status or outcome.doubts else "",
            _captures(comparison),
            _list("Summary", summary_lines(comparison)),
            f"<h3>{_text(METRICS[_plotted(settings)].heading)} in execution order</h3>",
            picture(comparison, reports, _plotted(settings), anchor), _LEGEND,
            _heat_maps(comparison, reports, anchor),
            _table(reports, settings, anchor),
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


def _banner(
    comparison: Comparison, first: FirstDivergence | None, reports: Sequence[RowReport],
    anchor: Anchor, status: int,
) -> str:  # fmt: skip
    if first is None:
        said = agreement_of(comparison)
        said = _text(said[:1].upper() + said[1:])
        good = status == 0 and nothing_compared(comparison) is None
        return f'<div class="banner {"good" if good else "bad"}"><strong>{said}</strong></div>'
    lines = [
        '<div class="banner bad">',
        f"<strong>First divergence: <code>{_text(first.module)}</code></strong>",
        f'<p><a href="#{anchor(first.index)}">row {first.index}</a> '
        f"<code>{_text(reports[first.index].name)}</code>: {_text(first_verdict(first))}</p>",
        f"<p>{_text(first.reason)}</p>",
        f"<p>reference <code>{_text(first.reference)}</code><br>"
        f"candidate <code>{_text(first.candidate)}</code></p>",
    ]
    facts = first_facts(first)
    lines += [_items([f"{fact.label}: {fact.text}" for fact in facts])] if facts else []
    return "\n".join([*lines, "</div>"])


def _captures(comparison: Comparison) -> str:
    parts = ["<h3>Captures</h3>", "<dl>"]
    sides: tuple[SideName, ...] = ("reference", "candidate")
    for word in sides:
        side = getattr(comparison, word)
        parts.append(f"<dt>{word}</dt><dd><code>{_text(side.path)}</code><br>")
        parts.append(_text(side_line(side)))
        if side.prompt:
            parts.append(f"<br>prompt: {_text(side.prompt)}")
        notes = comparison.notes(word)
        if notes:
            parts.append(_items(notes))
        parts.append("</dd>")
    return "\n".join([*parts, "</dl>"])


def _list(title: str, lines: Sequence[str]) -> str:
    return f"<h3>{title}</h3>\n{_items(lines)}"


def _items(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{_text(line)}</li>' for line in lines)}</ul>"


# Heat maps


def _heat_maps(comparison: Comparison, reports: Sequence[RowReport], anchor: Anchor) -> str:
    chosen = _worst(comparison, reports)
    if not chosen:
        return ""
    from .heat_map import heat_map, png

    parts = [
        "<h3>Where the differences are</h3>",
        "<p>|candidate − reference| of the worst pairs, the first divergence first: each cell "
        "shows the greatest of its elements; rows are tokens (all axes but the last), columns "
        "features.</p>",
        '<div class="maps">',
    ]
    for report in chosen:
        found = heat_map(comparison.task(report.row.index))
        name = f'<a href="#{anchor(report.row.index)}">{_text(report.name)}</a>'
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
            f'alt="heat map of the differences of {_text(report.name)}">'
            f"<figcaption>{name}<br>view {_text(list(found.shape))}, {scale}; pink: NaN or Inf on "
            "one side</figcaption></figure>"
        )
    return "\n".join([*parts, "</div>"])


def _worst(comparison: Comparison, reports: Sequence[RowReport]) -> list[RowReport]:
    """The first divergence, then the failing pairs of greatest relative error; none where all
    agree.
    """
    first = comparison.failing[0] if comparison.failing else -1
    bad = [r for r in reports if r.level in ("diverged", "nan") and r.measured is not None]

    def rank(report: RowReport) -> tuple[bool, bool, float]:
        error = 0.0 if report.measured is None else report.measured.relative_l2 or 0.0
        return (report.row.index != first, report.level != "nan", -error)

    return sorted(bad, key=rank)[:_TOP_PAIRS]


# The table


def _table(reports: Sequence[RowReport], settings: Settings, anchor: Anchor) -> str:
    columns = columns_of(settings.metric)
    heads = ["row", "verdict", "origin", "module-slot", *headings(columns)]
    heads += ["reference", "candidate", "matched", "reason"]
    chosen = reports
    if settings.only_diverged:
        chosen = [r for r in reports if does_not_pass(r) or r.verdict.doubtful]
    parts = [
        f"<h3>{'Rows that do not agree' if settings.only_diverged else 'All rows'}</h3>",
        '<p class="tools"><label>Filter <input type="search" class="filter" '
        'placeholder="words that must all occur"></label> <label><input type="checkbox" '
        'class="bad-only"> only what does not agree</label> <span class="shown"></span></p>',
        '<div class="scroll"><table><thead><tr>',
        *(f'<th scope="col"><button type="button">{_text(head)}</button></th>' for head in heads),
        "</tr></thead><tbody>",
        *(_row(report, columns, anchor) for report in chosen),
        "</tbody></table></div>",
    ]
    return "\n".join(parts)


def _row(report: RowReport, columns: Sequence[str], anchor: Anchor) -> str:
    level, index = report.level, report.row.index
    bad = does_not_pass(report)
    name = f"<code>{_text(report.name)}</code>"
    if bad:
        text = "".join(f"{_text(line)}\n" for line in text_of(report).split("\n"))
        name = f"<details><summary>{name}</summary><pre>{text}</pre></details>"
    badge = f"{_text(MARKS[level][0])} {report.word}"
    cells = [
        f'<td data-v="{index}">{index}</td>',
        f'<td><span class="badge l-{level}">{badge}</span></td>',
        f"<td>{_text(report.origin)}</td>",
        f"<td>{name}</td>",
        *(_number_cell(report, metric) for metric in columns),
        f"<td>{_text(report.shape_line('reference'))}</td>",
        f"<td>{_text(report.shape_line('candidate'))}</td>",
        f"<td>{_text(report.row.matched_by or '')}</td>",
        f"<td>{_text(report.reason)}</td>",
    ]
    kind = "bad" if bad else "fine"
    return f'<tr id="{anchor(index)}" class="{kind}">{"".join(cells)}</tr>'


def _number_cell(report: RowReport, metric: str) -> str:
    value = None if report.measured is None else report.measured.metric(metric)
    key = "" if value is None else f' data-v="{value!r}"'
    return f'<td class="n"{key}>{_text(report.metric(metric))}</td>'
