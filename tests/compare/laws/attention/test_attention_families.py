"""Causes in the attention of model families that project and mask in their own ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from layertui.compare.laws.causes import diagnose
from layertui.compare.model import Cause
from support.laws.attention_models import (
    TOKENS,
    attention_of,
    compared,
    ids,
    layer,
    model_of,
    wrapped,
)

DTYPES = (torch.float32, torch.bfloat16)


def first_cause(folder: Path, one: Any, other: Any, **inputs: Any) -> Cause:
    """The best cause of the only attention that sticks out."""
    found = compared(folder, one, other, **inputs)
    (judged,) = [j for j in attention_of(found) if j.excess]
    return diagnose(found.scene, judged).causes[0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("kind", "where"), [("bert", "attention.self"), ("gpt2", "attn")])
def test_a_scale_is_found(tmp_path: Path, kind: str, where: str, dtype: torch.dtype) -> None:
    one, other = model_of(kind, dtype=dtype), model_of(kind, dtype=dtype)
    layer(other, 2).get_submodule(where).scaling *= 1.2
    cause = first_cause(tmp_path, one, other)
    assert cause.name == "attention-scale"
    assert abs(float(cause.candidate) - 0.3) < 5 * float(cause.uncertainty)


def _unmasked(_: Any, given: dict[str, Any]) -> None:
    given["attention_mask"] = torch.zeros_like(given["attention_mask"])


@pytest.mark.parametrize("dtype", DTYPES)
def test_padding_that_an_encoder_sees_is_named(tmp_path: Path, dtype: torch.dtype) -> None:
    one, other = model_of("bert", dtype=dtype), model_of("bert", dtype=dtype)

    wrapped(layer(other, 2).attention.self, _unmasked)
    padding = torch.ones(2, TOKENS, dtype=torch.long)
    padding[1, TOKENS - 5 :] = 0
    cause = first_cause(tmp_path, one, other, input_ids=ids(2), attention_mask=padding)
    assert cause.name == "attention-mask"
    assert cause.text == "padding is not hidden"
