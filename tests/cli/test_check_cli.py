"""`layertui check`, and what `compare` and `thresholds` make of its findings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from layertui.cli.main import status_of


def run(*args: object) -> int:
    return status_of([str(arg) for arg in args])


def pair(real: Path, name: str) -> tuple[Path, Path]:
    return real / name / "torch_dump", real / name / "max_dump"


def stale(real: Path, folder: Path) -> Path:
    """The candidate with one buffer written for the mlp of both layers."""
    shutil.copytree(pair(real, "llama-f32")[1], folder)
    first, second = (folder / f"model.layers.layers.{i}.mlp-output.max" for i in (0, 1))
    second.write_bytes(first.read_bytes())
    return folder


def other_ids(real: Path, folder: Path) -> Path:
    """The candidate, run on another third token as its embedding's input says."""
    shutil.copytree(pair(real, "llama-f32")[1], folder)
    file = folder / "model.embed_tokens-input_0.max"
    data = bytearray(file.read_bytes())
    ids = np.frombuffer(data, np.int64, 10, len(data) - 80).copy()
    ids[2] += 1
    data[-80:] = ids.tobytes()
    file.write_bytes(data)
    return folder


def test_a_good_capture_and_a_good_pair(real: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ref, cand = pair(real, "llama-f32")
    assert run("check", ref) == 0
    assert "nothing found" in capsys.readouterr().out
    assert run("check", ref, cand) == 0
    assert "0 errors, 0 warnings, 1 note" in capsys.readouterr().out


def test_a_stale_capture(real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = stale(real, tmp_path / "stale")
    assert run("check", bad) == 1
    out = capsys.readouterr().out
    assert "ERROR    2 outputs have the same bits in every layer" in out
    assert "records: model.layers.layers.0.mlp-output, model.layers.layers.1.mlp-output" in out
    assert run("check", pair(real, "llama-f32")[0], bad, "--format", "json") == 1
    report = json.loads(capsys.readouterr().out)
    assert report["schema"] == "layertui.check/1"
    errors = [f for f in report["findings"] if f["severity"] == "error"]
    assert [(f["code"], f["side"]) for f in errors] == [("stale", "candidate")]


def test_other_ids_are_said_first(
    real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ref, bad = pair(real, "llama-f32")[0], other_ids(real, tmp_path / "ids")
    assert run("check", ref, bad) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[2].startswith("ERROR    different token ids: 1 of 10, such as 41 and 42 at [2]")
    assert run("compare", ref, bad) == 1
    out = capsys.readouterr().out
    notes = [line for line in out.splitlines() if line.startswith("           - ")]
    assert "error: different token ids" in notes[0] and "stop here" in notes[0]
    assert run("compare", ref, bad, "--format", "json") == 1
    report = json.loads(capsys.readouterr().out)
    assert report["reference"]["notes"][0].startswith("error: different token ids")
    assert run(ref, bad, "--no-tui") == 1
    assert "error: different token ids" in capsys.readouterr().out
    assert run("thresholds", ref, bad) == 2
    out, err = capsys.readouterr()
    assert out == "" and "different token ids" in err and len(err.splitlines()) == 1


def test_what_cannot_be_checked(
    real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from layertui.capture.cases import write_index

    (tmp_path / "empty").mkdir()
    (tmp_path / "many").mkdir()
    write_index(str(tmp_path / "many"), "x", [{"name": "p0", "status": "done"}])
    for args, said in (
        (("missing",), "no such file"),
        ((tmp_path / "empty",), "empty directory"),
        ((pair(real, "llama-f32")[0], tmp_path / "empty"), "empty directory"),
        ((tmp_path / "many",), "several captures"),
        ((), "DIR"),
    ):
        assert run("check", *args) == 2
        out, err = capsys.readouterr()
        assert out == "" and said in err and len(err.splitlines()) == 1


def test_an_unreadable_record(
    real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(pair(real, "llama-f32")[1], tmp_path / "cut")
    victim = tmp_path / "cut" / "model.norm-output.max"
    victim.write_bytes(victim.read_bytes()[:-10])
    target = tmp_path / "findings.txt"
    assert run("check", tmp_path / "cut", "-o", target) == 1
    assert "1 record cannot be read: " in target.read_text()
    assert run("check", tmp_path / "cut", "-o", target) == 2
    assert "exists already" in capsys.readouterr().err
