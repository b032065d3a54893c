"""A candidate that is the reference is said loudly, and two equal runs of one program are not."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from layertui.capture.open import open_capture
from layertui.compare.comparison import Comparison
from layertui.compare.judging.sameness import same_files
from layertui.compare.reports import Settings, part_of, whole
from layertui.compare.reports.forms.json_form import json_report
from layertui.compare.reports.forms.text_form import summary_line
from support.small_decoder import Decoder, write

SETTINGS = Settings("layertui compare ref cand")


def measured(reference: Path, candidate: Path, *frameworks: str) -> Comparison:
    sides = [open_capture(reference), open_capture(candidate)]
    if frameworks:
        sides = [replace(s, framework=f) for s, f in zip(sides, frameworks, strict=True)]
    found = Comparison(*sides)
    assert found.measure(use_cache=False, threads=1)
    return found


def decoder(path: Path, dtype: str = "bfloat16", kept: str | None = None) -> Path:
    return write(path, Decoder(layers=2, dtype=dtype).run(), kept or dtype)


@pytest.mark.parametrize("how", ["same", "symbolic link", "links to its files"])
def test_the_same_files_are_said(tmp_path: Path, how: str) -> None:
    reference = decoder(tmp_path / "ref")
    candidate = reference if how == "same" else tmp_path / "cand"
    if how == "symbolic link":
        candidate.symlink_to(reference)
    elif how != "same":
        candidate.mkdir()
        for file in reference.iterdir():
            (candidate / file.name).hardlink_to(file)
    found = measured(reference, candidate)
    assert found.same is not None and "read from the same files" in found.same.words
    assert found.notes("candidate")[0] == found.same.words


@pytest.mark.parametrize("form", ["text", "markdown", "html", "json", "junit"])
def test_every_report_says_it(tmp_path: Path, form: str) -> None:
    reference = decoder(tmp_path / "ref")
    found = measured(reference, reference)
    text = whole([part_of(found, form, SETTINGS)], form, SETTINGS)
    assert "both are read from the same files" in text
    assert found.exit_status() == 0
    report = json_report(found, "layertui")
    assert "but the candidate is the reference itself" in report["answer"]
    assert report["same_as_reference"] in report["outcome"]["doubts"]
    assert "but the candidate is the reference itself" in summary_line(found)


def test_equal_bits_of_two_dtypes_are_a_copy(tmp_path: Path) -> None:
    found = measured(decoder(tmp_path / "ref"), decoder(tmp_path / "cand", kept="float32"))
    assert found.same is not None
    assert "one is bfloat16, the other float32" in found.same.words


def test_equal_bits_of_two_frameworks_are_a_copy(tmp_path: Path) -> None:
    found = measured(decoder(tmp_path / "ref"), decoder(tmp_path / "cand"), "torch", "max")
    assert found.same is not None and "one is of torch, the other of max" in found.same.words


def test_two_equal_runs_of_one_program_are_no_copy(tmp_path: Path) -> None:
    reference = decoder(tmp_path / "ref")
    shutil.copytree(reference, tmp_path / "cand")
    assert measured(reference, tmp_path / "cand").same is None
    assert measured(reference, tmp_path / "cand", "torch", "torch").same is None


def test_one_bit_apart_is_no_copy(tmp_path: Path) -> None:
    run = Decoder(layers=2)
    run.run()
    write(tmp_path / "ref", run.records, "float32")
    last = next(reversed(run.records))
    run.records[last] = np.nextafter(run.records[last], np.float32(np.inf))
    write(tmp_path / "cand", run.records, "float32")
    found = measured(tmp_path / "ref", tmp_path / "cand", "torch", "max")
    assert found.same is None


def test_nothing_is_said_of_a_capture_without_files(tmp_path: Path) -> None:
    capture = replace(open_capture(decoder(tmp_path / "ref")), records=[])
    assert same_files(capture, capture) is None
