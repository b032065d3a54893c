"""A record that repeats an earlier one is judged by that one's law, as long as both sides do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.weights.models import ModelPaths
from support.laws.law_checks import capture

IDS = (torch.arange(24)[None] * 7 + 3) % 60


def shortened(model: Any) -> None:
    model.model.layers = model.model.layers[:1]
    model.config.num_hidden_layers = 1


def nothing(model: Any) -> None:
    pass


def nudged(model: Any) -> None:
    """Something that is not recorded adds a little between the last layer and the norm."""

    def add(module: Any, args: Any, kwargs: Any) -> Any:
        return (args[0] * 1.01, *args[1:]), kwargs

    model.model.norm.register_forward_pre_hook(add, with_kwargs=True, prepend=True)


def compared(
    real: Path, folder: Path, reference: Callable[[Any], None], candidate: Callable[[Any], None]
) -> Comparison:  # fmt: skip
    checkpoint = shutil.copytree(real / "weights" / "hf_sharded", folder / "model")
    paths: list[str] = []
    for name, change in (("reference", reference), ("candidate", candidate)):
        model = AutoModelForCausalLM.from_pretrained(checkpoint).eval()
        change(model)
        paths.append(str(capture(model, folder / name, IDS)))
    comparison = open_comparison(*paths)
    comparison.use_models(ModelPaths(str(checkpoint)))
    assert comparison.measure(use_cache=False)
    return comparison


@pytest.mark.parametrize("candidate", [nothing, nudged])
def test_what_only_one_side_does_between_two_records_is_no_rounding(
    real: Path, tmp_path: Path, candidate: Callable[[Any], None]
) -> None:
    """The reference's norm is given what its last layer gave, the candidate's something else."""
    reference = shortened if candidate is nothing else nothing
    comparison = compared(real, tmp_path, reference, candidate)
    first = comparison.first_divergence()
    assert first is not None and comparison.exit_status() == 1
    row = comparison.rows[first.index]
    assert (row.canonical, row.slot) == ("norm", "input_0")


def test_what_both_sides_hand_on_is_as_right_as_where_it_was_made(
    real: Path, tmp_path: Path
) -> None:
    comparison = compared(real, tmp_path, nothing, nothing)
    assert comparison.exit_status() == 0 and not comparison.findings()
