"""Two checkpoints of one model: what differs is named, and what is rounding is said to be that."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from layertui.capture import open_capture, record
from layertui.capture.weights import Weights, open_weights
from layertui.capture.weights.recorded import INDEX
from layertui.cli.main import status_of
from layertui.compare.checks import weights as checks
from layertui.compare.checks.two_sides import check_pair
from layertui.compare.checks.weights import (
    WeightsReport,
    check_weights,
    compare_weights,
)
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.weights import weight_difference
from layertui.compare.weights.models import ModelPaths
from layertui.compare.weights.parameters import SideParameters, Weight

Tensors = dict[str, torch.Tensor]
DOWN = "model.layers.1.mlp.down_proj.weight"
IDS = torch.tensor([[3, 17, 42, 5]])

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tensors(real: Path) -> Tensors:
    found: Tensors = {}
    for shard in (real / "weights" / "hf_sharded").glob("*.safetensors"):
        found |= load_file(shard)
    return found


def saved(folder: Path, tensors: Tensors, **config: Any) -> Path:
    folder.mkdir()
    save_file({n: t.contiguous() for n, t in tensors.items()}, folder / "model.safetensors")
    if config:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


def compared(one: Path, other: Path) -> WeightsReport:
    ours = SideParameters(open_weights(one))
    report = compare_weights(ours, checks.parameters_beside(ours, open_weights(other), {}, None))  # type: ignore
    assert report is not None
    return report


def test_a_checkpoint_is_its_own_equal_in_any_form(
    real: Path, tmp_path: Path, tensors: Tensors
) -> None:
    shards, whole = real / "weights" / "hf_sharded", real / "weights" / "pytorch_model.bin"
    for one, other in ((shards, whole), (whole, shards), (shards, shards)):
        report = compared(one, other)
        assert report == WeightsReport(21)


@pytest.mark.parametrize("joined_first", [True, False])
def test_joined_parameters_are_compared_with_their_parts(
    real: Path, tmp_path: Path, tensors: Tensors, joined_first: bool
) -> None:
    fused: Tensors = dict(tensors)
    for layer in ("model.layers.0.", "model.layers.1."):
        qkv = [fused.pop(f"{layer}self_attn.{n}_proj.weight") for n in "qkv"]
        both = [fused.pop(f"{layer}mlp.{n}_proj.weight") for n in ("gate", "up")]
        fused[f"{layer}self_attn.qkv_proj.weight"] = torch.cat(qkv)
        fused[f"{layer}mlp.gate_up_proj.weight"] = torch.cat(both)
    fused["model.layers.1.self_attn.qkv_proj.weight"][40] += 0.1  # a row of k_proj
    paths = [saved(tmp_path / "fused", fused), real / "weights" / "hf_sharded"]
    report = compared(*(paths if joined_first else paths[::-1]))
    assert not report.missing
    assert not report.extra
    (found,) = report.differences
    name = "qkv_proj" if joined_first else "k_proj"
    assert found.name == f"model.layers.1.self_attn.{name}.weight"
    assert found.differing == 32


def test_copies_are_told_without_any_arithmetic(
    real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = real / "weights" / "hf_sharded"
    copy = Path(shutil.copytree(shards, tmp_path / "copy"))
    monkeypatch.setattr(Weight, "between", lambda *_: pytest.fail("converted"))
    assert compared(shards, copy) == WeightsReport(21)


def test_what_differs_is_named_with_figures(real: Path, tmp_path: Path, tensors: Tensors) -> None:
    wrong = {name: tensor.clone() for name, tensor in tensors.items()}
    wrong[DOWN] *= 1.2
    wrong["model.norm.weight"][3] = float("nan")
    del wrong["model.layers.0.input_layernorm.weight"]
    wrong["model.layers.0.self_attn.q_norm.weight"] = torch.ones(8)
    wrong["lm_head.weight"] = torch.ones(3, 3)
    report = compared(real / "weights" / "hf_sharded", saved(tmp_path / "wrong", wrong))
    assert report.missing == ["model.layers.0.input_layernorm.weight"]
    assert report.extra == ["model.layers.0.self_attn.q_norm.weight"]
    found = {difference.name: difference for difference in report.differences}
    assert found.keys() == {DOWN, "model.norm.weight", "lm_head.weight"}
    assert found[DOWN].differing == found[DOWN].total == tensors[DOWN].numel()
    assert found[DOWN].relative_l2 == pytest.approx(0.2, rel=1e-5)
    assert found["model.norm.weight"].differing == 1
    assert np.isnan(found["model.norm.weight"].relative_l2)
    assert "shapes" in found["lm_head.weight"].words
    assert all(difference.rounded is None for difference in report.differences)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("wide", [True, False])
def test_rounding_is_said_to_be_that(
    real: Path, tmp_path: Path, tensors: Tensors, dtype: torch.dtype, wide: bool
) -> None:
    """Whether it is stored in the narrow dtype, or in the wide one again."""
    coarse = {name: tensor.to(dtype) for name, tensor in tensors.items()}
    coarse = {name: tensor.float() if wide else tensor for name, tensor in coarse.items()}
    path = saved(tmp_path / "coarse", coarse)
    exact = [n for n, t in tensors.items() if torch.equal(t, t.to(dtype).float())]
    name = str(dtype).removeprefix("torch.")
    for report, side in (
        (compared(real / "weights" / "hf_sharded", path), "candidate"),
        (compared(path, real / "weights" / "hf_sharded"), "reference"),
    ):
        assert len(report.differences) == 21 - len(exact)
        assert {found.rounded for found in report.differences} == {(side, name)}
    coarse[DOWN] = coarse[DOWN] * 1.5
    worse = compared(real / "weights" / "hf_sharded", saved(tmp_path / "worse", coarse))
    assert [f.name for f in worse.differences if f.rounded is None] == [DOWN]


def test_experts_stacked_and_apart(tmp_path: Path) -> None:
    stack, down = torch.randn(3, 10, 4), torch.randn(3, 4, 5)
    layer = "model.layers.0.mlp.experts"
    apart: Tensors = {}
    for number in range(3):
        apart[f"{layer}.{number}.gate_proj.weight"] = stack[number, :5].clone()
        apart[f"{layer}.{number}.up_proj.weight"] = stack[number, 5:].clone()
        apart[f"{layer}.{number}.down_proj.weight"] = down[number].clone()
    one = saved(tmp_path / "stack", {f"{layer}.gate_up_proj": stack, f"{layer}.down_proj": down})
    assert compared(one, saved(tmp_path / "apart", apart)) == WeightsReport(9)
    assert compared(tmp_path / "apart", one) == WeightsReport(9)
    apart[f"{layer}.2.up_proj.weight"][0] += 1
    (found,) = compared(one, saved(tmp_path / "wrong", apart)).differences
    assert found.name == f"{layer}.gate_up_proj[2].up_proj"
    assert found.differing == 4


def test_quantised_and_other_kinds(tmp_path: Path) -> None:
    numbers = torch.arange(-8, 8, dtype=torch.int8).reshape(4, 4)
    pairs = torch.ones(3, dtype=torch.complex64)
    first = {"a.weight": numbers, "b.freqs_cis": pairs, "c.mask": torch.tensor([True, False])}
    other = {
        "a.weight": numbers.clone(),
        "b.freqs_cis": pairs.clone(),
        "c.mask": torch.tensor([True, True]),
    }
    other["a.weight"][0, 0] = 7
    other["b.freqs_cis"][1] = 2
    report = compared(saved(tmp_path / "a", first), saved(tmp_path / "b", other))
    assert {f.name: f.differing for f in report.differences} == {
        "a.weight": 1, "b.freqs_cis": 1, "c.mask": 1,
    }  # fmt: skip
    floats = {**other, "a.weight": numbers.float()}
    differences = compared(tmp_path / "a", saved(tmp_path / "c", floats)).differences
    problems = {found.name: found.problem for found in differences}
    assert problems["a.weight"] == "stored as int8 and float32"


def test_names_that_two_parameters_share_are_compared_by_themselves(tmp_path: Path) -> None:
    first = {
        "h.0.attn.c_attn.weight": torch.ones(2),
        "layers.0.self_attn.qkv_proj.weight": torch.ones(2),
    }
    other = {name: tensor + i for i, (name, tensor) in enumerate(first.items())}
    (found,) = compared(saved(tmp_path / "a", first), saved(tmp_path / "b", other)).differences
    assert found.name == "layers.0.self_attn.qkv_proj.weight"


def test_a_stop_is_heard_between_blocks(real: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_difference, "BLOCK", 64)
    side = SideParameters(open_weights(real / "weights" / "hf_sharded"))
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > 30

    assert compare_weights(side, side, cancelled) is None
    assert asked == 31


def test_blocks_do_not_change_what_is_found(
    real: Path, tmp_path: Path, tensors: Tensors, monkeypatch: pytest.MonkeyPatch
) -> None:
    noisy = {name: tensor + torch.randn_like(tensor) * 1e-3 for name, tensor in tensors.items()}
    path = saved(tmp_path / "noisy", noisy)
    whole = compared(real / "weights" / "hf_sharded", path)
    monkeypatch.setattr(weight_difference, "BLOCK", 100)
    blocks = compared(real / "weights" / "hf_sharded", path)
    for one, other in zip(whole.differences, blocks.differences, strict=True):
        assert one.relative_l2 == pytest.approx(other.relative_l2)
        assert (one.name, one.differing) == (other.name, other.differing)


def test_memory_stays_bounded(tmp_path: Path) -> None:
    big = torch.randn(4096, 8192).bfloat16()
    one = saved(tmp_path / "one", {"a.weight": big})
    big[-1, -1] += 1
    other = saved(tmp_path / "other", {"a.weight": big.float()})  # 128 MiB
    tracemalloc.start()
    (found,) = compared(one, other).differences
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.differing == 1
    assert peak < 32 << 20


# In `layertui check`


def runs(tmp_path: Path, one: Path, other: Path, **more: Any) -> tuple[Path, Path]:
    sides = tmp_path / "left", tmp_path / "right"
    for side, checkpoint in zip(sides, (one, other), strict=True):
        model = AutoModelForCausalLM.from_pretrained(checkpoint).eval()
        with torch.no_grad(), record(model, side, **more):
            model(IDS)
    return sides


@pytest.fixture
def two(real: Path, tmp_path: Path, tensors: Tensors) -> tuple[Path, Path]:
    """A checkpoint, and one with a wrong weight and another eps."""
    good = Path(shutil.copytree(real / "weights" / "hf_sharded", tmp_path / "good"))
    config = json.loads((good / "config.json").read_text())
    wrong = {name: tensor.clone() for name, tensor in tensors.items()}
    wrong[DOWN] *= 1.2
    config |= {"rms_norm_eps": 1e-5, "transformers_version": "5.0.0"}
    return good, saved(tmp_path / "bad", wrong, **config)


def test_check_names_the_weights_that_differ(
    two: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = [str(side) for side in runs(tmp_path, *two)]
    assert status_of(["check", *sides]) == 1  # each capture knows its checkpoint
    out = capsys.readouterr().out
    assert f"1 of 21 weights differs: {DOWN} (all 1536 elements, relative L2 0.2)" in out
    assert "the configs of the checkpoints differ in rms_norm_eps (1e-06 and 1e-05)" in out
    assert "transformers_version" not in out
    same = ["--reference-model", str(two[0]), "--candidate-model", str(two[0])]
    status_of(["check", *sides, *same, "--format", "json"])
    report = json.loads(capsys.readouterr().out)
    assert not [f for f in report["findings"] if f["code"] == "weights"]
    assert status_of(["check", *sides, "--candidate-model", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert status_of(["check", sides[0], "--candidate-model", str(two[0])]) == 2
    assert "need two captures" in capsys.readouterr().err


def test_digests_of_both_captures_are_compared_without_any_checkpoint(
    two: tuple[Path, Path], tmp_path: Path
) -> None:
    sides = runs(tmp_path, *two, parameters="small")
    shutil.rmtree(two[0])
    shutil.rmtree(two[1])
    comparison = open_comparison(*map(str, sides))
    found = [f for f in check_pair(comparison) if f.code == "weights"]
    assert [f.records for f in found] == [(DOWN,)]
    assert "1 of " in found[0].what
    assert found[0].severity == "warning"
    # what was kept by itself shows no difference, and its absence none either
    assert not [f for f in check_weights(comparison) if f.code == "weights"]
    index = sides[1] / INDEX
    index.write_text("{")
    again = [f.what for f in check_pair(open_comparison(*map(str, sides))) if f.code == "weights"]
    assert len(again) == 1
    assert "kept parameters cannot be read" in again[0]


def test_a_run_that_did_not_have_what_its_checkpoint_says(
    two: tuple[Path, Path], tmp_path: Path
) -> None:
    """Also where the reference's checkpoint is the only one that is known."""
    good, bad = two
    sides = runs(tmp_path, good, bad, parameters="small")
    shutil.rmtree(bad)
    comparison = open_comparison(*map(str, sides), models=ModelPaths(None, str(good)))
    found = check_weights(comparison)
    assert [(f.side, f.records) for f in found] == [("candidate", (DOWN,))]
    assert "1 of 21 parameters of the run were not those of its checkpoint" in found[0].what
    right = open_comparison(str(sides[0]), str(sides[0]), models=ModelPaths(str(good)))
    assert check_weights(right) == []


