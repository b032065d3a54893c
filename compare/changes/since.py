"""The changes since an earlier candidate, in the report of the later one."""

from __future__ import annotations

import json

from ..comparison import Comparison
from ..reports.forms.json_form import json_text
from .changes import Changes, changes_of
from .earlier import saved_of
from .words import as_form, changes_json, lines


def changes_since(before: Comparison, after: Comparison) -> Changes:
    """What changed from one comparison to another; both have been measured."""
    return changes_of(saved_of(before), saved_of(after))


def with_changes(text: str, form: str, changes: Changes) -> str:
    """A report as text, JSON, Markdown or bug report with the changes."""
    if form == "json":
        return json_text({**json.loads(text), "changes": changes_json(changes)})
    if form in ("markdown", "bug-report"):
        return f"{text.rstrip()}\n\n{as_form({'': changes}, 'markdown')}"
    title = f"CHANGES SINCE {changes.before.candidate}"
    return "\n".join([text.rstrip(), "", title, "-" * len(title), *lines(changes), ""])
