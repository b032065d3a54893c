"""`layertui verify` where nothing of the candidate can be run: by the layers' laws, and said so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layertui.capture.runners.process import RunnerProcess
from layertui.capture.weights import open_weights
from layertui.cli.main import status_of
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.measuring.pair_reader import PairReader
from layertui.compare.rerun.offline import errors_by_law, offline_rows
from layertui.compare.rerun.session import RerunSession
from layertui.compare.rerun.verification import open_export
from layertui.compare.weights.weight import Weight
from support.tiny_checkpoints import IDS_TEXT, with_wrong_weight, write_llama

WRONG = "layers.1.self_attn.o_proj"
HOLDERS = {"layers.1.self_attn", "layers.1", "model.model", "model"}


def layertui(*args: Any) -> int:
    return status_of([*map(str, args)])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, the same with a wrong weight, and what both gave."""
    place = tmp_path_factory.mktemp("models")
    good = write_llama(place / "good")
    with_wrong_weight(good, place / "bad", f"model.{WRONG}.weight")
    for name in ("good", "bad"):
        run = [
            "capture",
            "torch",
            place / name,
            "--input-ids",
            IDS_TEXT,
            "-o",
            place / f"{name}_run",
        ]
        assert layertui(*run) == 0
    return place


def verify(place: Path, candidate: str, export: Path, *more: Any) -> int:
    return layertui(
        "verify", place / "good", "--reference-capture", place / "good_run",
        "--candidate-capture", place / f"{candidate}_run", "-o", export, *more,
    )  # fmt: skip


def compared(place: Path) -> Comparison:
    comparison = open_comparison(str(place / "good_run"), str(place / "bad_run"))
    comparison.measure(use_cache=False)
    return comparison


