"""Two captures of which nothing could be compared: every form says so, and why."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from layertui.capture.open import open_capture
from layertui.compare.comparison import Comparison
from layertui.compare.reports import FORMATS, Settings, part_of, whole
from layertui.compare.reports.forms.text_form import summary_line
from layertui.compare.reports.nothing_compared import nothing_compared
from support.synthetic import saved

X = np.arange(8, dtype=np.float32).reshape(2, 4)
FOR_PEOPLE = ("text", "json", "markdown", "html", "junit", "console", "layer-dumps")


def compared(folder: Path, left: dict[str, np.ndarray], right: dict[str, np.ndarray], cut: int = 0):
    """A measured comparison; `cut` of the candidate's files end too early."""
    reference = saved(folder / "ref", left)
    saved(folder / "cand", right)
    for path in sorted((folder / "cand").glob("*.npy"))[:cut]:
        path.write_bytes(path.read_bytes()[:-4])
    found = Comparison(reference, open_capture(folder / "cand"))
    found.measure(use_cache=False)
    return found


def report(comparison: Comparison, form: str) -> str:
    settings = Settings("layertui compare ref cand")
    return whole([part_of(comparison, form, settings)], form, settings)


CASES = {
    "no partner": (
        {"model.a-output": X, "model.b-output": X}, {"zzz": X[0, :1].copy()}, 0,
        "no record has a partner",
    ),
    "all unreadable": (
        {"a-output": X, "b-output": X}, {"a-output": X, "b-output": X}, 2,
        "all 2 records of the candidate cannot be read",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_every_form_says_that_nothing_was_compared_and_why(case: str, tmp_path: Path) -> None:
    left, right, cut, why = CASES[case]
    comparison = compared(tmp_path, left, right, cut)
    found = nothing_compared(comparison)
    assert found is not None and why in found.line
    assert comparison.exit_status() == 1
    assert why in summary_line(comparison)
    for form in set(FOR_PEOPLE) & set(FORMATS):
        text = report(comparison, form)
        assert "nothing could be compared" in text.lower(), form
        assert why in text, form
        assert "no divergence" not in text, form
        assert "FIRST DIVERGENCE" not in text, form
    assert json.loads(report(comparison, "qwen3-json"))["overall_success"] is False


def test_one_compared_pair_is_enough(tmp_path: Path) -> None:
    names = {"a-output": X, "b-output": X}
    comparison = compared(tmp_path, names, names, cut=1)
    assert nothing_compared(comparison) is None
    text = report(comparison, "text")
    assert "FIRST DIVERGENCE" in text and "but 1 cannot be read" in text


def test_shapes_that_do_not_fit_are_a_divergence(tmp_path: Path) -> None:
    comparison = compared(tmp_path, {"a-output": X}, {"a-output": X[:, :3].copy()})
    assert nothing_compared(comparison) is None
    assert "FIRST DIVERGENCE" in report(comparison, "text")


def test_nothing_is_said_before_all_is_measured(tmp_path: Path) -> None:
    reference = saved(tmp_path / "ref", {"a-output": X})
    candidate = saved(tmp_path / "cand", {"a-output": X})
    assert nothing_compared(Comparison(reference, candidate)) is None


def test_records_without_elements_are_no_agreement(tmp_path: Path) -> None:
    empty = {"a-output": X[:0]}
    found = nothing_compared(compared(tmp_path, empty, empty))
    assert found is not None and "have no elements" in found.line
