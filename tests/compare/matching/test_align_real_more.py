"""Further real pairs: batches, decode steps, echo, shards, overwritten steps, console logs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.judging.policy import policy_named


def compared(reference: Path, candidate: Path) -> Comparison:
    comparison = open_comparison(str(reference), str(candidate))
    comparison.measure(use_cache=False)
    return comparison


def pairs_of(comparison: Comparison, candidate: str) -> list[tuple[str, int]]:
    """The reference records that a candidate's record is paired with, by name and step."""
    return [
        (row.reference.name, row.step)
        for row in comparison.rows
        if row.kind == "pair"
        and row.reference is not None
        and row.candidate is not None
        and row.candidate.name == candidate
    ]


@pytest.fixture(scope="module")
def batch_steps(real: Path) -> Comparison:
    folder = real / "llama_batch_steps-f32"
    return compared(folder / "torch_dump", folder / "max_dump")


def test_batch_with_steps_and_echo_agrees(batch_steps: Comparison) -> None:
    assert batch_steps.failing == []
    assert batch_steps.exit_status() == 0


@pytest.mark.parametrize(
    ("candidate", "reference"),
    [
        ("model.norm-output", "model.model.norm-output"),
        ("model.norm(2)-output", "model.model.norm-output"),
        ("model.lm_head(2)-input_0", "model.lm_head-input_0"),
        ("model.lm_head(2)-output", "model.lm_head-output"),
        ("model-output_1", "model-output_logits"),
        ("model-input_0", "model-input_input_ids"),
    ],
)
def test_what_runs_again_for_all_tokens_is_paired_at_every_step(
    batch_steps: Comparison, candidate: str, reference: str
) -> None:
    """With one new token a step, the last token is all there is, and still both calls pair."""
    assert pairs_of(batch_steps, candidate) == [(reference, step) for step in (0, 1, 2)]


def test_lengths_and_offsets_stay_gaps(batch_steps: Comparison) -> None:
    assert pairs_of(batch_steps, "model-input_2") == []
    assert pairs_of(batch_steps, "model-input_3") == []


def test_first_shards_stand_for_their_modules(real: Path) -> None:
    comparison = compared(real / "qwen3-f32/torch_dump", real / "qwen3-f32/max_dump")
    shard = "model.lm_head.distributed_linear_layers.0-input_0"
    assert pairs_of(comparison, shard) == [("model.lm_head-input_0", 0)]
    heads = [
        row.canonical
        for row in comparison.rows
        if row.candidate is not None and row.candidate.module.startswith("model.lm_head")
    ]
    assert set(heads) == {"lm_head"}
    comparison.set_policy(policy_named("dtype"))
    assert comparison.failing == []


def test_files_of_an_overwritten_run_are_its_last_step(real: Path, tmp_path: Path) -> None:
    """MAX writes every step over the one before unless it is given another directory."""
    folder = real / "llama_batch_steps-f32"
    shutil.copytree(folder / "max_dump/2", tmp_path / "max_dump")
    comparison = compared(folder / "torch_dump", tmp_path / "max_dump")
    assert {row.step for row in comparison.rows if row.kind == "pair"} == {2}
    assert comparison.failing == []
    assert any("those of step 2 of the other" in note for note in comparison.notes("candidate"))


def test_other_numbers_of_tokens_never_meet_at_the_last(real: Path) -> None:
    """One prompt against two: a shape mismatch, not a comparison of the wrong rows."""
    comparison = compared(real / "llama-f32/torch_dump", real / "llama_batch_steps-f32/max_dump/0")
    levels = {comparison.verdicts[row.index].level for row in comparison.rows if row.kind == "pair"}
    assert levels == {"shape"}
    assert comparison.exit_status() == 1


def test_console_logs_agree_to_their_digits(real: Path) -> None:
    folder = real / "llama-console"
    comparison = compared(folder / "torch_tensors.log", folder / "max_tensors.log")
    assert comparison.failing == []
    assert comparison.exit_status() == 0
    assert comparison.order.same is True
    apart = [
        comparison.verdicts[row.index].reason
        for row in comparison.rows
        if row.kind == "pair" and comparison.verdicts[row.index].level == "missing"
    ]
    assert apart == ["no element that both dumps show"] * 2  # k lies inside the fused print's dots