def test_the_wrong_layer_is_named_and_nothing_is_run(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def start(*_: Any) -> None:
        raise AssertionError("a runner was started")

    monkeypatch.setattr(RunnerProcess, "start", start)
    export = tmp_path / "export"
    assert verify(place, "bad", export, "--candidate", "torch", "--offline") == 1
    out = capsys.readouterr().out
    assert "by the layers' laws, nothing was run: --offline was given" in out.splitlines()[0]
    assert f"wrong on its own: {WRONG}\n" in out
    found = open_export(str(export))
    assert found.wrong_layers == (WRONG,)
    assert found.offline == "--offline was given"
    for scenario in ("without_injection", "with_injection"):
        names = {path.name for path in (export / scenario).iterdir()}
        assert names == {
            "layer_verification_report_good_float32.txt", "module_names_torch.txt",
            "module_names_torch_candidate.txt", "mse_plot.png",
        }  # fmt: skip
        report = (export / scenario / "layer_verification_report_good_float32.txt").read_text()
        assert "nothing was run" in report.lower()
        assert f"wrong on its own: {WRONG}" in report
    report = (export / "with_injection" / "layer_verification_report_good_float32.txt").read_text()
    assert "NOTHING WAS RUN: --offline was given" in report
    assert f"law of linear of {WRONG}" in report
    assert "\n      model: " not in report  # one checkpoint serves both sides


def test_what_its_own_checkpoint_has_otherwise_is_said(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export = tmp_path / "export"
    model = ["--candidate-model", place / "bad"]
    assert verify(place, "bad", export, "--candidate", "torch", "--offline", *model) == 1
    assert f"wrong on its own: {WRONG}\n" in capsys.readouterr().out
    report = (export / "with_injection" / "layer_verification_report_good_float32.txt").read_text()
    words = f"model: the candidate's checkpoint has a different model.{WRONG}.weight"
    assert report.count(words) == 1


def test_a_runner_that_cannot_be_started_is_no_obstacle(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export = tmp_path / "export"
    engine = str(tmp_path / "no-such-engine")
    assert verify(place, "bad", export, "--candidate", engine) == 1
    first = capsys.readouterr().out.splitlines()[0]
    assert "nothing was run" in first and "no-such-engine: cannot be started" in first
    assert open_export(str(export)).wrong_layers == (WRONG,)


def test_a_runner_that_is_there_is_used(place: Path, tmp_path: Path) -> None:
    export = tmp_path / "export"
    sides = ["--candidate", "torch", "--candidate-model", place / "bad"]
    assert verify(place, "bad", export, *sides) == 1
    found = open_export(str(export))
    assert found.offline is None and found.wrong_layers == (WRONG,)


def test_the_same_model_is_right_everywhere(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify(place, "good", tmp_path / "export", "--offline") == 0
    assert "no layer is wrong on its own" in capsys.readouterr().out


def test_errors_that_came_in_are_taken_out(place: Path) -> None:
    """Behind the wrong layer outputs are off by far more than rounding; by their laws they are
    not. Each single error is what numpy gives for the layer and its own inputs.
    """
    comparison = compared(place)
    errors = errors_by_law(comparison, open_weights(place / "good"))
    rows, wrong_layers = offline_rows(comparison, errors)
    assert wrong_layers == (WRONG,)
    by_name = {row.canonical: row for row in rows if row.slot in ("output", "output_0")}
    behind = by_name["layers.1.mlp.gate_proj"]
    assert behind.entire is not None and behind.single is not None
    assert behind.entire.relative_l2 is not None and behind.entire.relative_l2 > 1e-4
    assert behind.single.relative_l2 is not None and behind.single.relative_l2 < 1e-6
    assert behind.judgement in ("inherited", "fine")
    assert behind.inputs is not None and not behind.inputs.identical
    assert by_name[WRONG].judgement == "wrong"
    for holder in HOLDERS & by_name.keys():
        assert by_name[holder].judgement in ("inside", "wrong"), holder
    before = by_name["layers.0.self_attn.o_proj"]
    assert before.judgement == "fine"
    _check_against_numpy(comparison, place, by_name)


def _check_against_numpy(comparison: Comparison, place: Path, by_name: dict[str, Any]) -> None:
    def candidate(label: str) -> np.ndarray:
        index = next(row.index for row in comparison.rows if row.label == label)
        with PairReader(None, comparison.task(index).candidate) as reader:
            _, values, _ = reader.window((Ellipsis,))
        assert values is not None
        return values.astype(np.float64).reshape(-1, values.shape[-1])

    weights = open_weights(place / "good")
    parameter = weights.parameters[f"model.{WRONG}.weight"]
    expected = candidate(f"{WRONG}-input_0") @ Weight(parameter).read().astype(np.float64).T
    left = candidate(f"{WRONG}-output") - expected
    single = by_name[WRONG].single
    assert single.mse == pytest.approx(float(np.square(left).mean()), rel=1e-5)
    assert single.max_abs == pytest.approx(float(np.abs(left).max()), rel=1e-5)


def test_without_weights_the_norms_alone_are_told(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their weights are fitted; the wrong projection is then nobody's, and that is no success."""
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(place / "good" / "config.json", bare)
    captures = ["--reference-capture", place / "good_run", "--candidate-capture", place / "bad_run"]
    export = tmp_path / "export"
    assert layertui("verify", bare, *captures, "--offline", "-o", export) == 1
    out = capsys.readouterr().out
    assert "no layer is wrong on its own" in out
    assert f"{WRONG}: no law predicts what it should output" in out


def test_nothing_told_is_not_green(tmp_path: Path, place: Path) -> None:
    """Records that no law is known for: both scenarios agree, but nothing was verified."""
    for side in ("ref", "cand"):
        (tmp_path / side).mkdir()
        np.save(tmp_path / side / "a-output.npy", np.arange(8.0, dtype=np.float32).reshape(2, 4))
    captures = ["--reference-capture", tmp_path / "ref", "--candidate-capture", tmp_path / "cand"]
    run = ["verify", place / "good", *captures, "--offline", "-o", tmp_path / "export"]
    assert layertui(*run) == 1


def test_the_export_opens_with_the_same_judgements(place: Path, tmp_path: Path) -> None:
    export = tmp_path / "export"
    assert verify(place, "bad", export, "--offline", "--save-layers") == 1
    found = open_export(str(export))
    assert found.reference is not None and found.candidate is not None and found.injected is None
    comparison = open_comparison(found.reference, found.candidate)
    comparison.measure(use_cache=False)
    with RerunSession(comparison) as session:
        assert found.fill(session) == len(found.rows)
        said = {row.canonical: row.judgement for row in found.rows}
        for index, result in session.results.items():
            row = comparison.rows[index]
            if row.slot == "output":
                assert session.judgement(index).kind == said[row.canonical]
            assert any("nothing was run" in note for note in result.notes)
        assert {comparison.rows[i].canonical for i in session.wrong_rows()} == {WRONG}


def test_an_export_of_an_unknown_judgement(place: Path, tmp_path: Path) -> None:
    """A file may say anything."""
    export = tmp_path / "export"
    assert verify(place, "bad", export, "--offline") == 1
    path = export / "verification.json"
    content = json.loads(path.read_text())
    for row in content["rows"]:
        row["judgement"] = "excellent"
    path.write_text(json.dumps(content))
    comparison = compared(place)
    with RerunSession(comparison) as session:
        open_export(str(export)).fill(session)
        assert session.wrong_rows() == []
        assert {session.judgement(i).kind for i in session.results} == {"unknown"}
