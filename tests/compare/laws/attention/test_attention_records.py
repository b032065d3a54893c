"""Attention by what is recorded of it: T5's biases, queries and keys behind the rotation, and
probabilities.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from layertui.capture import record
from support.laws.attention_models import ids, layer, model_of
from support.laws.attention_stack import BASE, rotated, tables
from support.laws.law_checks import Tried, capture, tried

DTYPES = [torch.float32, torch.bfloat16]
LAYERS, HEADS, KV_HEADS, WIDTH, TOKENS = 4, 4, 2, 16, 24
HIDDEN = HEADS * WIDTH


def laws(found: Tried, name: str) -> dict[str, Any]:
    return {k: j for k, j in found.judged.items() if j.evaluation.site.law == name}


# T5


def t5(dtype: torch.dtype) -> Any:
    torch.manual_seed(0)
    config = transformers.T5Config(
        vocab_size=96, d_model=64, d_kv=16, d_ff=96, num_layers=3, num_heads=4, use_cache=False,
        feed_forward_proj="gated-gelu", attn_implementation="eager",
    )  # fmt: skip
    model: Any = transformers.T5Model(config)
    for name, parameter in model.named_parameters():
        parameter.data *= 4 if "relative" in name or ".q." in name else 1
    return model.to(dtype).eval()


def t5_pair(folder: Path, one: Any, other: Any) -> Tried:
    torch.manual_seed(1)
    given = {
        "input_ids": torch.randint(1, 96, (2, 24)),
        "decoder_input_ids": torch.randint(1, 96, (2, 20)),
        "attention_mask": (torch.arange(24) < torch.tensor([[24], [17]])).long(),
    }  # fmt: skip
    one.save_pretrained(folder / "weights")
    paths = [capture(m, folder / n, **given) for m, n in ((one, "reference"), (other, "candidate"))]
    return tried(paths[0], paths[1], folder / "weights")


@pytest.mark.parametrize("dtype", DTYPES)
def test_t5_keeps_to_the_laws(tmp_path: Path, dtype: torch.dtype) -> None:
    found = t5_pair(tmp_path, t5(dtype), t5(dtype))
    judged = laws(found, "attention")
    assert len([k for k in judged if "SelfAttention" in k]) == 6
    gated = laws(found, "gated")
    assert len(gated) == 6 and all("wo-input_0" in k for k in gated)
    own = [j for k, j in judged.items() if "SelfAttention" in k]
    for one in (*own, *gated.values()):
        assert one.trusted and one.evaluation.reference.ratio < 4
    assert {j.evaluation.fit.words["scale"] for j in own} == {"1"}
    assert found.out() == []


def test_faults_of_t5_are_named(tmp_path: Path) -> None:
    one, other = t5(torch.float32), t5(torch.float32)
    attention, mlp = other.encoder.block[1].layer
    inner, unit = attention.SelfAttention, mlp.DenseReluDense
    projected = inner.forward

    def scaled(*args: Any, **kwargs: Any) -> Any:
        handle = inner.k.register_forward_hook(lambda m, i, o: o * 0.5)  # behind the record's own
        try:
            return projected(*args, **kwargs)
        finally:
            handle.remove()

    def gated(x: Tensor) -> Tensor:
        gate = unit.wi_0(x)
        unit.wi_1(x)
        return unit.wo(unit.act(gate) * gate)

    inner.forward, unit.forward = scaled, gated
    found = t5_pair(tmp_path, one, other)
    names = {
        "encoder.layers.1.layers.0.SelfAttention.o-input_0": "attention-scale",
        "encoder.layers.1.layers.1.DenseReluDense.wo-input_0": "swapped",
    }
    out = [k for k in found.out() if k in laws(found, "attention") or k in laws(found, "gated")]
    assert out == list(names)
    for label, name in names.items():
        assert found.causes(label)[0] == name


# queries and keys behind the rotation


class Inner(nn.Module):
    """Attention alone, by torch's own function, as vLLM's `Attention` has it."""

    scale = WIDTH**-0.5

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (x.unflatten(-1, (-1, WIDTH)).transpose(1, 2) for x in (q, k, v))
        out = nn.functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=self.scale, enable_gqa=True
        )
        return out.transpose(1, 2).flatten(2)


class Turned(nn.Module):
    """vLLM's rotary embedding: queries and keys in, queries and keys out."""

    def forward(self, places: Tensor, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        cos, sin = (t[:, :, None] for t in tables(places, BASE, q.dtype))
        q, k = (rotated(x.unflatten(-1, (-1, WIDTH)), cos, sin).flatten(2) for x in (q, k))
        return q, k


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        for name, heads in (("q", HEADS), ("k", KV_HEADS), ("v", KV_HEADS)):
            self.add_module(f"{name}_proj", nn.Linear(HIDDEN, heads * WIDTH, bias=False))
        self.o_proj = nn.Linear(HIDDEN, HIDDEN, bias=False)
        self.rotary_emb, self.attn = Turned(), Inner()

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (self.get_submodule(f"{name}_proj")(x) for name in "qkv")
        q, k = self.rotary_emb(torch.arange(x.shape[1]), q, k)
        return self.o_proj(self.attn(q, k, v))


class Stack(nn.Module):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        torch.manual_seed(0)
        parts = [nn.ModuleDict({"self_attn": Attention()}) for _ in range(LAYERS)]
        self.layers = nn.ModuleList(parts)
        for name, parameter in self.named_parameters():
            parameter.data *= 3 if "q_proj" in name else 1
        self.to(dtype)

    def attention(self, number: int) -> Any:
        return self.layers[number]["self_attn"]  # type: ignore[index]

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.attention(i)(x * 1.1**i) for i in range(LAYERS)]


