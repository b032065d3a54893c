"""The changes since an earlier candidate, in the report of the later one."""

from __future__ import annotations

import json

from ..comparison import Comparison
from ..reports.forms.json_form import json_report, json_text
from .changes import Changes, changes_of
from .saved_report import SavedReport, reports_of
from .words import as_form, changes_json, lines


def changes_since(before: Comparison, after: Comparison) -> Changes:
    """What changed from one comparison to another; both have been measured."""
    return changes_of(_saved(before), _saved(after))


def _saved(comparison: Comparison) -> SavedReport:
    return reports_of(json_report(comparison, ""), comparison.candidate.path)[""]


def with_changes(text: str, form: str, changes: Changes) -> str:
    """A report as text, JSON or Markdown with the changes."""
    if form == "json":
        return json_text({**json.loads(text), "changes": changes_json(changes)})
    if form == "markdown":
        return f"{text.rstrip()}\n\n{as_form({'': changes}, form)}"
    title = f"CHANGES SINCE {changes.before.candidate}"
    return "\n".join([text.rstrip(), "", title, "-" * len(title), *lines(changes), ""])
