"""Two implementations of one small Llama with random weights, for the demo.

The reference is transformers' own. The candidate is written the way MAX lays such a model out:
ragged activations `[tokens, hidden]`, one fused `qkv_proj`, gate and up never called as modules,
logits of the last token only, and every `Linear` adding up its product in parts, so that all values
differ from the reference by rounding. Imports torch: never from the process that owns the screen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

LAYERS = 6
TOKENS = (3, 40, 41, 42, 50, 60, 70, 71, 72, 90)
_PARTS = 4  # of a Linear's sum
_MOST_POSITIONS = 128
_EPSILON = 1e-5  # not 1e-6, which many implementations take when they forget to ask


def build_reference(seed: int, dtype: str) -> LlamaForCausalLM:
    """transformers' Llama of 6 layers, hidden 64, with weights drawn from `seed`."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=320,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=_MOST_POSITIONS,
        rms_norm_eps=_EPSILON,
        attention_bias=True,
        tie_word_embeddings=False,
        use_cache=False,
        attn_implementation="eager",  # pyright: ignore[reportCallIssue]
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
        _draw(model)
    model = model.to(getattr(torch, dtype))  # pyright: ignore[reportCallIssue]
    return model.eval()


def _draw(model: nn.Module) -> None:
    """Weights large enough for every part to matter: attention that is not uniform, biases."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0.0, 0.1)
            elif "norm" in name:
                parameter.add_(0.1 * torch.randn_like(parameter))
            else:
                parameter.mul_(8.0 if "q_proj" in name or "k_proj" in name else 4.0)


class Linear(nn.Module):
    """`x @ weight.T + bias`, `x` `[tokens, in]`, summed in parts of the inner axis, last first."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = weight.clone()
        self.bias = None if bias is None else bias.clone()

    def forward(self, x: Tensor) -> Tensor:
        pairs = zip(x.chunk(_PARTS, -1), self.weight.chunk(_PARTS, -1), strict=True)
        parts = [nn.functional.linear(part, weight) for part, weight in pairs]
        total = parts.pop()
        while parts:
            total = total + parts.pop()
        return total if self.bias is None else total + self.bias


class Norm(nn.Module):
    """Root mean square norm over the last axis, in float32 to the end."""

    def __init__(self, weight: Tensor, epsilon: float) -> None:
        super().__init__()
        self.weight = weight.clone()
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        root = (wide.square().mean(-1, keepdim=True) + self.epsilon).sqrt()
        return (wide / root * self.weight.float()).to(x.dtype)


