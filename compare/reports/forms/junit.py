"""JUnit XML, as Jenkins, GitLab and GitHub actions read it: a test case a row.

A pair that agrees passes, one that does not is a failure with its reason, a record that cannot be
read an error, a gap or a doubtful pair is skipped. What is asked of the whole (something in common,
enough outputs paired) is a test case too, so that a red exit status is red in the file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

from ...comparison import Comparison
from ..escaping import clean
from ..findings import reports_of
from ..form import Part, Settings
from ..law_words import cause_line
from ..row_report import RowReport
from ..row_text import text_of
from .text_form import summary_line, summary_lines

_ILLEGAL = re.compile("[^\t\n\r -\ud7ff\ue000-�\U00010000-\U0010ffff]")  # XML 1.0, 2.2
_PASSED = ("identical", "ok", "noise", "drift")


def part(comparison: Comparison, settings: Settings, name: str = "") -> str:
    """A `<testsuite>` of one comparison."""
    cases = [_whole_case(comparison, settings)]
    seen: dict[tuple[str, str], int] = {}
    cases += [_case(report, seen) for report in reports_of(comparison)]
    first = comparison.first_divergence()
    properties = {
        "reference": comparison.reference.path,
        "candidate": comparison.candidate.path,
        "policy": comparison.policy.describe(),
        "command": settings.command,
    }
    if first is not None:
        properties["first_divergence"] = f"{first.module}: {first.reason}"
        for number, cause in enumerate(first.causes or (), 1):
            properties[f"cause_{number}"] = cause_line(cause)
        if first.model_difference:
            properties["model_difference"] = first.model_difference
    lines = [
        _open_suite(name or "layertui compare", cases),
        "<properties>",
        *(f"<property name={_attribute(k)} value={_attribute(v)}/>" for k, v in properties.items()),
        "</properties>",
        *cases,
        f"<system-out>{_text(chr(10).join(summary_lines(comparison)))}</system-out>",
        "</testsuite>",
    ]
    return "\n".join(lines)


def _open_suite(name: str, cases: Sequence[str]) -> str:
    counts = (
        f"{word}s={_attribute(str(sum(f'<{word} ' in case for case in cases)))}"
        for word in ("failure", "error")
    )
    skipped = sum("<skipped " in case for case in cases)
    return (
        f'<testsuite name={_attribute(name)} tests="{len(cases)}" {" ".join(counts)} '
        f'skipped="{skipped}" time="0">'
    )


def _whole_case(comparison: Comparison, settings: Settings) -> str:
    """What is asked of the whole, and no row shows: enough in common, an end, values at all."""
    reasons = comparison.outcome().of_the_whole
    body = ""
    if reasons:
        body = _outcome("failure", "coverage", "; ".join(reasons), summary_line(comparison))
    return _test_case("layertui", "coverage", body)


def _case(report: RowReport, seen: dict[tuple[str, str], int]) -> str:
    """The test case of a row; its name is the same in every run, and no other row's."""
    row, name = report.row, report.name
    if row.kind != "pair":
        side = "reference" if row.reference is not None else "candidate"
        name = f"{name} (only in the {side})"
    number = seen[row.canonical, name] = seen.get((row.canonical, name), 0) + 1
    name += f" #{number}" if number > 1 else ""
    return _test_case(row.canonical, name, _result(report))


def _result(report: RowReport) -> str:
    level, reason = report.level, report.reason
    if report.verdict.doubtful or level == "missing":
        return f"<skipped message={_attribute(reason)}/>"
    if level in _PASSED:
        return ""
    if level in ("unreadable", "pending"):
        return _outcome("error", level, reason or "not measured", text_of(report))
    return _outcome("failure", level, reason, text_of(report))


def _outcome(word: str, kind: str, message: str, body: str) -> str:
    return f"<{word} message={_attribute(message)} type={_attribute(kind)}>{_text(body)}</{word}>"


def _test_case(group: str, name: str, body: str) -> str:
    head = f'<testcase classname={_attribute(group)} name={_attribute(name)} time="0"'
    return f"{head}>{body}</testcase>" if body else f"{head}/>"


def whole(parts: Sequence[Part], settings: Settings) -> str:
    """The file; a case that could not be compared is a suite with one error."""
    suites = [part.text if part.problem is None else _problem_suite(part) for part in parts]
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n'
        + "\n".join(suites)
        + "\n</testsuites>\n"
    )


def _problem_suite(part: Part) -> str:
    case = _test_case("layertui", "open", _outcome("error", "unopened", part.problem or "", ""))
    return "\n".join([_open_suite(part.name, [case]), case, "</testsuite>"])


def _attribute(text: str) -> str:
    return quoteattr(_ILLEGAL.sub("?", clean(text)))


def _text(text: str) -> str:
    lines = (clean(line) for line in text.split("\n"))
    return escape(_ILLEGAL.sub("?", "\n".join(lines)))
