"""Rows of a vocabulary in another order: more channels than are looked at one by one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from layertui.compare.laws.output_orders import MOST_CHANNELS
from support.laws.law_checks import capture, tried

WORDS = MOST_CHANNELS + 809


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.lm_head = nn.Linear(48, WORDS, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.lm_head(x)


def swapped(weight: Tensor, one: int = 7, other: int = WORDS - 30) -> Tensor:
    weight = weight.clone()
    weight[[one, other]] = weight[[other, one]]
    return weight


def shuffled(weight: Tensor) -> Tensor:
    order = torch.arange(WORDS)
    order[100:140] = order[100:140].flip(0)
    return weight[order]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["f32", "bf16"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w.roll(1, 0), "every output channel is 1 after its place"),
        (lambda w: w.roll(-3, 0), "every output channel is 3 before its place"),
        (swapped, f"2 of {WORDS} output channels are in a different order"),
        (shuffled, f"40 of {WORDS} output channels are in a different order"),
    ],
    ids=["after", "before", "swapped", "shuffled"],
)
def test_rows_of_a_vocabulary_in_another_order(
    tmp_path: Path, dtype: torch.dtype, change: Callable[[Tensor], Tensor], words: str
) -> None:
    model: Any = Model().to(dtype)
    x = torch.randn(1, 20, 48, generator=torch.Generator().manual_seed(1)).to(dtype)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    left = capture(model, tmp_path / "left", x)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.lm_head.weight.copy_(change(model.lm_head.weight))
    right = capture(other, tmp_path / "right", x)
    found = tried(left, right, tmp_path / "model.safetensors", lambda s: s.law == "linear")
    cause = found.diagnosis("lm_head-output").causes[0]
    assert cause.name == "row-order" and words in cause.text
