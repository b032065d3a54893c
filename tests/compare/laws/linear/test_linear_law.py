"""The law of projections against torch's and transformers' own modules: what is right is clean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from layertui.compare.laws.arithmetic import Arithmetic
from support.laws.attention_models import ids, model_of
from support.laws.law_checks import Tried, capture, tried
from support.laws.linear_models import (
    LAYERS,
    WIDTHS,
    Pairs,
    Product,
    Stack,
    bfloat16,
    joined,
    label,
    linear_out,
    products,
    split,
    tf32,
)  # fmt: skip

DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def linear(found: Tried) -> dict[str, Any]:
    """What is judged by the law of projections."""
    return {t: j for t, j in found.judged.items() if j.evaluation.site.law == "linear"}


# Clean pairs


@pytest.mark.parametrize("dtype", DTYPES)
def test_products_that_are_summed_in_another_order_are_clean(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    pairs = Pairs(tmp_path, dtype)
    found = pairs.tried(pairs.other())
    assert len(linear(found)) == LAYERS * len(WIDTHS)
    assert all(judged.trusted for judged in linear(found).values())
    assert linear_out(found) == []


@pytest.mark.parametrize("dtype", DTYPES)
def test_errors_are_of_the_predicted_size(tmp_path: Path, dtype: torch.dtype) -> None:
    pairs = Pairs(tmp_path, dtype)
    errors = [j.evaluation.reference for j in linear(pairs.tried(pairs.model)).values()]
    low, high = (0.4, 10.0) if dtype == torch.float32 else (0.4, 1.5)
    assert all(low < error.ratio < high for error in errors)
    assert all(error.row.ratio < 4 * error.ratio for error in errors)
    assert all(error.channel.ratio < 4 * error.ratio for error in errors)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_another_dtype_of_the_candidate_is_clean(tmp_path: Path, dtype: torch.dtype) -> None:
    pairs = Pairs(tmp_path, torch.float32)
    other = pairs.other().to(dtype)
    assert linear_out(pairs.tried(other, pairs.x.to(dtype))) == []


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_finer_candidate_than_its_reference_is_clean(tmp_path: Path, dtype: torch.dtype) -> None:
    pairs = Pairs(tmp_path, dtype)
    other = pairs.other().to(torch.float32)
    assert linear_out(pairs.tried(other, pairs.x.float())) == []


@pytest.mark.parametrize(
    ("rounding", "name"), [(tf32, "TF32"), (bfloat16, "bfloat16")], ids=["tf32", "bfloat16"]
)
def test_coarse_products_of_all_layers_are_an_arithmetic(
    tmp_path: Path, rounding: Callable[[Tensor], Tensor], name: str
) -> None:
    pairs = Pairs(tmp_path, torch.float32)
    other = pairs.other()
    for one in products(other):
        one.factors = lambda x, w: (rounding(x), rounding(w))
    found = pairs.tried(other)
    assert linear_out(found) == []
    shown: set[Arithmetic] = {j.arithmetic_candidate for j in linear(found).values()}
    assert all(name in arithmetic.name for arithmetic in shown)
    assert not any(j.arithmetic_reference.name for j in linear(found).values())


def test_a_record_on_the_grid_of_bfloat16_is_judged_by_that(tmp_path: Path) -> None:
    """As of a program that computes in bfloat16 and saves float32."""
    pairs = Pairs(tmp_path, torch.float32)
    other = pairs.other()
    for one in products(other):
        one.factors = lambda x, w: (bfloat16(x), bfloat16(w))
        one.end = bfloat16
    assert linear_out(pairs.tried(other, bfloat16(pairs.x))) == []


def test_without_a_checkpoint_nothing_is_said(tmp_path: Path) -> None:
    pairs = Pairs(tmp_path, torch.float32)
    found = tried(tmp_path / "reference", tmp_path / "reference")
    assert linear(found) == {} and pairs.folder == tmp_path


def test_a_reference_that_is_not_of_its_checkpoint_is_not_trusted(tmp_path: Path) -> None:
    """A checkpoint of something else: no law of this reference, and nothing to say of either."""
    pairs = Pairs(tmp_path, torch.float32)
    wrong = Pairs(tmp_path / "wrong", torch.float32, stack_of_seed(5))
    found = tried(
        tmp_path / "reference", capture(pairs.other(), tmp_path / "candidate", pairs.x),
        wrong.folder / "model",
    )  # fmt: skip
    assert linear(found) and not any(j.trusted for j in linear(found).values())
    assert linear_out(found) == []


def stack_of_seed(seed: int) -> Stack:
    stack = Stack()
    torch.manual_seed(seed)
    for one in products(stack):
        one.weight.data = torch.randn_like(one.weight) / one.in_features**0.5
    return stack


def test_an_output_that_is_not_finite_is_counted(tmp_path: Path) -> None:
    pairs = Pairs(tmp_path, torch.float32)

    def plant(one: Product) -> None:
        def end(y: Tensor) -> Tensor:
            y = y.clone()
            y[0, 7, 3] = torch.nan
            y[0, 9, 4] = torch.inf
            return y

        one.end = end

    found = pairs.changed("self_attn.o_proj", plant)
    judged = found.judged[label("self_attn.o_proj")]
    assert found.out() == [label("self_attn.o_proj")]
    assert judged.evaluation.candidate.bad == 2
    assert judged.excess is not None and "2 elements are not finite" in judged.excess.words


# Modules of models


def of_model(folder: Path, model: Any) -> Tried:
    """A model against itself with the products of all modules summed in four parts."""
    model.save_pretrained(folder / "model")
    with_parts = pytest.MonkeyPatch()
    given = {"input_ids": ids()}
    capture(model, folder / "reference", **given)
    with with_parts.context() as patch:
        patch.setattr(nn.functional, "linear", _linear)
        patch.setattr(Conv1D, "forward", _conv1d)
        capture(model, folder / "candidate", **given)
    return tried(folder / "reference", folder / "candidate", folder / "model")


def _linear(x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    y = split(x, w) if x.shape[-1] % 4 == 0 else x @ w.T
    return y if bias is None else y + bias


def _conv1d(self: Any, x: Tensor) -> Tensor:
    return split(x, self.weight.T) + self.bias


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("gpt2", ("attn.qkv_proj", "attn.o_proj", "mlp.up_proj", "mlp.down_proj", "lm_head")),
        ("phi3", ("self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "lm_head")),
        ("llama", ("self_attn.k_proj", "mlp.up_proj", "mlp.down_proj", "lm_head")),
    ],
)
def test_modules_of_transformers_keep_to_the_law(
    tmp_path: Path, kind: str, wanted: tuple[str, ...], dtype: torch.dtype
) -> None:
    tied = {} if kind == "gpt2" else {"tie_word_embeddings": True}
    found = of_model(tmp_path, model_of(kind, dtype=dtype, **tied))
    modules = {target.partition("-")[0] for target in linear(found)}
    for name in wanted:
        assert any(module.endswith(name) for module in modules), (name, modules)
    assert all(judged.trusted for judged in linear(found).values())
    assert linear_out(found) == []


def test_the_router_of_a_mixture_keeps_to_the_law(tmp_path: Path) -> None:
    config = transformers.MixtralConfig(
        vocab_size=96, hidden_size=64, intermediate_size=32, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, num_local_experts=8, use_cache=False,
    )  # fmt: skip
    torch.manual_seed(0)
    found = of_model(tmp_path, transformers.MixtralForCausalLM(config).eval())
    role = found.scene.reference.role
    routers = [
        j for j in linear(found).values() if role(j.evaluation.site.target.module) == "router"
    ]
    assert len(routers) == 4 and all(judged.trusted for judged in routers)
    assert linear_out(found) == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_joined_projections_of_an_engine_have_the_weights_of_their_parts(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    """The checkpoint has q, k and v apart, gate and up apart; one side, or both, joins them."""
    pairs = Pairs(tmp_path, dtype)
    other = joined(pairs.other())
    found = pairs.tried(other)
    assert linear_out(found) == []
    assert len(linear(found)) == LAYERS * len(WIDTHS)
    capture(other, tmp_path / "joined", pairs.x)
    found = tried(tmp_path / "joined", tmp_path / "candidate", tmp_path / "model")
    assert {t.partition("-")[0].rpartition(".")[2] for t in linear(found)} == {
        "qkv_proj",
        "o_proj",
        "gate_up_proj",
        "down_proj",
    }
    assert all(judged.trusted for judged in linear(found).values())
    assert linear_out(found) == []
