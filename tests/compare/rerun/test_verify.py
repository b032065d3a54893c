"""`layertui verify`: both scenarios in PyTorch, and what is written of them."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from layertui.capture import CaptureError, open_capture
from layertui.cli.commands.verify_export import keep_log, prepare_export
from layertui.cli.main import status_of
from layertui.compare.comparison import open_comparison
from layertui.compare.model import Measurement
from layertui.compare.rerun.scenario_report import order_check_lines
from layertui.compare.rerun.session import RerunSession
from layertui.compare.rerun.verification import Verification, open_export
from support.tiny_checkpoints import IDS_TEXT, with_wrong_weight, write_llama

DOCS = Path(__file__).parents[3] / "docs"
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
            "EXECUTION ORDER VERIFICATION:", "SUMMARY:", "MSE STATISTICS:",
            "PER-COMPONENT STATISTICS:", "DETAILED LAYER RESULTS (Execution Order):",
            "COMPARISON OF THE SCENARIOS:",
        )]  # fmt: skip
        assert at == sorted(at)
        assert f"wrong on its own: {WRONG}" in report
        assert "much lower with injection: accumulated" in report
        assert "the same in both: the implementation" in report


def test_the_parts_of_a_report(export: Path) -> None:
    """Every number of a report is that of the two captures beside it."""
    folder = export / "without_injection"
    report = (folder / "layer_verification_report_good_float32.txt").read_text()
    comparison = open_comparison(
        str(folder / "torch_layers"), str(folder / "torch_candidate_layers")
    )
    comparison.measure(use_cache=False)
    outputs = [r for r in comparison.rows if r.kind == "pair" and r.role in ("output", "value")]
    found = {r.index: comparison.measurements[r.index] for r in outputs}
    errors = [
        one.mse for one in found.values() if isinstance(one, Measurement) and one.mse is not None
    ]
    layers = len({(r.canonical, r.call, r.step) for r in outputs})
    assert f"Execution order check PASSED: {layers} layers in identical order" in report
    assert f"Total Layers: {layers}" in report
    for name, value in (("Min", min(errors)), ("Max", max(errors)), ("Mean", np.mean(errors)),
                        ("Median", np.median(errors))):  # fmt: skip
        assert re.search(rf"^{name}: +{re.escape(f'{value:e}')}$", report, re.MULTILINE), name
    own = [found[r.index] for r in outputs if r.canonical.endswith("down_proj")]
    sizes = [one.mse for one in own if isinstance(one, Measurement) and one.mse is not None]
    line = next(line for line in report.splitlines() if line.startswith("down_proj:"))
    assert line.split(": ", 1)[1].strip() == (
        f"Layers: 2, MSE Min: {min(sizes):e}, Max: {max(sizes):e}, Mean: {np.mean(sizes):e}"
    )
    detailed = report.partition("DETAILED LAYER RESULTS (Execution Order):")[2]
    listed = re.findall(r"^\[ *(\d+)\] (\S+)", detailed, re.MULTILINE)
    assert [int(number) for number, _ in listed] == list(range(layers))
    assert listed[:2] == [("0", "embed_tokens"), ("1", "rotary_emb")]
    mlp = detailed.partition("] layers.0.mlp\n")[2].splitlines()[:3]
    assert mlp[0].strip().startswith("MSE: 0.000000e+00")
    assert [line.strip() for line in mlp[1:]] == [
        "Input shapes: [[1, 10, 64]]", "Output shapes: [[1, 10, 64]]",
    ]  # fmt: skip


def test_another_order_is_said(tmp_path: Path) -> None:
    """And what is not known is not passed."""
    for side, names in (("ref", "abc"), ("cand", "acb")):
        folder = tmp_path / side
        folder.mkdir()
        (folder / "tensor_names.txt").write_text("".join(f"{n}-output\n" for n in names))
        for name in names:
            torch.save(torch.full((2, 3), float(ord(name))), folder / f"{name}-output.pt")
    (tmp_path / "unknown").mkdir()
    for name in "abc":
        shutil.copy(tmp_path / "ref" / f"{name}-output.pt", tmp_path / "unknown")
    paths = {name: str(tmp_path / name) for name in ("ref", "cand", "unknown")}
    first, *moved = order_check_lines(open_comparison(paths["ref"], paths["cand"]))
    assert first.startswith("Execution order check FAILED: 1 of 3") and "-output" in moved[0]
    (line,) = order_check_lines(open_comparison(paths["ref"], paths["ref"]))
    assert line == "Execution order check PASSED: 3 layers in identical order"
    (line,) = order_check_lines(open_comparison(paths["ref"], paths["unknown"]))
    assert line.startswith("Execution order check NOT POSSIBLE: ")


def test_the_manual_shows_this_layout(export: Path) -> None:
    """The tree of the manual, with MAX's words replaced by those of a candidate in PyTorch."""
    manual = (DOCS / "manual" / "verify.md").read_text()
    shown = manual.partition("EXPORT/\n")[2].partition("```")[0].replace("<model>", "good")
    shown = shown.replace("<encoding>", "float32").replace("_max.", "_torch_candidate.")
    shown = shown.replace("max_layers", "torch_candidate_layers")
    names = [line.split()[0] for line in shown.splitlines() if line.strip()]
    scenarios = [name for name in names if name.endswith("injection/")]
    assert scenarios == ["without_injection/", "with_injection/"]
    assert {path.name for path in export.iterdir()} == {
        "without_injection", "with_injection", "verification.json",
    }  # fmt: skip
    inside = {name.rstrip("/") for name in names} - {"without_injection", "with_injection",
                                                     "verification.json"}  # fmt: skip
    for scenario in scenarios:
        assert {path.name for path in (export / scenario).iterdir()} == inside