class Embedding(nn.Module):
    """Rows of a table: `[tokens]` to `[tokens, hidden]`."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight.clone()

    def forward(self, tokens: Tensor) -> Tensor:
        return self.weight[tokens]


class Attention(nn.Module):
    """Causal attention with grouped heads over one ragged sequence."""

    def __init__(self, source: Any) -> None:
        super().__init__()
        parts = (source.q_proj, source.k_proj, source.v_proj)
        self.qkv_proj = Linear(
            torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts])
        )
        self.o_proj = Linear(source.o_proj.weight, source.o_proj.bias)
        self.head_dim: int = source.head_dim
        self.widths = [part.weight.shape[0] for part in parts]
        heads = self.widths[0] // self.head_dim
        kv_heads = self.widths[1] // self.head_dim
        # Which key/value head each query head reads: 0 0 1 1.
        self.kv_head = [head * kv_heads // heads for head in range(heads)]
        self.scale = self.head_dim**-0.5

    def forward(
        self, layer: Tensor, x: Tensor, cache: None, freqs_cis: Tensor, row_offsets: Tensor
    ) -> Tensor:
        q, k, v = (
            part.unflatten(-1, (-1, self.head_dim)).transpose(0, 1)
            for part in self.qkv_proj(x).split(self.widths, -1)
        )
        q, k = rotate(q, freqs_cis), rotate(k, freqs_cis)
        k, v = k[self.kv_head].float(), v[self.kv_head].float()
        scores = (q.float() * self.scale) @ k.transpose(1, 2)
        future = torch.ones(scores.shape[1:]).triu(1).bool()
        scores = scores.masked_fill(future, -torch.inf)
        weight = (scores - scores.amax(-1, keepdim=True)).exp()
        mixed = (weight @ v) / weight.sum(-1, keepdim=True)
        return self.o_proj(mixed.to(x.dtype).transpose(0, 1).flatten(1))


class Mlp(nn.Module):
    """`down(act(gate(x)) * up(x))`; gate and up are one product, not modules."""

    def __init__(self, source: Any) -> None:
        super().__init__()
        # Not registered as modules: a print hook sees only `down_proj`.
        self.fused = [Linear(source.gate_proj.weight, None), Linear(source.up_proj.weight, None)]
        self.down_proj = Linear(source.down_proj.weight, None)
        self.activation: Callable[[Tensor], Tensor] = nn.functional.silu

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.fused
        return self.down_proj(self.activation(gate(x)) * up(x))


class Layer(nn.Module):
    """A decoder layer, called as MAX calls one."""

    def __init__(self, source: Any) -> None:
        super().__init__()
        self.input_layernorm = Norm(source.input_layernorm.weight, _EPSILON)
        self.self_attn = Attention(source.self_attn)
        self.post_attention_layernorm = Norm(source.post_attention_layernorm.weight, _EPSILON)
        self.mlp = Mlp(source.mlp)

    def forward(
        self, layer: Tensor, x: Tensor, cache: None, freqs_cis: Tensor, row_offsets: Tensor
    ) -> Tensor:
        x = x + self.self_attn(layer, self.input_layernorm(x), cache, freqs_cis, row_offsets)
        return x + self.mlp(self.post_attention_layernorm(x))


class LayerList(nn.Module):
    """Holds the layers below a name of its own, which gives `layers.layers.0`."""

    def __init__(self, layers: list[Layer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)


class RaggedLlama(nn.Module):
    """The candidate. Takes token ids `[tokens]` of one sequence, returns logits `[1, vocab]`."""

    def __init__(self, source: LlamaForCausalLM) -> None:
        super().__init__()
        inner: Any = source.model
        self.embed_tokens = Embedding(inner.embed_tokens.weight)
        self.layers = LayerList([Layer(layer) for layer in inner.layers])
        self.norm = Norm(inner.norm.weight, _EPSILON)
        self.lm_head = Linear(source.lm_head.weight, None)
        self.theta = 10000.0
        self.head_dim: int = inner.layers[0].self_attn.head_dim

    def layer(self, index: int) -> Layer:
        found = self.layers.layers[index]
        assert isinstance(found, Layer)
        return found

    def every_layer(self) -> list[Layer]:
        return [self.layer(index) for index in range(len(self.layers.layers))]

    def forward(self, tokens: Tensor, cache: None, row_offsets: Tensor) -> Tensor:
        x = self.embed_tokens(tokens)
        freqs_cis = frequencies(self.theta, self.head_dim)
        for index, layer in enumerate(self.every_layer()):
            x = layer(torch.tensor(index, dtype=torch.uint32), x, cache, freqs_cis, row_offsets)
        last = x[row_offsets[1:].long() - 1]
        return self.lm_head(self.norm(last))


def frequencies(theta: float, head_dim: int) -> Tensor:
    """Cosines, then sines, of every position: `[positions, head_dim]` float32."""
    powers = torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim
    angles = torch.outer(torch.arange(_MOST_POSITIONS).float(), theta**-powers)
    return torch.cat([angles.cos(), angles.sin()], -1)


def rotate(x: Tensor, freqs_cis: Tensor) -> Tensor:
    """Rotary embedding of `x` `[heads, tokens, head_dim]`, halves paired."""
    cos, sin = freqs_cis[: x.shape[1]].to(x.dtype).chunk(2, -1)
    low, high = x.chunk(2, -1)
    return torch.cat([low * cos - high * sin, high * cos + low * sin], -1)


def reference_arguments() -> dict[str, Any]:
    """What the reference is called with."""
    return {"input_ids": torch.tensor([TOKENS])}


def candidate_arguments() -> tuple[Any, ...]:
    """What the candidate is called with."""
    offsets = torch.tensor([0, len(TOKENS)]).to(torch.uint32)
    return (torch.tensor(TOKENS), None, offsets)
