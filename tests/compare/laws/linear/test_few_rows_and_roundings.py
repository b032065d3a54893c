"""Causes in models of other families: with few tokens, and with weights that are rounded twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

from layertui.compare.laws.causes import diagnose
from layertui.compare.model import Cause
from support.laws.law_checks import capture, tried


def stablelm() -> Any:
    config = transformers.StableLmConfig(
        vocab_size=320, hidden_size=64, num_hidden_layers=3, intermediate_size=128,
        num_attention_heads=4, num_key_value_heads=4, use_cache=False,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.StableLmForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(3)
    return model


def causes(folder: Path, one: Any, other: Any, tokens: int, label: str) -> tuple[Cause, ...]:
    ids = {"input_ids": torch.randint(4, 320, (1, tokens), generator=torch.manual_seed(3))}
    one.save_pretrained(folder / "weights")
    sides = [capture(model, folder / name, **ids) for model, name in ((one, "a"), (other, "b"))]
    found = tried(*sides, folder / "weights")
    return diagnose(found.scene, found.judged[label]).causes


def test_weights_in_int4_that_are_loaded_in_bfloat16(tmp_path: Path) -> None:
    one, other = stablelm(), stablelm()
    weight = other.model.layers[1].self_attn.q_proj.weight
    with torch.no_grad():
        size = weight.abs().amax(1, keepdim=True) / 7
        weight.copy_((weight / size).round().clamp(-7, 7) * size)
    label = "layers.1.self_attn.q_proj-output"
    found = causes(tmp_path, one.bfloat16(), other.bfloat16(), 12, label)
    assert [cause.name for cause in found] == ["quantised"]
    assert found[0].text == "weights in int4 by row"


def test_noise_is_still_explained_by_nothing(tmp_path: Path) -> None:
    one, other = stablelm(), stablelm()
    weight = other.model.layers[1].self_attn.q_proj.weight
    with torch.no_grad():
        weight += 0.05 * weight.std() * torch.randn(weight.shape, generator=torch.manual_seed(5))
    assert causes(tmp_path, one, other, 12, "layers.1.self_attn.q_proj-output") == ()


def test_rows_that_are_shifted_among_five_tokens(tmp_path: Path) -> None:
    one, other = stablelm(), stablelm()
    other.model.layers[1].mlp.down_proj.register_forward_hook(
        lambda _, given, output: output.roll(1, 1)
    )
    found = causes(tmp_path, one, other, 5, "layers.1.mlp.down_proj-output")
    assert [cause.name for cause in found] == ["token-shift"]
    assert found[0].text == "every row is 1 later than it should be"
