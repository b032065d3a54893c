"""The laws of embeddings and of what is made of them, against torch and transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import nn

from layertui.capture import record
from layertui.compare.comparison import open_comparison
from layertui.compare.weights.models import ModelPaths
from support.laws.law_checks import Tried, tried

WORDS, WIDTH, TOKENS = 64, 16, 24
TABLE = "embed_tokens-output"


def build(family: str, dtype: torch.dtype = torch.float32, width: int = WIDTH) -> nn.Module:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "vocab_size": WORDS, "hidden_size": width, "intermediate_size": 24, "num_hidden_layers": 1,
        "num_attention_heads": 2, "attn_implementation": "eager", "use_cache": False,
    }  # fmt: skip
    if family == "gpt2":
        sizes = {"vocab_size": WORDS, "n_embd": WIDTH, "n_layer": 1, "n_head": 2,
                 "n_positions": 64, "attn_implementation": "eager", "use_cache": False}  # fmt: skip
        model = transformers.GPT2Model(transformers.GPT2Config(**sizes))
    elif family == "bert":
        sizes["max_position_embeddings"] = 64
        model = transformers.BertModel(transformers.BertConfig(**sizes))
    else:
        name = {"llama": "Llama", "gemma": "Gemma", "granite": "Granite"}[family]
        more = {"embedding_multiplier": 12.0} if family == "granite" else {}
        more |= {"head_dim": 8} if family == "gemma" else {}
        config = getattr(transformers, f"{name}Config")(**sizes, num_key_value_heads=2, **more)
        model = getattr(transformers, f"{name}Model")(config)
    return model.to(dtype).eval()


def run(model: nn.Module, folder: Path, ids: torch.Tensor | None = None) -> Path:
    if ids is None:
        # Few words, so that most occur more than once.
        ids = torch.randint(3, 20, (1, TOKENS), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode(), record(model, str(folder), overwrite=True):
        model(input_ids=ids)
    return folder


def check(tmp_path: Path, one: nn.Module, other: nn.Module, checkpoint: bool = True) -> Tried:
    weights = None
    if checkpoint:
        one.save_pretrained(tmp_path / "model")  # type: ignore[operator]
        weights = tmp_path / "model"
    return tried(run(one, tmp_path / "reference"), run(other, tmp_path / "candidate"), weights)


@pytest.mark.parametrize("checkpoint", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", ["llama", "gemma", "granite", "gpt2", "bert"])
def test_embeddings_of_transformers_keep_to_the_law(
    tmp_path: Path, family: str, dtype: torch.dtype, checkpoint: bool
) -> None:
    found = check(tmp_path, build(family, dtype), build(family, dtype), checkpoint)
    laws = [j for j in found.judged.values() if j.evaluation.site.law.startswith("embedding")]
    # Gemma's table multiplies by itself, Granite's is multiplied behind it.
    assert len(laws) == {"llama": 1, "gemma": 1, "granite": 2, "gpt2": 3, "bert": 4}[family]
    assert all(j.trusted and j.evaluation.candidate.ratio < 1.5 for j in laws)
    assert found.out() == []


def test_float32_against_bfloat16_is_rounding(tmp_path: Path) -> None:
    one, other = build("llama"), build("llama", torch.bfloat16)
    one.save_pretrained(tmp_path / "model")  # type: ignore[operator]
    first, second = run(one, tmp_path / "reference"), run(other, tmp_path / "candidate")
    for weights in (tmp_path / "model", None):
        assert TABLE not in tried(first, second, weights).out()
        assert TABLE not in tried(second, first, weights).out()


@pytest.mark.parametrize("checkpoint", [True, False])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_factor_that_its_dtype_rounds_is_no_finding(
    tmp_path: Path, mirrored: bool, checkpoint: bool
) -> None:
    """Gemma multiplies by the root of the width in the dtype of the model: 4.90625, not 4.899."""
    models = [build("gemma", dtype, width=24) for dtype in (torch.float32, torch.bfloat16)]
    models[0].save_pretrained(tmp_path / "model")  # type: ignore[operator]
    paths = [run(model, tmp_path / str(number)) for number, model in enumerate(models)]
    left, right = reversed(paths) if mirrored else paths
    given = ModelPaths(str(tmp_path / "model")) if checkpoint else None
    comparison = open_comparison(str(left), str(right), models=given)
    assert comparison.measure(use_cache=False)
    assert comparison.findings() == () and comparison.exit_status() == 0


def change_table(model: nn.Module, change: Any) -> None:
    """Give the tokens' table something else to do with its ids."""
    table: Any = model.get_submodule("wte" if hasattr(model, "wte") else "embed_tokens")
    inner = table.forward
    table.forward = lambda ids: change(inner, ids)