def test_without_matplotlib_there_is_no_plot_and_this_is_said(
    models: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    good, bad = models
    sides = [good, "--candidate", "torch", "--candidate-model", bad, "--input-ids", IDS_TEXT]
    assert verify(*sides, "-o", tmp_path / "export") == 1
    out = capsys.readouterr().out
    assert "note       no mse_plot.png is drawn: plotting needs the extra 'plot': pip" in out
    assert not list(tmp_path.rglob("mse_plot.png"))
    assert len(list((tmp_path / "export").rglob("layer_verification_report_*.txt"))) == 2
    assert open_export(str(tmp_path / "export")).wrong_layers == (WRONG,)


def test_an_interrupted_verification_is_replaced(
    models: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = models
    sides = [str(good), "--candidate", "torch", "--candidate-model", str(bad)]
    command = [*sides, "--input-ids", IDS_TEXT, "--save-layers", "-o", str(tmp_path / "export")]
    program = subprocess.Popen(
        [sys.executable, "-m", "layertui.cli", "verify", *command],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    started = time.monotonic()
    while not (tmp_path / "export" / "without_injection" / "torch_layers").exists():
        assert program.poll() is None and time.monotonic() - started < 300
        time.sleep(0.01)
    program.send_signal(signal.SIGINT)
    _, err = program.communicate(timeout=300)
    # Python itself ends by the signal where Ctrl-C fell into an `exec` of text, as imports have.
    assert program.returncode in (130, -signal.SIGINT)
    assert err.strip().splitlines()[-1] == "layertui: interrupted"
    assert status_of([str(tmp_path / "export")]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "its verification was not finished; run it again with --overwrite" in err
    assert verify(*command) == 2
    assert "--overwrite replaces an export" in capsys.readouterr().err
    assert verify(*command, "--overwrite") == 1
    assert open_export(str(tmp_path / "export")).wrong_layers == (WRONG,)


def test_the_log_of_a_capture_that_goes_away_is_kept(tmp_path: Path) -> None:
    export, capture = tmp_path / "export", tmp_path / "private" / "max_layers"
    prepare_export(str(export), "layertui verify", overwrite=False)
    capture.mkdir(parents=True)
    log = capture / "max_stderr.log"
    problem = f"MAX crashed (SIGSEGV; see {log})"
    assert keep_log(export, capture, problem) == problem  # there is none
    log.write_text("last words")
    assert keep_log(export, capture, problem) == f"MAX crashed (SIGSEGV; see {export / log.name})"
    assert (export / log.name).read_text() == "last words"
    assert keep_log(export, capture, "something else") == "something else"
    prepare_export(str(export), "layertui verify", overwrite=True)
    assert [path.name for path in export.iterdir()] == ["verification.json"]


def test_what_others_put_beside_an_export_stays(export: Path, tmp_path: Path) -> None:
    place = tmp_path / "export"
    shutil.copytree(export, place)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine.txt").write_text("mine")
    shutil.rmtree(place / "with_injection")
    (place / "with_injection").symlink_to(tmp_path / "elsewhere")
    (place / "mine.txt").write_text("mine")
    prepare_export(str(place), "layertui verify", overwrite=True)
    assert sorted(path.name for path in place.iterdir()) == ["mine.txt", "verification.json"]
    assert (tmp_path / "elsewhere" / "mine.txt").exists()


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
    steps = ["--mode", "generate", "--max-new-tokens", 2, "--test-input", "hello"]
    assert verify(good, "--candidate", "torch", *steps, "--export-path", place) == 0
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
