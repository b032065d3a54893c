"""A form of the report that is added to the registry is there in every place that has forms."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from layertui.compare.reports.form import ReportForm
from layertui.compare.reports.registry import FORMS

TOY = """
def part(comparison, settings, name):
    return f"toy report of {name or 'one'}: {len(comparison.rows)} rows, {settings.metric}"

def whole(parts, settings):
    return "\\n".join(part.text for part in parts)
"""
PROGRAM = """
from layertui.compare.reports.form import ReportForm
from layertui.compare.reports.registry import FORMS
FORMS["toy"] = ReportForm("toy", "for a test", "toy_form", several={several})
from layertui.cli.main import run
run()
"""


def run(folder: Path, *words: str, several: bool = True) -> subprocess.CompletedProcess[str]:
    (folder / "toy_form.py").write_text(TOY)
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(several=several), *words],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


def write_capture(folder: Path) -> None:
    folder.mkdir(parents=True)
    np.save(folder / "layers.0.mlp-output.npy", np.ones((2, 3), np.float32))


@pytest.fixture
def captures(tmp_path: Path) -> Path:
    for side in ("ref", "cand"):
        write_capture(tmp_path / side)
    return tmp_path


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    index = {"schema": "layertui.index/1", "cases": [{"name": "p0"}, {"name": "p1"}]}
    for side in ("refs", "cands"):
        for case in ("p0", "p1"):
            write_capture(tmp_path / side / case)
        (tmp_path / side / "index.json").write_text(json.dumps(index))
    return tmp_path


def test_it_is_offered_and_its_purpose_said(tmp_path: Path) -> None:
    shown = " ".join(run(tmp_path, "compare", "--help").stdout.split())
    assert "|toy]" in shown
    assert "toy for a test" in shown


def test_it_is_what_the_command_prints(captures: Path) -> None:
    done = run(captures, "compare", "ref", "cand", "--format", "toy", "--metric", "cosine")
    assert (done.returncode, done.stdout) == (0, "toy report of one: 1 rows, cosine\n")


def test_of_several_cases_too(cases: Path) -> None:
    done = run(cases, "compare", "refs", "cands", "--format", "toy")
    assert done.stdout == "toy report of p0: 1 rows, mse\ntoy report of p1: 1 rows, mse\n"


def test_a_form_for_one_comparison_refuses_several(cases: Path) -> None:
    done = run(cases, "compare", "refs", "cands", "--format", "toy", several=False)
    assert done.returncode == 2
    assert "--format toy holds one comparison" in done.stderr


@pytest.mark.parametrize("form", FORMS.values(), ids=lambda form: form.name)
def test_every_module_has_what_its_line_says(form: ReportForm) -> None:
    module = form.load()
    assert callable(module.part)
    assert form.several == hasattr(module, "whole")