@pytest.mark.parametrize("checkpoint", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("change", "name", "value"), [
    (lambda inner, ids: inner(ids) * 4, "embedding", "4"),
    (lambda inner, ids: inner(ids) * 1.7, "embedding", "1.7"),
    (lambda inner, ids: inner(torch.where(torch.arange(ids.shape[1]) == 7, ids.roll(3), ids)),
     "embedding", None),
    (lambda inner, ids: inner(ids.roll(1)), "token-shift", "+1"),
])  # fmt: skip
def test_each_change_of_the_table_is_named(
    tmp_path: Path, change: Any, name: str, value: str | None, dtype: torch.dtype, checkpoint: bool
) -> None:
    one, other = build("llama", dtype), build("llama", dtype)
    change_table(other, change)
    found = check(tmp_path, one, other, checkpoint)
    assert TABLE in found.out()
    (cause, *_) = found.diagnosis(TABLE).causes
    assert cause.name == name
    if value is not None:
        assert float(cause.candidate) == pytest.approx(float(value), rel=2e-3)
    else:
        assert "row 7" in cause.text


def test_ids_that_are_off_by_one_are_said_as_such(tmp_path: Path) -> None:
    one, other = build("llama"), build("llama")
    change_table(other, lambda inner, ids: inner(ids + 1))
    (cause, *_) = check(tmp_path, one, other).diagnosis(TABLE).causes
    assert cause.name == "embedding"
    assert "off by +1" in cause.text


@pytest.mark.parametrize("checkpoint", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_shifted_positions_are_named(tmp_path: Path, dtype: torch.dtype, checkpoint: bool) -> None:
    one, other = build("gpt2", dtype), build("gpt2", dtype)
    inner = other.wpe.forward  # type: ignore[union-attr]
    other.wpe.forward = lambda ids: inner((ids - 1).clamp(min=0))  # type: ignore[union-attr]
    found = check(tmp_path, one, other, checkpoint)
    assert found.out()[0] == "embed_positions-output"
    (cause, *_) = found.diagnosis("embed_positions-output").causes
    assert cause.name in ("positions", "token-shift")


def test_other_position_ids_are_named(tmp_path: Path) -> None:
    """Ids that the candidate itself recorded: its table is in order, its positions are not."""
    one, other = build("gpt2"), build("gpt2")
    inner = other.forward

    def forward(input_ids: torch.Tensor, **rest: Any) -> Any:
        ids = torch.arange(TOKENS)[None] + 3
        return inner(input_ids=input_ids, position_ids=ids, **rest)

    other.forward = forward  # type: ignore[method-assign]
    found = check(tmp_path, one, other)
    (cause, *_) = found.diagnosis("embed_positions-output").causes
    assert cause.name == "positions"
    assert "off by +3" in cause.text


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_positions_that_are_not_added_are_named(tmp_path: Path, dtype: torch.dtype) -> None:
    one, other = build("gpt2", dtype), build("gpt2", dtype)
    kept: list[torch.Tensor] = []
    other.wte.register_forward_hook(lambda m, i, o: kept.append(o))  # type: ignore[union-attr]
    other.drop.register_forward_pre_hook(lambda m, i: (kept[-1],))  # type: ignore[union-attr]
    found = check(tmp_path, one, other)
    label = next(t for t, j in found.judged.items() if j.evaluation.site.law == "embedding-sum")
    assert label in found.out()
    (cause, *_) = found.diagnosis(label).causes
    assert (cause.name, cause.text) == ("positions", "embed_positions-output is not added")


def test_without_ids_there_is_no_law(tmp_path: Path) -> None:
    model = build("llama")
    with torch.inference_mode(), record(model, str(tmp_path / "reference"), overwrite=True):
        model(inputs_embeds=torch.randn(1, TOKENS, WIDTH))
    found = tried(tmp_path / "reference", tmp_path / "reference")
    assert not any(j.evaluation.site.law == "embedding" for j in found.judged.values())
