"""`layertui verify`: both scenarios in PyTorch, and what is written of them."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from layertui.capture import CaptureError, open_capture
from layertui.cli.main import status_of
from layertui.compare.comparison import open_comparison
from layertui.compare.rerun.session import RerunSession
from layertui.compare.rerun.verification import Verification, open_export
from support.tiny_checkpoints import IDS_TEXT, with_wrong_weight, write_llama

WRONG = "layers.1.self_attn.o_proj"


def verify(*args: Any) -> int:
    return status_of(["verify", *map(str, args)])


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    place = tmp_path_factory.mktemp("models")
    good = write_llama(place / "good")
    return good, with_wrong_weight(good, place / "bad", f"model.{WRONG}.weight")


@pytest.fixture(scope="module")
def export(models: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    good, bad = models
    place = tmp_path_factory.mktemp("export") / "export"
    sides = [good, "--candidate", "torch", "--candidate-model", bad]
    assert verify(*sides, "--input-ids", IDS_TEXT, "--save-layers", "-o", place) == 1
    return place


def test_both_scenarios_are_written(export: Path) -> None:
    for scenario in ("without_injection", "with_injection"):
        folder = export / scenario
        names = sorted(path.name for path in folder.iterdir())
        assert names == [
            "layer_verification_report_good_float32.txt", "module_names_torch.txt",
            "module_names_torch_candidate.txt", "mse_plot.png", "torch_candidate_layers",
            "torch_layers",
        ]  # fmt: skip
        assert (folder / "mse_plot.png").read_bytes().startswith(b"\x89PNG")
        modules = (folder / "module_names_torch_candidate.txt").read_text().splitlines()
        assert modules[0] == "model.embed_tokens" and modules[-1] == "(root)"
        assert modules.index("model.layers.0.mlp") < modules.index("model.layers.1.mlp")
        report = (folder / "layer_verification_report_good_float32.txt").read_text()
        at = [report.index(f"\n{title}\n") for title in (
            "EXECUTION ORDER VERIFICATION", "SUMMARY", "MSE STATISTICS",
            "PER-COMPONENT STATISTICS", "DETAILED LAYER RESULTS", "COMPARISON OF THE SCENARIOS",
        )]  # fmt: skip
        assert at == sorted(at)
        assert "input_0: reference [1,10,64], candidate [1,10,64]" in report
        assert f"wrong on its own: {WRONG}" in report
        assert "much lower with injection: accumulated" in report
        assert "the same in both: the implementation" in report


def test_with_injection_only_the_wrong_layer_and_what_holds_it_differ(export: Path) -> None:
    place = export / "with_injection"
    captures = str(place / "torch_layers"), str(place / "torch_candidate_layers")
    comparison = open_comparison(*captures)
    comparison.measure(use_cache=False)
    rows = comparison.rows
    assert all(comparison.verdicts[row.index].level == "identical" for row in rows
               if row.role == "input" and row.kind == "pair")  # fmt: skip
    failing = {rows[index].canonical for index in comparison.failing}
    holders = {"layers.1.self_attn", "layers.1", "model"}
    assert failing - {"model.model"} == {WRONG, *holders}  # what the decoder returns is normed
    without = open_comparison(
        str(export / "without_injection" / "torch_layers"),
        str(export / "without_injection" / "torch_candidate_layers"),
    )
    without.measure(use_cache=False)
    assert {without.rows[index].canonical for index in without.failing} > failing


def test_the_export_opens_again(export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = open_export(str(export))
    assert found.wrong_layers == (WRONG,)
    assert found.reference is not None and found.candidate is not None
    comparison = open_comparison(found.reference, found.candidate)
    comparison.measure(use_cache=False)
    with RerunSession(comparison) as session:
        assert found.fill(session) == len(found.rows)
        (index,) = session.wrong_rows()
        assert comparison.rows[index].canonical == WRONG
        task = session.pair_task(index)
        assert task is not None
        from layertui.compare.measuring.measure import measure

        assert measure(task) == session.results[index].single
    assert status_of([str(export), "--no-tui"]) == 1
    assert f"wrong on its own: {WRONG}" in capsys.readouterr().out


def test_without_saving_no_tensor_is_left(
    models: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """And a model against itself, two steps of it, differs nowhere."""
    good, _ = models
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    place = tmp_path / "export"
    steps = ["--mode", "generate", "--max-new-tokens", 2, "--prompt", "hello"]
    assert verify(good, "--candidate", "torch", *steps, "-o", place) == 0
    files = {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}
    assert len(files) == 9 and not any("layers/" in name for name in files)
    assert not list((tmp_path / "tmp").iterdir())
    found = open_export(str(place))
    assert found.reference is None and found.wrong_layers == ()
    assert {row.step for row in found.rows} == {0, 1}
    capsys.readouterr()
    assert status_of([str(place)]) == 0
    assert "the tensors were not saved" in capsys.readouterr().out
    assert verify(good, "--candidate", "torch", "-o", place) == 2
    assert "not empty (--overwrite replaces an export)" in capsys.readouterr().err
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    assert verify(good, "--candidate", "torch", "-o", tmp_path / "other", "--overwrite") == 2
    assert (tmp_path / "other" / "mine.txt").exists()


def test_captures_that_are_there_are_used(
    models: tuple[Path, Path], export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = models
    given = export / "without_injection"
    before = sorted((path, path.stat().st_mtime_ns) for path in given.rglob("*"))
    sides = ["--candidate", "torch", "--candidate-model", bad,
             "--reference-capture", given / "torch_layers",
             "--candidate-capture", given / "torch_candidate_layers"]  # fmt: skip
    assert verify(good, *sides, "-o", tmp_path / "export") == 1
    assert "captured " not in capsys.readouterr().out
    assert open_export(str(tmp_path / "export")).wrong_layers == (WRONG,)
    assert sorted((path, path.stat().st_mtime_ns) for path in given.rglob("*")) == before


def test_an_engine_needs_a_capture_of_its_own(
    models: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify(models[0], "--candidate", "./engine", "-o", tmp_path / "o") == 2
    assert "--candidate-capture DIR" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "{}", '{"schema": "layertui.verification/1"}', "[1]"])
def test_a_damaged_export_is_one_line(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "verification.json").write_text(content)
    with pytest.raises(CaptureError):
        open_export(str(tmp_path))
    assert status_of([str(tmp_path), "--no-tui"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("layertui: ") and err.count("\n") == 1
    (tmp_path / "verification.json").unlink()
    assert status_of([str(tmp_path)]) == 2
    assert "give two captures" in capsys.readouterr().err


def test_an_export_leads_nowhere_else(export: Path, tmp_path: Path) -> None:
    content = json.loads((export / "verification.json").read_text())
    content["reference"] = str(export / "without_injection" / "torch_layers")
    content["candidate"] = "../../"
    (tmp_path / "verification.json").write_text(json.dumps(content))
    found = open_export(str(tmp_path))
    assert isinstance(found, Verification)
    assert found.reference is found.candidate is None


def test_the_injected_capture_says_what_it_is(export: Path) -> None:
    capture = open_capture(export / "with_injection" / "torch_candidate_layers")
    assert capture.framework == "torch" and capture.complete
    assert "every layer was fed the reference's inputs" in capture.notes