def test_a_checkpoint_of_the_candidate_completes_what_the_reference_kept(
    two: tuple[Path, Path], tmp_path: Path
) -> None:
    good, bad = two
    sides = runs(tmp_path, good, good, parameters="small")
    moved = good.rename(tmp_path / "moved")
    alone = open_comparison(*map(str, sides)).models
    assert alone.reference is not None
    assert alone.reference.partial
    found = open_comparison(*map(str, sides), models=ModelPaths(None, str(moved))).models
    assert found.reference is found.candidate is not None
    assert "used for the reference too" in found.notes[-1]
    tensors = load_file(bad / "model.safetensors")
    tensors["model.norm.weight"] += 1  # one of the small ones, so that it shows
    save_file(tensors, bad / "model.safetensors")
    other = open_comparison(*map(str, sides), models=ModelPaths(None, str(bad))).models
    assert other.reference is not None
    assert other.reference.partial
    assert other.candidate is not None


def test_equal_digests_are_no_finding(real: Path, tmp_path: Path) -> None:
    checkpoint = real / "weights" / "hf_sharded"
    sides = runs(tmp_path, checkpoint, checkpoint, parameters="small")
    assert not [f for f in check_pair(open_comparison(*map(str, sides))) if f.code == "weights"]


def test_nothing_is_read_where_one_checkpoint_serves_both(
    real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = real / "weights" / "hf_sharded"
    sides = runs(tmp_path, checkpoint, checkpoint)
    monkeypatch.setattr(checks, "compare_weights", lambda *_: pytest.fail("read"))
    comparison = open_comparison(*map(str, sides), models=ModelPaths(str(checkpoint)))
    assert isinstance(comparison, Comparison)
    assert isinstance(comparison.models.reference, Weights)
    assert check_weights(comparison) == []
    assert open_capture(sides[0]).model == str(checkpoint)
