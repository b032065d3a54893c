"""Changes as text, Markdown and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..reports.escaping import clean
from ..reports.forms.json_form import json_text, plain_json
from ..reports.words import number
from .changes import CHANGES, MEANINGS, Changes, RowChange
from .saved_report import SavedRow

SCHEMA = "layertui.diff/1"
FORMS = ("text", "json", "markdown")
_WIDEST = 60  # column of names
_MOST_LINES = 200  # rows that are listed to be read; all are in the JSON


def as_form(found: Mapping[str, Changes], form: str) -> str:
    """The changes of all cases (`""`: there are none) in one of `FORMS`."""
    if form == "json":
        return json_text(_json(found)) + "\n"
    write = _markdown if form == "markdown" else _text
    return "\n".join(write(case, changes) for case, changes in found.items())


def counts_line(changes: Changes) -> str:
    """`2 cured, 0 new, 0 worse, ...`; what never happens is left out but for these three."""
    counts = changes.counts
    order = ("cured", "new", "worse", "better", "gone", "added", "same")
    always = ("cured", "new", "worse")
    return ", ".join(f"{counts[n]} {n}" for n in order if counts[n] or n in always)


def lines(changes: Changes) -> list[str]:
    """Headline, numbers, and every row that changed."""
    said = [clean(changes.headline), counts_line(changes)]
    if changes.after.answer:
        said.append(f"now: {clean(changes.after.answer)}")
    listed = _listed(changes)
    if listed:
        said.append("")
    width = min(max((len(row.label) for row in listed), default=0), _WIDEST)
    said += [
        f"{row.change:7} {clean(row.label):{width}}  {_was(row.before)} -> {_was(row.after)}"
        for row in listed[:_MOST_LINES]
    ]
    if len(listed) > _MOST_LINES:
        said.append(f"and {len(listed) - _MOST_LINES} more; --format json has all")
    return said


def _listed(changes: Changes) -> list[RowChange]:
    """The rows that changed, those that are worse first."""
    some = [row for row in changes.rows if row.change != "same"]
    return sorted(some, key=lambda row: CHANGES.index(row.change))


def _was(row: SavedRow | None) -> str:
    if row is None:
        return "not there"
    if not row.paired:
        return "no partner"
    mark = " (introduced here)" if row.made else ""
    return f"{row.level} {number(row.error, 3)}{mark}"


def _text(case: str, changes: Changes) -> str:
    head = [f"case {clean(case)}"] if case else []
    head += [
        f"reference  {clean(changes.after.reference)}",
        *([_other_reference(changes)] if changes.other_reference else []),
        f"before     {clean(changes.before.candidate)}",
        f"after      {clean(changes.after.candidate)}",
        "",
    ]
    return "\n".join([*head, *lines(changes)]) + "\n"


def _other_reference(changes: Changes) -> str:
    """What to say where the earlier report has another reference."""
    was = clean(changes.before.reference)
    return f"the earlier report has another reference, for which rows may differ, too: {was}"


def _markdown(case: str, changes: Changes) -> str:
    title = f"## Changes{f' of case {clean(case)}' if case else ''}"
    head = [title, "", f"**{_escaped(changes.headline)}**", "", counts_line(changes), ""]
    head += [_escaped(_other_reference(changes)), ""] if changes.other_reference else []
    listed = _listed(changes)
    if not listed:
        return "\n".join(head)
    table = ["| change | record | before | after |", "|---|---|---|---|"]
    table += [
        f"| {row.change} | {_escaped(row.label)} | {_was(row.before)} | {_was(row.after)} |"
        for row in listed[:_MOST_LINES]
    ]
    if len(listed) > _MOST_LINES:
        table += ["", f"and {len(listed) - _MOST_LINES} more; `--format json` has all"]
    return "\n".join([*head, *table]) + "\n"


def _escaped(text: str) -> str:
    return clean(text).replace("|", "\\|")


def _json(found: Mapping[str, Changes]) -> dict[str, Any]:
    cases = [{"case": case, **changes_json(changes)} for case, changes in found.items()]
    worse = any(changes.is_worse for changes in found.values())
    return {"schema": SCHEMA, "worse": worse, "meanings": dict(MEANINGS), "cases": cases}


def changes_json(changes: Changes) -> dict[str, Any]:
    """One comparison's changes; rows that are as before are only counted."""
    rows = [
        {"change": row.change, "record": row.label, "before": _row_json(row.before),
         "after": _row_json(row.after)}
        for row in _listed(changes)
    ]  # fmt: skip
    return {
        "headline": changes.headline,
        "worse": changes.is_worse,
        "before": {"candidate": changes.before.candidate, "status": changes.before.status},
        "after": {"candidate": changes.after.candidate, "status": changes.after.status},
        "counts": dict(changes.counts),
        "rows": rows,
    }


def _row_json(row: SavedRow | None) -> dict[str, Any] | None:
    if row is None:
        return None
    return {
        "verdict": row.level, "relative_l2": plain_json(row.error), "introduced": row.made,
        "paired": row.paired, "reason": row.reason,
    }  # fmt: skip
