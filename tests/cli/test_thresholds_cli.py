"""`layertui thresholds`, and `--thresholds` of the commands that compare."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from layertui.cli.main import status_of


def run(*args: object) -> int:
    return status_of([str(arg) for arg in args])


def pair(real: Path, name: str) -> tuple[Path, Path]:
    return real / name / "torch_dump", real / name / "max_dump"


@pytest.fixture
def limits(real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Limits learned from two clean runs of the same little llama."""
    path = tmp_path / "thresholds.json"
    runs = *pair(real, "llama-f32"), *pair(real, "llama_steps-f32")
    assert run("thresholds", *runs, "-o", path) == 0
    out, err = capsys.readouterr()
    assert out == "" and "records had no partner" in err
    return path


def test_the_file(limits: Path) -> None:
    content = json.loads(limits.read_text())
    assert content["schema"] == "layertui.thresholds/1"
    assert (content["percentile"], content["margin"]) == (99.0, 1.5)
    assert [run["pairs"] > 20 for run in content["made_from"]] == [True, True]
    found = content["layers"]["layers.1.mlp.down_proj-output"]
    assert set(found) == {"relative_l2", "nmse", "max_abs", "cosine_distance"}
    assert 1e-8 < found["relative_l2"] < 1e-5
    assert content["samples"]["layers.1.mlp.down_proj-output"] > 2  # steps count


def test_clean_passes_and_a_small_fault_fails(
    real: Path, tmp_path: Path, limits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ref, cand = pair(real, "llama-f32")
    assert run("compare", ref, cand, "--thresholds", limits, "--format", "json") == 0
    capsys.readouterr()
    wrong = shifted(cand, tmp_path / "wrong", 1 << 8)  # about 3e-5: float32 is allowed that
    assert run("compare", ref, wrong, "--policy", "dtype") == 0
    capsys.readouterr()
    assert run("compare", ref, wrong, "--thresholds", limits, "--format", "json") == 1
    report = json.loads(capsys.readouterr().out)
    assert report["first_divergence"]["module"] == "layers.1.self_attn.o_proj"
    assert "limits of thresholds.json" in report["policy"]


def shifted(cand: Path, copy: Path, bits: int) -> Path:
    """The capture with the last bits of one record's float32 values changed."""
    import numpy as np

    shutil.copytree(cand, copy)
    victim = copy / "model.layers.layers.1.self_attn.o_proj-output.max"
    data = bytearray(victim.read_bytes())
    values = np.frombuffer(data, np.uint32, 10 * 64, len(data) - 4 * 10 * 64).copy()
    data[-4 * 10 * 64 :] = (values ^ np.uint32(bits)).tobytes()
    victim.write_bytes(data)
    return copy


def test_unknown_layers_are_said(
    real: Path, limits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads(limits.read_text())
    content["layers"].pop("norm-output")
    limits.write_text(json.dumps(content))
    assert run("compare", *pair(real, "llama-f32"), "--thresholds", limits) == 0
    out = capsys.readouterr().out
    assert "- thresholds.json has no limits for 1 of 48 layers" in out
    assert "norm-output" in out


def test_rules_file_comes_first(
    real: Path, tmp_path: Path, limits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ref, cand = pair(real, "llama-f32")
    wrong = shifted(cand, tmp_path / "wrong", 1 << 8)
    rules = tmp_path / "rules.toml"
    rules.write_text('[thresholds]\n"layers.1.self_attn.o_proj" = { relative_l2 = 1e-2 }\n')
    args = ("compare", ref, wrong, "--thresholds", limits)
    assert run(*args) == 1
    assert run(*args, "--rules", rules) == 0
    capsys.readouterr()


def test_the_screen_s_command_line_takes_it(
    real: Path, limits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*pair(real, "llama-f32"), "--no-tui", "--thresholds", limits) == 0
    assert "limits of thresholds.json come first" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["", "{}", '{"abs_diff": {}, "cos_sim_avg": {}}'])
def test_a_bad_file_is_one_line(
    content: str, real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content)
    assert run("compare", *pair(real, "llama-f32"), "--thresholds", path) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and "bad.json" in err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["odd"], "odd has no partner"),
        (["--format", "aiu", "--margin", "2"], "--percentile and --margin"),
        (["--percentile", "101"], "101"),
        (["--margin", "0"], "0"),
    ],
)
def test_usage(more: list[str], said: str, real: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("thresholds", *pair(real, "llama-f32"), *more) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and said in err


def test_cases_are_taken_one_by_one(
    real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from layertui.capture.cases import write_index

    for side in ("torch_dump", "max_dump"):
        for case, source in (("p0", "llama-f32"), ("p1", "llama_v3-f32")):
            shutil.copytree(real / source / side, tmp_path / side / case)
        write_index(str(tmp_path / side), "x", [{"name": "p0", "status": "done"},
                                                {"name": "p1", "status": "done"}])  # fmt: skip
    sides = tmp_path / "torch_dump", tmp_path / "max_dump"
    assert run("thresholds", *sides) == 0
    assert len(json.loads(capsys.readouterr().out)["made_from"]) == 2
    write_index(str(sides[1]), "x", [{"name": "p0", "status": "done"}])
    assert run("thresholds", *sides) == 2
    assert "no case p1" in capsys.readouterr().err


def test_aiu_form(real: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("thresholds", *pair(real, "llama-f32"), "--format", "aiu") == 0
    content = json.loads(capsys.readouterr().out)
    assert list(content) == ["model_id", "abs_diff", "cos_sim_avg", "cos_sim_mean"]
    assert content["abs_diff"]["layers.0.mlp"] > 0
    assert content["cos_sim_avg"]["layers.0.mlp"] == pytest.approx(1.0)


def test_nothing_is_replaced_unasked(
    real: Path, limits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = limits.read_text()
    assert run("thresholds", *pair(real, "llama-f32"), "-o", limits) == 2
    assert "exists already" in capsys.readouterr().err and limits.read_text() == before
