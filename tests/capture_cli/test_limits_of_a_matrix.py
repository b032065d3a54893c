"""Limits learned from one matrix of runs, applied to another: good runs pass, a fault fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers

from layertui.cli.main import status_of
from support.tiny_checkpoints import write_tokenizer

FORWARD = ("--mode", "model-forward", "--batch-size", "1,2", "--seq-len", "4,9")
LAYER = "layers.1.mlp.down_proj"


def run(*args: object) -> int:
    return status_of([str(arg) for arg in args])


def captured(model: Path, place: Path, attention: str, seed: int) -> Path:
    options = (*FORWARD, "--attention", attention, "--seed", seed)
    assert run("capture", "torch", model, "-o", place, *options) == 0
    return place


@pytest.fixture(scope="module")
def good(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    place = tmp_path_factory.mktemp("good")
    return captured(llama, place / "a", "eager", 0), captured(llama, place / "b", "sdpa", 0)


@pytest.fixture(scope="module")
def new(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """The reference on other ids, a good candidate, and one with a projection off by 1e-5."""
    place = tmp_path_factory.mktemp("new")
    faulty = transformers.LlamaForCausalLM.from_pretrained(llama)
    with torch.no_grad():
        faulty.get_parameter("model.layers.1.mlp.down_proj.weight").mul_(1 + 1e-5)
    faulty.save_pretrained(place / "faulty")
    write_tokenizer(place / "faulty")
    return (
        captured(llama, place / "a", "eager", 1), captured(llama, place / "b", "sdpa", 1),
        captured(place / "faulty", place / "c", "sdpa", 1),
    )  # fmt: skip


def test_limits_pass_a_good_run_and_fail_a_fault(
    good: tuple[Path, Path], new: tuple[Path, Path, Path], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    limits = tmp_path / "thresholds.json"
    assert run("thresholds", *good, "--margin", 3, "-o", limits) == 0
    reference, clean, faulty = new
    assert run("compare", reference, clean, "--thresholds", limits) == 0
    assert run("compare", reference, faulty, "--policy", "dtype") == 0  # too small for these
    capsys.readouterr()
    more = ("--thresholds", limits, "--format", "json")
    assert run("compare", reference, faulty, *more) == 1
    cases = json.loads(capsys.readouterr().out)["cases"]
    assert [case["case"] for case in cases] == ["b1-s4", "b1-s9", "b2-s4", "b2-s9"]
    assert {case["report"]["first_divergence"]["module"] for case in cases} == {LAYER}
    for case in ("b1-s4", "b2-s9"):  # and one case alone
        assert run("compare", reference / case, faulty / case, "--thresholds", limits) == 1
        assert run("compare", reference / case, clean / case, "--thresholds", limits) == 0


def test_files_are_named_by_the_case(new: tuple[Path, Path, Path], tmp_path: Path) -> None:
    reference, _, faulty = new
    assert run("metrics", reference, faulty, "-o", tmp_path / "m") == 0
    for batch, length in ((1, 4), (1, 9), (2, 4), (2, 9)):
        names = [path.name for path in (tmp_path / "m" / f"b{batch}-s{length}").iterdir()]
        about = f"_max-new-tokens-1_batch-size-{batch}_seq-length-{length}_dtype-float32--"
        ends = [name.partition(about)[2] for name in names if about in name]
        assert len(ends) == len(names) - 1  # tidy.csv
        assert {f"{LAYER}.abs_diff.csv", f"{LAYER}.cos_sim.csv"} <= set(ends)


def test_the_sums_of_the_other_tool(
    good: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run("thresholds", *good, "--format", "aiu") == 0
    content = json.loads(capsys.readouterr().out)
    assert list(content) == ["model_id", "abs_diff", "cos_sim_avg", "cos_sim_mean"]
    assert content["abs_diff"][LAYER] > 0
    assert content["cos_sim_mean"][LAYER] == pytest.approx(1.0)
