"""`layertui metrics`: files of the aiu layout, and one tidy table of everything."""

from __future__ import annotations

import csv
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from layertui.capture.load import load
from layertui.cli.main import status_of
from layertui.compare.comparison import open_comparison
from layertui.compare.reports.metric_csv import COLUMNS, write_metrics

PREFIX = "unknown_max-new-tokens-1_batch-size-1_seq-length-10_dtype-float32--"


def run(*args: object) -> int:
    return status_of(["metrics", *map(str, args)])


def pair(real: Path, name: str) -> tuple[Path, Path]:
    return real / name / "torch_dump", real / name / "max_dump"


def tidy(folder: Path) -> list[dict[str, str]]:
    with open(folder / "tidy.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def written(real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert run(*pair(real, "llama-f32"), "-o", tmp_path / "out") == 0
    out, err = capsys.readouterr()
    assert out == "" and "files in" in err
    return tmp_path / "out"


def test_aiu_files(real: Path, written: Path) -> None:
    comparison = open_comparison(*map(str, pair(real, "llama-f32")))
    row = next(r for r in comparison.rows if r.label == "layers.0.mlp.down_proj-output")
    assert row.reference and row.candidate and row.reference.locator and row.candidate.locator
    x = load(row.reference.locator).astype(np.float64).reshape(10, -1)
    y = load(row.candidate.locator).astype(np.float64).reshape(10, -1)
    lines = (written / f"{PREFIX}layers.0.mlp.down_proj.abs_diff.csv").read_text().splitlines()
    assert lines[:3] == ["abs_diff", "Reference shape [1, 10, 64] Candidate shape [10, 64]",
                         "Metric shape [10, 64]"]  # fmt: skip
    assert np.array_equal(np.array(lines[3:], np.float64), np.abs(y - x).reshape(-1))
    lines = (written / f"{PREFIX}layers.0.mlp.down_proj.cos_sim.csv").read_text().splitlines()
    assert lines[0] == "cos_sim" and lines[2] == "Metric shape [10]"
    cosines = (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
    assert np.array(lines[3:], np.float64) == pytest.approx(cosines, abs=1e-12)


def test_every_row_is_in_the_tidy_table(real: Path, written: Path) -> None:
    comparison = open_comparison(*map(str, pair(real, "llama-f32")))
    lines = tidy(written)
    assert tuple(lines[0]) == COLUMNS
    assert {int(line["index"]) for line in lines} == {row.index for row in comparison.rows}
    gaps = [line for line in lines if line["kind"] != "pair"]
    assert gaps and all(line["mse"] == "" and line["reason"] for line in gaps)
    mlp = [line for line in lines if line["module"] == "layers.1.mlp" and line["slot"] == "output"]
    assert [line["token"] for line in mlp] == [str(i) for i in range(10)]
    assert {line["layer"] for line in mlp} == {"1"} and {line["component"] for line in mlp} == {
        "mlp"
    }
    comparison.measure(use_cache=False)
    row = next(r for r in comparison.rows if r.label == "layers.1.mlp-output")
    result = comparison.measurements[row.index]
    mean = sum(float(line["mse"]) for line in mlp) / 10
    assert mean == pytest.approx(getattr(result, "mse", None), rel=1e-5)


def test_files_for_every_step(real: Path, tmp_path: Path) -> None:
    assert run(*pair(real, "llama_steps-f32"), "-o", tmp_path / "out") == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert any("max-new-tokens-3" in name for name in names)
    assert any(name.endswith("--layers.1.mlp_step-2.cos_sim.csv") for name in names)


def test_nan_and_unreadable(real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ref, cand = pair(real, "llama-f32")
    shutil.copytree(cand, tmp_path / "bad")
    nan = tmp_path / "bad" / "model.layers.layers.0.mlp-output.max"
    nan.write_bytes(nan.read_bytes()[:-4] + b"\x00\x00\xc0\x7f")
    cut = tmp_path / "bad" / "model.norm-output.max"
    cut.write_bytes(cut.read_bytes()[:-4])
    assert run(ref, tmp_path / "bad", "-o", tmp_path / "out") == 1
    assert "1 pair without numbers, as norm-output" in capsys.readouterr().err
    values = (tmp_path / "out" / f"{PREFIX}layers.0.mlp.abs_diff.csv").read_text().splitlines()[3:]
    assert math.isnan(float(values[-1])) and sum(math.isnan(float(v)) for v in values) == 1
    lines = tidy(tmp_path / "out")
    mlp = [line for line in lines if line["module"] == "layers.0.mlp" and line["slot"] == "output"]
    assert [math.isnan(float(line["mse"])) for line in mlp] == [False] * 9 + [True]
    (norm,) = [line for line in lines if line["module"] == "norm" and line["slot"] == "output"]
    assert norm["verdict"] == "unreadable" and "norm-output" in norm["reason"]
    assert not list((tmp_path / "out").glob("*--norm.*"))


def test_names_stay_in_the_directory(tmp_path: Path) -> None:
    for side in ("a", "b"):
        (tmp_path / side).mkdir()
        arrays = {
            name: np.ones((2, 3), np.float32)
            for name in (
                "../../evil-output",
                "..%2f;x-output",
                "a b-output",
                "a_b-output",
                "A_b-output",
            )
        }
        np.savez(tmp_path / side / "x.npz", **arrays)  # fmt: skip
    comparison = open_comparison(str(tmp_path / "a"), str(tmp_path / "b"))
    (tmp_path / "out").mkdir()
    written = write_metrics(comparison, str(tmp_path / "out"))
    assert len(written.files) == len(set(map(str.lower, written.files)))
    assert len([n for n in written.files if n.endswith("cos_sim.csv")]) == len(
        [r for r in comparison.rows if r.kind == "pair"]
    )
    assert all("/" not in name for name in written.files)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(written.files)
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == ["a", "b", "out"]


def test_nothing_is_replaced_unasked(
    real: Path, written: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = (*pair(real, "llama-f32"), "-o", written)
    assert run(*args) == 2
    assert "has files in it" in capsys.readouterr().err
    (written / "mine.txt").write_text("precious")
    assert run(*args, "--overwrite") == 0
    assert (written / "mine.txt").read_text() == "precious"
    assert not list(written.parent.glob(".layertui-*"))


def test_a_missing_capture(real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(pair(real, "llama-f32")[0], "missing", "-o", tmp_path / "out") == 2
    assert len(capsys.readouterr().err.splitlines()) == 1 and not (tmp_path / "out").exists()
