"""Sums of the stream that are made inside of attention and feed-forward networks (BLOOM), or inside
of norms that carry the residual beside the hidden state (as vLLM's RMSNorm has it).
"""

from __future__ import annotations

from pathlib import Path
from types import MethodType
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from layertui.capture import record
from support.laws.law_checks import Tried, tried
from support.laws.residual_models import LAYERS, build

DTYPES = [torch.float32, torch.bfloat16]


def ids() -> Tensor:
    return torch.randint(3, 64, (1, 24), generator=torch.Generator().manual_seed(0))


def check(folder: Path, one: nn.Module, other: nn.Module, inputs: bool = True) -> Tried:
    paths = [folder / "reference", folder / "candidate"]
    for path, model in zip(paths, (one, other), strict=True):
        with torch.inference_mode(), record(model, str(path), overwrite=True, inputs=inputs):
            model(ids())
    return tried(paths[0], paths[1])


# BLOOM


def bloom(dtype: torch.dtype) -> Any:
    torch.manual_seed(0)
    config = transformers.BloomConfig(
        vocab_size=64, hidden_size=32, n_layer=LAYERS, n_head=4, use_cache=False
    )
    model: Any = transformers.BloomModel(config)
    for parameter in model.parameters():
        parameter.data *= 4 if parameter.dim() > 1 else 1
    return model.to(dtype).eval()


@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_inside_attention_and_mlp_keep_to_the_law(tmp_path: Path, dtype: torch.dtype) -> None:
    found = check(tmp_path, bloom(dtype), bloom(dtype))
    sums = {k: j for k, j in found.judged.items() if j.evaluation.site.law == "residual"}
    names = {f"layers.{n}.{m}-output" for n in range(LAYERS) for m in ("self_attn", "mlp")}
    assert set(sums) == names
    assert all(j.trusted and j.evaluation.reference.ratio < 1.5 for j in sums.values())
    words = sums["layers.1.mlp-output"].evaluation.fit.words["sum"]
    assert words == "layers.1.mlp-input_1 + layers.1.mlp.down_proj-output"
    assert found.out() == []


@pytest.mark.parametrize("dtype", DTYPES)
def test_another_factor_inside_of_a_module_is_named(tmp_path: Path, dtype: torch.dtype) -> None:
    one, other = bloom(dtype), bloom(dtype)
    mlp = other.h[2].mlp

    def forward(self: Any, x: Tensor, residual: Tensor) -> Tensor:
        inner = self.dense_4h_to_h(self.gelu_impl(self.dense_h_to_4h(x)))
        return residual + 0.5 * inner

    mlp.forward = MethodType(forward, mlp)
    found = check(tmp_path, one, other)
    assert found.out() == ["layers.2.mlp-output"]
    (cause, *_) = found.diagnosis("layers.2.mlp-output").causes
    assert (cause.name, cause.candidate) == ("residual", "0.5")
    assert "down_proj" in cause.text


# a residual beside the hidden state


def carrying(model: Any, twice: int = -1, eps: float | None = None) -> Any:
    """A Llama of transformers that computes as vLLM's does; in layer `twice` the second norm takes
    the residual twice, with `eps` it has another epsilon.
    """

    def norm(self: Any, x: Tensor, residual: Tensor | None = None) -> Any:
        dtype, total = x.dtype, x.float()
        if residual is not None:
            total = total + residual.float() * self.times
            residual = total.to(dtype)
        normal = total * torch.rsqrt(total.square().mean(-1, keepdim=True) + self.own_eps)
        normal = normal.to(dtype) * self.weight
        return normal if residual is None else (normal, residual)

    def layer(self: Any, x: Tensor, residual: Tensor | None, **rest: Any) -> Any:
        if residual is None:
            residual, x = x, self.input_layernorm(x)
        else:
            x, residual = self.input_layernorm(x, residual)
        x, _ = self.self_attn(hidden_states=x, **rest)
        x, residual = self.post_attention_layernorm(x, residual)
        return self.mlp(x), residual

    def forward(self: Any, input_ids: Tensor) -> Tensor:
        x, residual = self.embed_tokens(input_ids), None
        places = torch.arange(x.shape[1])[None]
        tables = self.rotary_emb(x, position_ids=places)
        mask = torch.full((1, 1, x.shape[1], x.shape[1]), -torch.inf).triu(1).to(x.dtype)
        for one in self.layers:
            x, residual = one(x, residual, position_embeddings=tables, attention_mask=mask)
        return self.norm(x, residual)[0]

    for name, module in model.named_modules():
        if "norm" in name:
            module.times, module.own_eps = 1.0, module.variance_epsilon
            module.forward = MethodType(norm, module)
    for one in model.layers:
        one.forward = MethodType(layer, one)
    if twice >= 0:
        model.layers[twice].post_attention_layernorm.times = 2.0
    if eps is not None:
        model.layers[1].input_layernorm.own_eps = eps
    model.forward = MethodType(forward, model)
    return model


def sums(found: Tried) -> dict[str, Any]:
    return {k: j for k, j in found.judged.items() if j.evaluation.site.law == "residual"}


def norms(found: Tried) -> dict[str, Any]:
    return {k: j for k, j in found.judged.items() if j.evaluation.site.law == "norm"}


@pytest.mark.parametrize("outputs_only", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_norms_that_add_keep_to_the_law(
    tmp_path: Path, dtype: torch.dtype, outputs_only: bool
) -> None:
    one, other = (carrying(build("llama", dtype)) for _ in range(2))
    found = check(tmp_path, one, other, inputs=not outputs_only)
    added = {k for k in sums(found) if k.endswith("norm-output_1")}
    assert len(added) == 2 * LAYERS
    assert all(j.trusted and j.evaluation.reference.ratio < 1.5 for j in sums(found).values())
    assert len(norms(found)) == 2 * LAYERS + 1
    assert all(j.trusted and j.evaluation.reference.ratio < 2 for j in norms(found).values())
    assert found.out() == []


@pytest.mark.parametrize("outputs_only", [False, True])
def test_a_residual_that_is_added_twice_is_named(tmp_path: Path, outputs_only: bool) -> None:
    one = carrying(build("llama", torch.bfloat16))
    other = carrying(build("llama", torch.bfloat16), twice=2)
    found = check(tmp_path, one, other, inputs=not outputs_only)
    label = "layers.2.post_attention_layernorm-output_1"
    assert [k for k in found.out() if k in sums(found)] == [label]
    (cause, *_) = found.diagnosis(label).causes
    assert (cause.name, cause.candidate) == ("residual", "2")


@pytest.mark.parametrize("dtype", DTYPES)
def test_against_a_model_that_carries_none(tmp_path: Path, dtype: torch.dtype) -> None:
    """Norms and layers of transformers against such ones: what is given to a norm, and what a layer
    returns, is the sum of two records on one side.
    """
    found = check(tmp_path, build("llama", dtype), carrying(build("llama", dtype)))
    assert {f"layers.{n}-output" for n in range(LAYERS)} <= set(sums(found))
    assert len(norms(found)) == 2 * LAYERS + 1
    assert all(j.trusted for j in (*sums(found).values(), *norms(found).values()))
    assert [k for k in found.out() if k in sums(found) or k in norms(found)] == []
    wrong = check(tmp_path, build("llama", dtype), carrying(build("llama", dtype), eps=0.5))
    label = "layers.1.input_layernorm-output"
    assert [k for k in wrong.out() if k in norms(wrong)] == [label]
    (cause, *_) = wrong.diagnosis(label).causes
    assert cause.name == "eps" and float(cause.candidate.split()[0]) == 0.5