def stacks(folder: Path, one: Stack, other: Stack, exclude: tuple[str, ...]) -> Tried:
    torch.manual_seed(1)
    x = torch.randn(1, TOKENS, HIDDEN).to(next(one.parameters()).dtype)
    paths = folder / "reference", folder / "candidate"
    for path, model in zip(paths, (one, other), strict=True):
        with torch.inference_mode(), record(model, str(path), exclude=exclude, overwrite=True):
            model(x)
    return tried(*paths)


ONLY_ROTATED = {
    "given to the module inside": ("*[qkv]_proj*", "*rotary_emb*"),
    "returned by the rotation": ("*[qk]_proj*", "*self_attn.attn*"),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ONLY_ROTATED)
def test_queries_and_keys_behind_the_rotation(
    tmp_path: Path, kind: str, dtype: torch.dtype
) -> None:
    exclude = ONLY_ROTATED[kind]
    one, other = Stack(dtype), Stack(dtype)
    judged = laws(stacks(tmp_path, one, other, exclude), "attention")
    assert len(judged) == LAYERS
    for each in judged.values():
        assert each.trusted and each.excess is None and each.evaluation.reference.ratio < 5
        assert each.evaluation.fit.words["heads"].startswith("4 of 16")
        assert each.evaluation.fit.words["rotary"] == "none"
    other.attention(2).attn.scale = 0.3
    found = stacks(tmp_path, one, other, exclude)
    (label,) = (k for k in found.out() if k in laws(found, "attention"))
    assert label.startswith("layers.2.self_attn.")
    (cause, *_) = found.diagnosis(label).causes
    assert cause.name == "attention-scale"


# probabilities


def probabilities_pair(
    folder: Path, one: Any, other: Any, exclude: tuple[str, ...] = ()
) -> Tried:  # fmt: skip
    one.save_pretrained(folder / "weights")
    paths = folder / "reference", folder / "candidate"
    for path, model in zip(paths, (one, other), strict=True):
        with torch.inference_mode(), record(model, str(path), exclude=exclude, overwrite=True):
            model(input_ids=ids(2))
    return tried(paths[0], paths[1], folder / "weights")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["llama", "gemma2", "bert", "gpt2"])
def test_probabilities_keep_to_the_law(tmp_path: Path, kind: str, dtype: torch.dtype) -> None:
    found = probabilities_pair(tmp_path, model_of(kind, dtype=dtype), model_of(kind, dtype=dtype))
    judged = laws(found, "attention-probabilities")
    assert len(judged) == 4
    for each in judged.values():
        assert each.trusted and each.excess is None and each.evaluation.reference.ratio < 3
    assert found.out() == []


@pytest.mark.parametrize("dtype", DTYPES)
def test_probabilities_of_another_scale_are_named(tmp_path: Path, dtype: torch.dtype) -> None:
    one, other = (model_of("llama", dtype=dtype) for _ in range(2))
    layer(other, 2).self_attn.scaling *= 1.1
    found = probabilities_pair(tmp_path, one, other)
    judged = laws(found, "attention-probabilities")
    label = "layers.2.self_attn-output_1"
    assert [k for k in found.out() if k in judged] == [label]
    (cause, *_) = found.diagnosis(label).causes
    assert cause.name == "attention-scale"
    assert float(cause.candidate) == pytest.approx(
        1.1 / 4, rel=1e-5 if dtype.itemsize == 4 else 0.02
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_probabilities_times_values(tmp_path: Path, dtype: torch.dtype) -> None:
    """Without queries and keys: what the output projection is given."""
    one, other = (model_of("llama", dtype=dtype) for _ in range(2))
    exclude = ("*[qk]_proj*",)
    judged = laws(probabilities_pair(tmp_path, one, other, exclude), "attention-values")
    assert len(judged) == 4
    for each in judged.values():
        assert each.trusted and each.excess is None and each.evaluation.reference.ratio < 6
    inner = layer(other, 2).self_attn
    values, forward = inner.v_proj, inner.forward

    def scaled(*args: Any, **kwargs: Any) -> Any:
        handle = values.register_forward_hook(lambda m, i, o: o.roll(16, -1))
        try:
            return forward(*args, **kwargs)
        finally:
            handle.remove()

    inner.forward = scaled
    found = probabilities_pair(tmp_path, one, other, exclude)
    label = "layers.2.self_attn.o_proj-input_0"
    assert [k for k in found.out() if k in laws(found, "attention-values")] == [label]
    assert found.causes(label)[0] == "head-order"
