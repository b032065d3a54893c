"""Every form and every screen says the same of a row, in the same words and numbers."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.reports import FORMS, Settings
from layertui.compare.reports.row_report import RowReport, row_report
from layertui.compare.reports.row_text import row_text
from layertui.tui.list.row_model import ComparedRows
from layertui.tui.present.row_fields import page_fields, pane_fields, summary
from layertui.tui.scene import Scene

PAIRS = ("llama-bf16", "llama_v3_badweights-f32", "olmo2-f32", "llama_steps-f32")
METRICS = ("mse", "relative_l2", "max_abs", "cosine")
_NUMBER = re.compile(r"1-\d\.\de-\d+|-?\d+\.?\d*(?:e[+-]?\d+)?")


@pytest.fixture(scope="module", params=PAIRS)
def comparison(request: pytest.FixtureRequest, real: Path) -> Comparison:
    folder = real / request.param
    found = open_comparison(str(folder / "torch_dump"), str(folder / "max_dump"), ulp=True)
    found.measure(use_cache=False)
    found.analysis()
    found.find_effect()
    for index in found.failing:
        found.find_symptoms(index)
    return found


@cache
def rendered(comparison_id: int, form: str) -> str:
    comparison = _KNOWN[comparison_id]
    settings = Settings("layertui compare ref cand")
    return FORMS[form].whole([FORMS[form].part(comparison, settings)], settings)


_KNOWN: dict[int, Comparison] = {}


def text_of(comparison: Comparison, form: str) -> str:
    _KNOWN[id(comparison)] = comparison
    return rendered(id(comparison), form)


def reports(comparison: Comparison) -> Iterator[RowReport]:
    return (row_report(comparison, row.index) for row in comparison.rows)


def words_of(lines: str) -> str:
    return " ".join(lines.split())


def check_details(report: RowReport, text: str) -> None:
    """What the pane, the page, `show`, the clipboard and the details of HTML and JUnit have."""
    text = words_of(text)
    wanted = [report.word, report.reason, report.origin_line, report.gap, report.problem]
    wanted += [fact.text for fact in report.findings]
    for fact in report.extremes:  # on a screen in one line, elsewhere in full
        in_full = fact.full and words_of(fact.text) not in text
        wanted += re.split(r": | (?=\(up to )", fact.full) if in_full else [fact.text]
    wanted += [fact.text for fact in report.matched]
    for words in wanted:
        assert words_of(words) in text, (report.name, words)
    for fact in report.chosen_metrics:
        assert f"{fact.label} {fact.text}" in text, (report.name, fact)


def test_text_for_export_and_the_clipboard(comparison: Comparison) -> None:
    for report in reports(comparison):
        check_details(report, row_text(comparison, report.row.index))


def test_pane_page_and_line(comparison: Comparison) -> None:
    for report in reports(comparison):
        index = report.row.index
        pane = pane_fields(comparison, index)
        check_details(report, " ".join(f"{field.label} {field.value}" for field in pane))
        page = page_fields(Scene(comparison, index))
        fields = [field for _, section in page for field in section]
        check_details(report, " ".join(f"{field.label} {field.value}" for field in fields))
        assert words_of(report.verdict_line) in words_of(summary(comparison, index))


def test_json(comparison: Comparison) -> None:
    rows = json.loads(text_of(comparison, "json"))["rows"]
    for report, row in zip(reports(comparison), rows, strict=True):
        verdict = comparison.verdicts[report.row.index]
        assert (row["verdict"], row["reason"]) == (report.level, verdict.reason)
        metrics: dict[str, Any] = row["metrics"] or {}
        check_numbers(report, metrics)
        if report.origin:
            known = {"introduced here": "made", "first appears here": "made"}
            assert row["origin"] == known.get(report.origin, "inherited")


def test_csv(comparison: Comparison) -> None:
    rows = list(csv.DictReader(io.StringIO(text_of(comparison, "csv"))))
    for report, row in zip(reports(comparison), rows, strict=True):
        assert (row["verdict"], row["partial"]) == (report.level, report.partial)
        numbers = {name: float(row[name]) for name in METRICS if row[name]}
        check_numbers(report, numbers)


def check_numbers(report: RowReport, exact: dict[str, Any]) -> None:
    """What is shown is the exact number, rounded to the digits that are shown."""
    for name in (*METRICS, "ulp"):
        value, shown = exact.get(name), report.metric(name)
        if name not in exact:
            continue
        if value is None:
            assert shown == "-"
        elif shown.startswith("1-"):
            assert float(shown[2:]) == pytest.approx(1 - value, rel=0.06)
        else:
            assert float(shown) == pytest.approx(value, rel=1e-3)


def cells_of(line: str) -> list[str]:
    return _NUMBER.findall(line)


def test_the_line_of_the_text(comparison: Comparison) -> None:
    section = text_of(comparison, "text").split("ROWS IN EXECUTION ORDER")[1].split("\n\n")[0]
    lines = section.splitlines()[3:]
    for report, line in zip(reports(comparison), lines, strict=True):
        columns = " ".join(report.metric(name) for name in METRICS[:1] + METRICS[1:])
        shown = words_of(line)
        assert f"{report.word} {columns} {report.name}: " in shown


def test_html(comparison: Comparison) -> None:
    page = text_of(comparison, "html")
    rows = re.findall(r'<tr id="c-(\d+)"[^>]*>(.*?)</tr>', page, re.S)
    assert len(rows) == len(comparison.rows)
    for report, (index, row) in zip(reports(comparison), rows, strict=True):
        assert int(index) == report.row.index
        details = re.search(r"<pre>(.*?)</pre>", row, re.S)
        if details is not None:
            check_details(report, unescape(details[1]))
        cells = [unescape(re.sub(r"<[^>]+>", "", cell))
                 for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.S)]  # fmt: skip
        assert report.word in cells[1] and cells[2] == report.origin
        assert cells[4:8] == [report.metric(name) for name in METRICS]
        assert cells[-1] == report.reason


def test_markdown(comparison: Comparison) -> None:
    text = text_of(comparison, "markdown")
    rows = {int(m[1]): m[0] for m in re.finditer(r"^\| (\d+) \|.*$", text, re.M)}
    assert rows
    for report in reports(comparison):
        line = rows.get(report.row.index)
        if line is None:
            assert not comparison.failing or report.level not in ("diverged", "nan", "shape")
            continue
        cells = [unescape(cell.strip()) for cell in line.split(" | ")]
        assert cells[1].endswith(report.word) and cells[2] == report.origin
        assert cells[4:8] == [report.metric(name) for name in METRICS]


def test_junit(comparison: Comparison) -> None:
    suite = ElementTree.fromstring(text_of(comparison, "junit").encode())[0]
    cases = suite.findall("testcase")[1:]
    for report, case in zip(reports(comparison), cases, strict=True):
        failure = case.find("failure")
        if failure is None:
            assert not report.verdict.fails or report.verdict.doubtful
            continue
        assert failure.attrib["message"] == report.reason
        check_details(report, failure.text or "")


def test_the_column_of_the_list_rounds_the_same_number(comparison: Comparison) -> None:
    rows = ComparedRows(comparison)
    for report in reports(comparison):
        for name in METRICS:
            short = rows.value(report.row.index, name)
            if not short:
                assert report.measured is None
                continue
            full = report.metric(name)
            if full.startswith("1-") or short == full:
                assert short == full
            else:
                assert float(short) == pytest.approx(float(full), rel=0.06)


def test_nothing_is_all_sure(comparison: Comparison) -> None:
    for form in ("text", "html", "markdown", "junit"):
        assert "100% sure" not in text_of(comparison, form)
        assert "100 % sure" not in text_of(comparison, form)
        assert "confidence" not in text_of(comparison, form)
