"""What changed between two comparisons, and reports that are read again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layertui.capture.errors import CaptureError
from layertui.compare.changes.changes import CHANGES, MEANINGS, WORSE, changes_of, is_fine
from layertui.compare.changes.saved_report import SavedReport, SavedRow, read_reports, reports_of
from layertui.compare.changes.words import as_form

LEVELS = ("identical", "ok", "noise", "drift", "diverged", "nan", "shape", "unreadable")


def row(
    level: str, error: float | None = None, *, made: bool = False, paired: bool = True
) -> SavedRow:
    return SavedRow("layers.0.mlp-output", level, "", error, made, paired)


def report(*rows: SavedRow | None, first: str = "", status: int = 0) -> SavedReport:
    known = {(f"layers.{n}.mlp", "output", 0, 1): r for n, r in enumerate(rows) if r is not None}
    return SavedReport("ref", "cand", status, first, "", known)


GAP = row("missing", paired=False)


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        (row("diverged", 0.1), row("ok", 1e-6), "cured"),
        (row("ok", 1e-6), row("diverged", 0.1), "new"),
        (row("noise", 1e-6), row("drift", 1e-3), "same"),
        (row("diverged", 0.1), row("diverged", 0.201), "worse"),
        (row("diverged", 0.1), row("diverged", 0.199), "same"),
        (row("diverged", 0.1), row("diverged", 0.051), "same"),
        (row("diverged", 0.1), row("diverged", 0.049), "better"),
        (row("diverged", 0.1), row("nan", float("inf")), "worse"),
        (row("diverged", 0.1), row("shape"), "worse"),
        (row("shape"), row("diverged", 0.1), "better"),
        (row("shape"), row("shape"), "same"),
        (row("shape"), row("unreadable"), "worse"),
        (row("ok", 0.0), None, "gone"),
        (row("ok", 0.0), GAP, "gone"),
        (None, row("ok", 0.0), "added"),
        (GAP, row("ok", 0.0), "added"),
        (None, row("diverged", 0.1), "new"),
        (GAP, GAP, "same"),
    ],
)
def test_a_row_before_and_after(
    before: SavedRow | None, after: SavedRow | None, change: str
) -> None:
    found = changes_of(report(before), report(after))
    assert [r.change for r in found.rows] == [change]
    assert found.is_worse == (change in WORSE)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (report(row("ok", 0)), report(row("ok", 0)), "nothing diverged before or does now"),
        (report(row("nan"), first="layers.0.mlp"), report(row("nan"), first="layers.0.mlp"),
         "layers.0.mlp still diverges first"),
        (report(row("diverged", 1), first="layers.0.mlp"), report(row("ok", 0)),
         "layers.0.mlp cured; nothing diverges any more"),
        (report(row("diverged", 1), row("ok", 0), first="layers.0.mlp"),
         report(row("ok", 0), row("diverged", 1), first="layers.1.mlp"),
         "layers.0.mlp cured; next: layers.1.mlp"),
        (report(row("ok", 0)), report(row("diverged", 1), first="layers.0.mlp"),
         "layers.0.mlp diverges now; nothing did before"),
        (report(row("diverged", 1), first="layers.0.mlp"), report(GAP),
         "layers.0.mlp is not compared any more; nothing diverges any more"),
    ],
)  # fmt: skip
def test_the_headline(before: SavedReport, after: SavedReport, words: str) -> None:
    assert changes_of(before, after).headline == words


def test_an_outcome_that_is_worse_is_worse_though_no_row_is() -> None:
    assert changes_of(report(row("ok", 0)), report(row("ok", 0), status=1)).is_worse


rows = st.builds(
    row, st.sampled_from(LEVELS), st.none() | st.floats(0, 1e3), made=st.booleans(),
    paired=st.booleans(),
)  # fmt: skip
reports = st.lists(rows | st.none(), max_size=8).map(lambda found: report(*found))


@given(reports)
def test_nothing_changes_from_a_report_to_itself(one: SavedReport) -> None:
    assert all(r.change == "same" for r in changes_of(one, one).rows)
    assert not changes_of(one, one).is_worse


@given(reports, reports)
def test_every_row_is_counted_once_and_no_fault_is_lost(one: SavedReport, two: SavedReport) -> None:
    found = changes_of(one, two)
    assert sum(found.counts.values()) == len(one.rows.keys() | two.rows.keys()) == len(found.rows)
    if not found.is_worse:
        for key, after in two.rows.items():
            before = one.rows.get(key)
            if after.paired and not is_fine(after):
                assert before is not None and before.paired and not is_fine(before)


def test_every_change_has_a_meaning() -> None:
    assert set(MEANINGS) == set(CHANGES)


@pytest.mark.parametrize("form", ["text", "json", "markdown"])
def test_many_rows_are_listed_up_to_a_limit_but_in_json(form: str) -> None:
    before, after = (
        report(*[row(level, error)] * 300) for level, error in (("ok", 0.0), ("nan", None))
    )
    text = as_form({"": changes_of(before, after)}, form)
    assert ("and 100 more" in text) == (form != "json")
    if form == "json":
        assert len(json.loads(text)["cases"][0]["rows"]) == 300


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "no JSON"), ("[1, 2", "no JSON"), ("[]", "not a report"), ("{}", "not a report"),
        ('{"schema": "layertui.check/1"}', "not a report"), ("[" * 100_000, "no JSON"),
        ('{"schema": "layertui.compare/1"}', "damaged: the report has no rows"),
        ('{"schema": "layertui.compare/1", "rows": [3]}', "damaged: a row has no verdict"),
        ('{"schema": "layertui.compare/1", "rows": [{"verdict": "fine"}]}', "a row has no verdict"),
        ('{"schema": "layertui.compare-cases/1", "cases": []}', "no case of this report"),
    ],
)  # fmt: skip
def test_what_is_no_report_is_one_line(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(CaptureError, match=words) as caught:
        read_reports(str(path))
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_fields_of_other_types_are_not_believed() -> None:
    content: dict[str, Any] = {
        "schema": "layertui.compare/1", "outcome": {"status": "0"}, "first_divergence": [1],
        "reference": 3, "candidate": None,
        "rows": [{"verdict": "ok", "canonical": 3, "slot": None, "reference": [],
                  "metrics": 7}] * 2,
    }  # fmt: skip
    (found,) = reports_of(content, "a.json").values()
    assert found.status == 1 and found.first == ""
    assert len(found.rows) == 2


@pytest.mark.parametrize(
    ("before", "after", "other"),
    [
        ("runs/ref", "runs/ref/", False), ("ref", "/data/runs/ref", False),
        ("runs/ref", "runs/ref2", True), ("a/ref", "b/ref", True), ("", "ref", False),
    ],
)  # fmt: skip
def test_another_reference_is_said(before: str, after: str, other: bool) -> None:
    """What is cured may be so for the other reference alone."""
    old = replace(report(row("diverged", 1), first="layers.0.mlp"), reference=before)
    new = replace(report(row("ok", 0)), reference=after)
    found = changes_of(old, new)
    assert found.other_reference is other
    for form in ("text", "markdown"):
        assert ("another reference" in as_form({"": found}, form)) is other
