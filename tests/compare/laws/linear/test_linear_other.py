"""Other projections' weights in the place of a projection's own, and how many heads one has."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from layertui.compare.laws.linear.bench import heads_of
from support.laws.law_checks import Tried, capture, tried

IDS = (torch.arange(24)[None] * 7 + 3) % 60

torch.set_num_threads(1)


def pair(real: Path, folder: Path, change: Callable[[Any], None]) -> Tried:
    """A model against the same with a change."""
    checkpoint = shutil.copytree(real / "weights" / "hf_sharded", folder / "model")
    captures: list[Path] = []
    for name in ("reference", "candidate"):
        model = AutoModelForCausalLM.from_pretrained(checkpoint).eval()
        if name == "candidate":
            with torch.no_grad():
                change(model.model)
        captures.append(capture(model, folder / name, IDS))
    return tried(*captures, checkpoint)


def other_layer(model: Any) -> None:
    model.layers[1].mlp.down_proj.weight.copy_(model.layers[0].mlp.down_proj.weight)


def other_projection(model: Any) -> None:
    attention = model.layers[1].self_attn
    attention.o_proj.weight.copy_(attention.q_proj.weight)


def exchanged(model: Any) -> None:
    gate, up = (getattr(model.layers[1].mlp, f"{name}_proj").weight for name in ("gate", "up"))
    kept = gate.clone()
    gate.copy_(up)
    up.copy_(kept)


@pytest.mark.parametrize(
    ("change", "module", "cause", "other"),
    [
        (other_layer, "mlp.down_proj", "other-layer", "layers.0.mlp.down_proj"),
        (other_projection, "self_attn.o_proj", "other-weights", "layers.1.self_attn.q_proj"),
        (exchanged, "mlp.gate_proj", "swapped", "layers.1.mlp.up_proj"),
    ],
)
def test_whose_weight_it_is(
    real: Path, tmp_path: Path, change: Callable[[Any], None], module: str, cause: str, other: str
) -> None:
    found = pair(real, tmp_path, change)
    label = f"layers.1.{module}-output"
    assert label in found.out()
    (first, *_) = found.diagnosis(label).causes
    assert (first.name, first.candidate) == (cause, other)
    assert first.after < 3 * first.usual


def test_how_many_heads_a_projection_has(real: Path, tmp_path: Path) -> None:
    scene = pair(real, tmp_path, lambda _: None).scene
    parts = {name: heads_of(scene, f"layers.0.self_attn.{name}_proj") for name in "qkvo"}
    assert parts == {"q": 4, "k": 2, "v": 2, "o": 1}
    assert heads_of(scene, "layers.0.mlp.up_proj") == 1
