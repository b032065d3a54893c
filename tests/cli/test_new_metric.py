"""A metric that is added to the table is there in every place that has metrics."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PROGRAM = """
from layertui.compare.measuring.metrics import MetricSpec, add
add(MetricSpec("toy", lambda sums: 2 * sums.max_abs.value, "TOY", choice=8, limit=True,
               strip_range=(-3, 3)))
add(MetricSpec("quiet", lambda sums: None, "quiet", lambda sums: "never there", csv=False))
"""
COMMAND = "from layertui.cli.main import run\nrun()\n"
SCREEN = """
from layertui.compare.comparison import open_comparison
from layertui.tui.list.columns import columns_for, heading
from layertui.tui.list.row_model import ComparedRows
from layertui.tui.widgets.depth_strip import bar_height
from layertui.compare.measuring.metrics import METRICS
from layertui.tui.list.limits import parse_limits
comparison = open_comparison("ref", "cand")
comparison.measure(use_cache=False)
print(bar_height("toy", 1e-3), bar_height("toy", 1e3), bar_height("toy", 0.0))
print(ComparedRows(comparison).value(0, "toy"))
print(heading(columns_for(120, 5, 10), METRICS["toy"].heading))
print(parse_limits("toy=0.5").text)
"""


def run(folder: Path, *words: str, program: str = COMMAND) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM + program, *words],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def captures(tmp_path: Path) -> Path:
    values = np.arange(1, 7, dtype=np.float32).reshape(2, 3)
    for side, array in (("ref", values), ("cand", values + np.float32(0.25))):
        (tmp_path / side).mkdir()
        np.save(tmp_path / side / "layers.0.mlp-output.npy", array)
    return tmp_path


def test_it_is_in_the_help(tmp_path: Path) -> None:
    shown = " ".join(run(tmp_path, "compare", "--help").stdout.split())
    assert "max_rel|ulp|toy]" in shown
    assert "quiet" not in shown


def test_it_is_in_json_with_a_reason_where_it_is_absent(captures: Path) -> None:
    report = json.loads(run(captures, "compare", "ref", "cand", "--format", "json").stdout)
    metrics = report["rows"][0]["metrics"]
    assert metrics["toy"] == 2 * metrics["max_abs"] == 0.5
    assert metrics["quiet"] is None and metrics["reasons"]["quiet"] == "never there"
    assert "further" not in metrics
    assert report["statistics"]["toy"]["max"] == 0.5 and "quiet" not in report["statistics"]


def test_it_is_in_csv_and_remembered(captures: Path) -> None:
    for _ in range(2):  # the second time from what was measured before
        table = run(captures, "compare", "ref", "cand", "--format", "csv").stdout
        (row,) = csv.DictReader(io.StringIO(table))
        assert row["toy"] == "0.5" and "quiet" not in row


def test_what_was_measured_without_it_is_measured_again(captures: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "layertui.cli.main", "compare", "ref", "cand"],
        cwd=captures, capture_output=True, check=False,
    )  # fmt: skip
    report = json.loads(run(captures, "compare", "ref", "cand", "--format", "json").stdout)
    assert report["rows"][0]["metrics"]["toy"] == 0.5


@pytest.mark.parametrize("form", ["text", "html", "markdown"])
def test_it_stands_first_where_it_is_asked_for(captures: Path, form: str) -> None:
    text = run(captures, "compare", "ref", "cand", "--metric", "toy", "--format", form).stdout
    assert "TOY" in text and "5.000e-01" in text


def test_it_can_be_limited(captures: Path) -> None:
    words = ("compare", "ref", "cand", "--policy", "fixed", "--threshold")
    assert run(captures, *words, "toy=0.6").returncode == 0
    done = run(captures, *words, "toy=0.4")
    assert done.returncode == 1 and "toy 5.000e-01 > limit 0.4" in done.stdout
    (captures / "rules.toml").write_text('[thresholds]\n"*" = { toy = 0.4 }\n')
    assert run(captures, "compare", "ref", "cand", "--rules", "rules.toml").returncode == 1


def test_limits_of_it_are_learned(captures: Path) -> None:
    assert run(captures, "thresholds", "ref", "cand", "-o", "limits.json").returncode == 0
    limits = json.loads((captures / "limits.json").read_text())["layers"]["layers.0.mlp-output"]
    assert limits["toy"] == pytest.approx(0.75)  # the margin is 1.5
    done = run(captures, "compare", "ref", "cand", "--thresholds", "limits.json")
    assert done.returncode == 0


def test_the_screens_have_it(captures: Path) -> None:
    done = run(captures, program=SCREEN)
    assert done.stderr == ""
    bars, value, head, limits = done.stdout.splitlines()
    assert bars == "1 7 0"
    assert value == "5.0e-01"
    assert "TOY" in head
    assert limits == "policy=fixed toy=0.5"
