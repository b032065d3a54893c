"""The forms of a report, one a line. A comparison becomes a part; parts, one a case, a whole.

A new form is a module with the functions of `form.FormModule` and a line here: `--format`, its
help and the handling of several cases follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .form import Part, ReportForm, Settings

if TYPE_CHECKING:
    from ..comparison import Comparison

FORMS: dict[str, ReportForm] = {
    form.name: form
    for form in (
        ReportForm("text", "for reading", ".forms.text_form"),
        ReportForm("json", "for programs", ".forms.json_form"),
        ReportForm("csv", "one line per row", ".forms.csv_form"),
        ReportForm("junit", "for CI systems", ".forms.junit"),
        ReportForm("html", "one page that needs no network", ".forms.html.page"),
        ReportForm("markdown", "for a comment on GitHub", ".forms.markdown"),
        ReportForm("bug-report", "for those who maintain an engine", ".forms.bug_report"),
        ReportForm("console", "with PASS or FAIL for each layer", ".forms.console", policy="fixed"),
        ReportForm("pairs", "each pair in the words of torch.testing", ".forms.pairs"),
        ReportForm("layer-dumps", "with a level for each tensor, for C++ text "
                                  "dumps", ".forms.layer_dumps"),
        ReportForm("qwen3-json", "as the Qwen3 layer tests write it", ".forms.verdict_json",
                   several=False, policy="fixed"),
        ReportForm("aiu", "as aiu-fms-testing-utils writes it", ".forms.aiu_fms", several=False),
    )
}  # fmt: skip
FORMATS = tuple(FORMS)
SEVERAL = tuple(name for name, form in FORMS.items() if form.several)


def purposes() -> str:
    """The forms and what they are for, for the help: `text to read, json for programs, ...`."""
    return ", ".join(f"{name} {form.purpose}" for name, form in FORMS.items())


def part_of(comparison: Comparison, form: str, settings: Settings, name: str = "") -> Part:
    """One comparison in the form `form`, one of `FORMS`."""
    return FORMS[form].part(comparison, settings, name)


def whole(parts: Sequence[Part], form: str, settings: Settings) -> str:
    """The file: of a single part without a name, or of the cases that forms in `SEVERAL` hold."""
    return FORMS[form].whole(parts, settings)
