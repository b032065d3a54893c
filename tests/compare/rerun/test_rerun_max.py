"""Layers of the real MAX run again: a defect of it found, a wrong weight found, decode steps."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from layertui.cli.main import status_of
from layertui.compare.comparison import open_comparison
from layertui.compare.rerun.verification import open_export
from support.tiny_checkpoints import (
    IDS_TEXT,
    olmo2_config,
    with_wrong_weight,
    write_causal,
    write_llama,
)

pytestmark = pytest.mark.max


@pytest.fixture(autouse=True)
def max_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """MAX keeps what it compiled where it always does."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)


@pytest.mark.xdist_group("others in max")
def test_the_norms_of_olmo2_are_convicted(real: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """MAX 26.7 gives them an eps of 1e-6 where the checkpoint has 1e-5. What comes after them is as
    wrong in the dump, and right alone.
    """
    sides = [str(real / "olmo2-f32" / name) for name in ("torch_dump", "max_dump")]
    wanted = ["q_norm", "k_norm"]
    names = [f"layers.0.self_attn.{name}" for name in wanted]
    more = ["--candidate-model", str(real / "checkpoints" / "olmo2-f32"), "--format", "json",
            "--no-cache"]  # fmt: skip
    status = status_of(["rerun", *sides, *names, "layers.0.post_attention_layernorm", *more])
    assert status == 1
    report = json.loads(capsys.readouterr().out)
    assert report["blamed"] == names
    rows = {row["canonical"]: row for row in report["rows"]}
    for name in names:
        assert rows[name]["single"]["mse"] == pytest.approx(rows[name]["entire"]["mse"], rel=1e-3)
    assert rows[names[0]]["single"]["mse"] == pytest.approx(3.2e-6, rel=0.05)
    after = rows["layers.0.post_attention_layernorm"]
    assert after["judgement"] == "inherited"
    assert after["entire"]["mse"] == pytest.approx(2.9e-6, rel=0.05)
    assert after["single"]["mse"] < 1e-13


@pytest.mark.xdist_group("llama in max")
def test_a_wrong_weight_is_found_in_both_steps(tmp_path: Path) -> None:
    good = write_llama(tmp_path / "good")
    wrong = "layers.1.mlp.down_proj"
    bad = with_wrong_weight(good, tmp_path / "bad", f"model.{wrong}.weight")
    place = tmp_path / "export"
    more = ["--mode", "generate", "--max-new-tokens", "2", "--input-ids", IDS_TEXT, "--dtype",
            "float32", "--device", "cpu", "--save-layers", "-o", str(place)]  # fmt: skip
    assert status_of(["verify", str(good), "--candidate-model", str(bad), *more]) == 1
    found = open_export(str(place))
    assert found.wrong_layers == (wrong,)
    steps = {row.step for row in found.rows if row.judgement == "wrong"}
    assert steps == {0, 1}
    attention = {(row.canonical, row.step): row for row in found.rows}
    for key in (("layers.0.self_attn", 1), ("layers.1.self_attn", 1)):
        single = attention[key].single
        assert single is not None and single.mse is not None and single.mse < 1e-12, key
    for scenario in ("without_injection", "with_injection"):
        names = {path.name for path in (place / scenario).iterdir()}
        assert {"max_layers", "torch_layers", "module_names_max.txt", "mse_plot.png"} <= names


def verified(model: Path, place: Path, *more: object) -> int:
    options = ["--input-ids", IDS_TEXT, "--device", "cpu", "--save-layers", "-o", place, *more]
    return status_of(["verify", str(model), *map(str, options)])


def failing(place: Path, scenario: str) -> set[str]:
    """The layers of a scenario that diverge."""
    sides = [str(place / scenario / f"{side}_layers") for side in ("torch", "max")]
    comparison = open_comparison(*sides)
    comparison.measure(use_cache=False)
    return {comparison.rows[i].canonical for i in comparison.failing
            if comparison.rows[i].role == "output"}  # fmt: skip


def interrupted(model: Path, place: Path) -> None:
    """A verification that gets Ctrl-C while MAX loads the model."""
    options = ["--input-ids", IDS_TEXT, "--device", "cpu", "--save-layers", "-o", str(place)]
    program = subprocess.Popen(
        [sys.executable, "-m", "layertui.cli", "verify", str(model), *options],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    started = time.monotonic()
    while not (place / "without_injection" / "max_layers" / "max_stderr.log").exists():
        assert program.poll() is None and time.monotonic() - started < 300
        time.sleep(0.05)
    program.send_signal(signal.SIGINT)
    _, err = program.communicate(timeout=60)
    assert program.returncode == 130
    assert err.strip().splitlines()[-1] == "layertui: interrupted"


def layout_of_the_manual(model: str) -> set[str]:
    """What the manual says that EXPORT holds, as paths, for a model in float32."""
    manual = Path(__file__).parents[3] / "docs" / "manual" / "verify.md"
    tree = manual.read_text(encoding="utf-8").partition("EXPORT/\n")[2].partition("```")[0]
    tree = tree.replace("<model>", model).replace("<encoding>", "float32")
    lines = [line for line in tree.splitlines() if line.strip()]
    top = [line.split()[0].rstrip("/") for line in lines if not line.startswith("    ")]
    inside = [line.split()[0].rstrip("/") for line in lines if line.startswith("    ")]
    scenarios = [name for name in top if name.endswith("_injection")]
    return {*top, *(f"{scenario}/{name}" for scenario in scenarios for name in inside)}


@pytest.mark.xdist_group("llama in max")
def test_a_right_model_passes_and_the_export_is_that_of_the_manual(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also when it was interrupted and is started again; and once more, when nothing is run."""
    pytest.importorskip("matplotlib")
    model, place = write_llama(tmp_path / "good"), tmp_path / "export"
    interrupted(model, place)
    assert status_of([str(place), "--no-tui"]) == 2
    assert "was not finished; run it again with --overwrite" in capsys.readouterr().err
    assert verified(model, place, "--overwrite") == 0
    out = capsys.readouterr().out
    assert "no layer is wrong on its own" in out
    assert re.findall("^reused     (.*), made", out, re.MULTILINE) == ["the capture in PyTorch"]
    found = {path.relative_to(place).as_posix() for path in (*place.glob("*"), *place.glob("*/*"))}
    assert found == layout_of_the_manual("good")
    for scenario in ("without_injection", "with_injection"):
        folder = place / scenario
        report = (folder / "layer_verification_report_good_float32.txt").read_text()
        whole_report(report, (folder / "module_names_torch.txt").read_text().splitlines())
    assert status_of([str(place), "--no-tui"]) == 0
    capsys.readouterr()
    cold = contents(place)
    begun = time.process_time()
    assert verified(model, place, "--overwrite") == 0
    assert time.process_time() - begun < 20
    out = capsys.readouterr().out
    assert len(re.findall("^reused ", out, re.MULTILINE)) == 3 and "captured " not in out
    assert contents(place) == cold


def contents(place: Path) -> dict[str, bytes]:
    return {path.relative_to(place).as_posix(): path.read_bytes()
            for path in place.rglob("*") if path.is_file()}  # fmt: skip


def whole_report(report: str, modules: list[str]) -> None:
    """The parts of a report in their order, with a row for every layer that both sides have."""
    titles = ["EXECUTION ORDER VERIFICATION:", "SUMMARY:", "MSE STATISTICS:",
              "PER-COMPONENT STATISTICS:", "DETAILED LAYER RESULTS (Execution Order):",
              "COMPARISON OF THE SCENARIOS:"]  # fmt: skip
    at = [report.index(f"\n{title}\n") for title in titles]
    assert at == sorted(at)
    passed = re.search(r"^Execution order check PASSED: (\d+) layers in identical order$", report,
                       re.MULTILINE)  # fmt: skip
    assert passed is not None
    count = int(passed[1])
    assert f"\nTotal Layers: {count}\n" in report
    for name in ("Min", "Max", "Mean", "Median"):
        assert re.search(rf"^{name}: +\d\.\d{{6}}e[+-]\d\d$", report, re.MULTILINE)
    detailed = report[at[4] : at[5]]
    rows = re.findall(
        r"^\[ *(\d+)\] (\S+)\n +MSE: \d\.\d{6}e[+-]\d\d  .*\n +Input shapes: \[.*\n"
        r" +Output shapes: \[\[.*$", detailed, re.MULTILINE,
    )  # fmt: skip
    assert [int(number) for number, _ in rows] == list(range(count))
    assert {name.rpartition("layers.")[2] for _, name in rows if "layers." in name} <= {
        name.rpartition("layers.")[2] for name in modules
    }
    row = detailed.partition("[  1] layers.0.input_layernorm\n")[2].splitlines()
    assert "e-1" in row[0]
    assert row[1].strip() == "Input shapes: [[1, 10, 64]], candidate [[10, 64]]"
    assert row[2].strip() == "Output shapes: [[1, 10, 64]], candidate [[10, 64]]"


@pytest.mark.xdist_group("llama in max")
def test_with_injection_a_wrong_weight_shows_in_its_layer_alone(tmp_path: Path) -> None:
    good = write_llama(tmp_path / "good")
    wrong = "layers.0.mlp.down_proj"
    bad = with_wrong_weight(good, tmp_path / "bad", f"model.{wrong}.weight")
    place = tmp_path / "export"
    assert verified(good, place, "--candidate-model", bad) == 1
    assert open_export(str(place)).wrong_layers == (wrong,)
    injected = failing(place, "with_injection")
    assert injected == {wrong, "layers.0.mlp", "layers.0"}
    assert failing(place, "without_injection") > injected


@pytest.mark.xdist_group("others in max")
def test_olmo2_is_verified(tmp_path: Path) -> None:
    """MAX 26.7 gives its norms of queries and keys another eps; all other layers are right."""
    config = olmo2_config()
    config.num_hidden_layers = 1  # each is compiled for minutes where MAX's cache is cold
    model, place = write_causal(tmp_path / "olmo2", config), tmp_path / "export"
    assert verified(model, place) == 1
    norms = {f"layers.0.self_attn.{name}_norm" for name in "qk"}
    assert set(open_export(str(place)).wrong_layers) == norms
    assert norms <= failing(place, "with_injection")
