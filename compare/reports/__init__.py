"""The forms of a report. A comparison becomes a part; parts, one a case, become a whole.

    text, json, csv    `text_form`, `json_form`, `csv_form`
    junit              for CI systems: a test case a pair
    markdown           for a comment on GitHub
    html               one file to look at, without network
    qwen3-json, aiu    as other tools name things

Nothing is imported here before it is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..comparison import Comparison

FORMATS = ("text", "json", "csv", "junit", "html", "markdown", "qwen3-json", "aiu")
SEVERAL = ("text", "json", "csv", "junit", "html", "markdown")  # hold many cases in one file
CASES_SCHEMA = "layertui.compare-cases/1"


@dataclass(frozen=True, slots=True)
class Settings:
    """What steers a report: the command line that makes it again, the metric that stands first,
    and what `exit_status` asks.
    """

    command: str
    metric: str = "mse"
    only_diverged: bool = False
    min_coverage: float = 0.5


@dataclass(frozen=True, slots=True)
class Part:
    """The report of one case (`name` is empty where there is only one), or the `problem` that kept
    it from being compared. `status` is its exit status.
    """

    name: str
    status: int
    text: str = ""
    problem: str | None = None


def part_of(comparison: Comparison, form: str, settings: Settings, name: str = "") -> Part:
    """One comparison in the form `form`, one of `FORMATS`."""
    status = comparison.exit_status(settings.min_coverage)
    return Part(name, status, _part(comparison, form, settings, name))


def _part(comparison: Comparison, form: str, settings: Settings, name: str) -> str:
    if form == "junit":
        from .junit import suite

        return suite(comparison, settings, name)
    if form == "html":
        from .html.page import section

        return section(comparison, settings, name)
    if form == "markdown":
        from .markdown import section as markdown_section

        return markdown_section(comparison, settings, name)
    if form == "csv":
        from .csv_form import csv_report

        return csv_report(comparison)
    if form == "text":
        from .text_form import text_report

        return text_report(
            comparison, settings.command, only_diverged=settings.only_diverged,
            metric=settings.metric, min_coverage=settings.min_coverage,
        )  # fmt: skip
    return json.dumps(_object(comparison, form, settings), indent=1, allow_nan=False)


def _object(comparison: Comparison, form: str, settings: Settings) -> dict[str, Any]:
    if form == "qwen3-json":
        from .verdict_json import qwen3_report

        return qwen3_report(comparison, settings.min_coverage)
    if form == "aiu":
        from .aiu_fms import aiu_report

        return aiu_report([comparison])
    from .json_form import json_report

    return json_report(comparison, settings.command, settings.min_coverage)


def whole(parts: Sequence[Part], form: str, settings: Settings) -> str:
    """The file: of a single part without a name, or of the cases that `SEVERAL` forms hold."""
    if form == "junit":
        from .junit import document

        return document(parts)
    if form == "html":
        from .html.page import page

        return page(parts)
    if form == "markdown":
        from .markdown import comment

        return comment(parts)
    if len(parts) == 1 and not parts[0].name:
        return parts[0].text if parts[0].text.endswith("\n") else parts[0].text + "\n"
    from .cases import csv_of_cases, json_of_cases, text_of_cases

    if form == "csv":
        return csv_of_cases(parts)
    return json_of_cases(parts, settings.command) if form == "json" else text_of_cases(parts)
