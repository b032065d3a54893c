"""What stays of an earlier comparison is what its JSON report has."""

from __future__ import annotations

from pathlib import Path

import pytest

from layertui.compare.changes.earlier import (
    RowChanges,
    changes_on_rows,
    earlier_of,
    saved_of,
)
from layertui.compare.changes.saved_report import reports_of
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.measuring.metrics import METRICS
from layertui.compare.measuring.pair_reader import CancelledError
from layertui.compare.reports.forms.json_form import json_report
from support.real_pairs import measured as measured_real
from support.screens.tui_captures import write_pair


def measured(reference: Path, candidate: Path) -> Comparison:
    comparison = open_comparison(str(reference), str(candidate))
    comparison.measure()
    return comparison


def since(before: Comparison, after: Comparison) -> RowChanges:
    return changes_on_rows(earlier_of(before), earlier_of(after), after)


def of_pair(folder: Path, wrong: tuple[int, ...]) -> Comparison:
    return measured(*write_pair(folder, 40, wrong))


@pytest.mark.parametrize("name", ["olmo2-f32", "llama_v3_badweights-f32"])
def test_it_is_the_report_of_the_comparison(name: str, real: Path) -> None:
    comparison = measured_real(real, name)
    expected = reports_of(json_report(comparison, ""), "report")[""]
    found = saved_of(comparison)
    assert found == expected
    assert list(found.rows) == list(expected.rows)
    assert len(found.rows) == len(comparison.rows)


def test_numbers_of_before_are_those_of_the_badges(tmp_path: Path) -> None:
    before = of_pair(tmp_path / "old", (12, 31))
    found = since(before, of_pair(tmp_path / "new", (31,)))
    for metric in METRICS:
        assert found.number(12, metric) == before.measurements[12].metric(metric)  # type: ignore[union-attr]
    assert found.at(12).change == "cured"
    assert list(found.by_change["cured"]) == [12]
    assert list(found.by_change["new"]) == []
    assert len(found.by_change["same"]) == 39
    assert list(found.doubts) == [] and found.vanished == 0


def test_rows_that_are_gone_or_were_not_there(tmp_path: Path) -> None:
    few = measured(*write_pair(tmp_path / "few", 20, (3,)))
    many = of_pair(tmp_path / "many", (3, 31))
    grown = since(few, many)
    assert grown.at(31).change == "new"
    assert len(grown.by_change["added"]) == 19
    assert list(grown.doubts) == ["20 not compared before"]
    shrunk = since(many, few)
    assert shrunk.vanished == 20
    assert shrunk.changes.counts["gone"] == 20
    assert list(shrunk.by_change["gone"]) == []


def test_it_stops_when_told(tmp_path: Path) -> None:
    comparison = of_pair(tmp_path, ())
    with pytest.raises(CancelledError):
        earlier_of(comparison, lambda: True)
