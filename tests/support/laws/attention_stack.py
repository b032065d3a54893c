"""Layers of attention in plain torch whose inside can be changed, recorded over several steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from layertui.capture import record
from layertui.compare.laws.attention.law import AttentionLaw
from layertui.compare.laws.evaluate import evaluations
from layertui.compare.laws.peers import Judged, Peers

from .law_checks import Tried, tried

HEADS, KV_HEADS, WIDTH, LAYERS = 4, 2, 16, 5
HIDDEN, BASE = HEADS * WIDTH, 10000.0
CULPRIT = 2  # the layer that is changed
TARGET = f"layers.{CULPRIT}.self_attn.o_proj-input_0"

Change = Callable[[Tensor], Tensor]
Turn = Callable[[Tensor, Tensor, Tensor], Tensor]  # values, cos, sin


def unchanged(x: Tensor) -> Tensor:
    return x


def causal(behind: Tensor) -> Tensor:
    return behind >= 0


def softmax(scores: Tensor) -> Tensor:
    return scores.softmax(-1)


def as_cached(keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    return keys, values


def interleaved(x: Tensor, times: int) -> Tensor:
    return x.repeat_interleave(times, 1)


def tiled(x: Tensor, times: int) -> Tensor:
    return x.repeat(1, times, 1, 1)


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """The half style."""
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin


def rotated_in_part(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Half of the channels, by the highest of the frequencies."""
    columns = [*range(WIDTH // 4), *range(WIDTH // 2, WIDTH // 2 + WIDTH // 4)]
    turned, rest = x.chunk(2, -1)
    return torch.cat([rotated(turned, cos[..., columns], sin[..., columns]), rest], -1)


def rotated_back(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return rotated(x, cos, -sin)


def rotated_late(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Every token but the first has the position before its own."""
    cos, sin = (torch.cat([table[:, :1], table[:, :-1]], 1) for table in (cos, sin))
    return rotated(x, cos, sin)


def tables(positions: Tensor, base: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """cos and sin `[1, tokens, width]`."""
    frequencies = base ** -(torch.arange(0, WIDTH, 2) / WIDTH)
    angles = (positions[:, None] * frequencies).repeat(1, 2)[None]
    return angles.cos().to(dtype), angles.sin().to(dtype)


@dataclass(frozen=True)
class Code:
    """What attention does between its projections; `mask` says how far behind a query a key may
    be. `cache` gets the keys `[batch, heads, tokens, width]`, rotated, and values of all steps in
    every step but the first. `fused` keeps scores in float32, as one kernel would.
    """

    scale: float = WIDTH**-0.5
    base: float | None = None  # of tables that are not those given
    turn_queries: Turn = rotated
    turn_keys: Turn = rotated
    mask: Change = causal
    scores: Change = unchanged
    softmax: Change = softmax
    repeat: Callable[[Tensor, int], Tensor] = interleaved
    cache: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = as_cached
    fused: bool = False


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        for name, heads in (("q", HEADS), ("k", KV_HEADS), ("v", KV_HEADS)):
            self.add_module(f"{name}_proj", nn.Linear(HIDDEN, heads * WIDTH, bias=False))
        self.o_proj = nn.Linear(HIDDEN, HIDDEN, bias=False)
        self.code = Code()
        self.past: tuple[Tensor, Tensor] | None = None

    def forward(
        self, x: Tensor, first: int, position_embeddings: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        code = self.code
        q, k, v = (
            self.get_submodule(f"{name}_proj")(x).unflatten(-1, (-1, WIDTH)).transpose(1, 2)
            for name in "qkv"
        )
        places = torch.arange(first, first + x.shape[1])
        cos, sin = position_embeddings or tables(places, BASE, x.dtype)
        if code.base is not None:
            cos, sin = tables(places, code.base, x.dtype)
        q, k = code.turn_queries(q, cos, sin), code.turn_keys(k, cos, sin)
        if self.past is not None:
            k, v = (torch.cat([old, new], 2) for old, new in zip(self.past, (k, v), strict=True))
        self.past = k, v
        if first:
            k, v = code.cache(k, v)
        k, v = (code.repeat(part, HEADS // KV_HEADS) for part in (k, v))
        if code.fused:
            q, k = q.float(), k.float()
        scores = code.scores(q @ k.transpose(2, 3) * code.scale)
        behind = places[:, None] - torch.arange(k.shape[2])
        scores = scores.masked_fill(~code.mask(behind), -torch.inf)
        mixed = code.softmax(scores.float()).to(v.dtype) @ v
        return self.o_proj(mixed.transpose(1, 2).flatten(2))


class Stack(nn.Module):
    """`LAYERS` attentions with weights of their own, on inputs that differ in size. Tables of
    rotary positions are given to each, or made inside where no record shows them.
    """

    def __init__(self, seed: int, dtype: torch.dtype, tables_given: bool = True) -> None:
        super().__init__()
        self.tables_given = tables_given
        torch.manual_seed(seed)
        made = [nn.ModuleDict({"self_attn": Attention()}) for _ in range(LAYERS)]
        self.layers = nn.ModuleList(made)
        for name, parameter in self.named_parameters():
            if "q_proj" in name or "k_proj" in name:
                parameter.data *= 2.5  # sharp in places
        self.to(dtype)

    def change(self, layer: int | None = None, **parts: object) -> Stack:
        """Change what one layer does, or all."""
        for number in range(LAYERS) if layer is None else (layer,):
            attention = self.layers[number]["self_attn"]  # type: ignore[index]
            attention.code = replace(attention.code, **parts)
        return self

    def start_again(self) -> None:
        for layer in self.layers:
            layer["self_attn"].past = None  # type: ignore[index]

    def forward(self, x: Tensor, first: int) -> list[Tensor]:
        places = torch.arange(first, first + x.shape[1])
        given = tables(places, BASE, x.dtype) if self.tables_given else None
        return [
            layer["self_attn"](x * 1.1**i, first, position_embeddings=given)  # type: ignore[index]
            for i, layer in enumerate(self.layers)
        ]


def recorded(model: Stack, folder: Path, x: Tensor, steps: int) -> Path:
    """All records of a run whose last `steps` tokens come one at a time."""
    model.start_again()
    whole = x.shape[1] - steps
    parts = [(0, whole), *((at, at + 1) for at in range(whole, x.shape[1]))]
    with torch.inference_mode(), record(model, str(folder), overwrite=True):
        for start, end in parts:
            model(x[:, start:end], start)
    return folder


def compared(
    folder: Path, reference: Stack, candidate: Stack, tokens: int = 24, steps: int = 0,
    batch: int = 1,
) -> Tried:  # fmt: skip
    """Both on the same tokens, with the checkpoint and config of the reference."""
    weights = folder / "weights"
    weights.mkdir(exist_ok=True, parents=True)
    save_file(dict(reference.state_dict()), weights / "model.safetensors")
    config = {
        "model_type": "llama", "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS,
        "head_dim": WIDTH, "hidden_size": HIDDEN, "rope_theta": BASE,
    }  # fmt: skip
    (weights / "config.json").write_text(json.dumps(config))
    torch.manual_seed(1)
    x = torch.randn(batch, tokens, HIDDEN).to(next(reference.parameters()).dtype)
    return tried(
        recorded(reference, folder / "reference", x, steps),
        recorded(candidate, folder / "candidate", x, steps), weights,
    )  # fmt: skip


def attention_of(found: Tried) -> dict[tuple[str, int], Judged]:
    """Judgements of the attention law by label and step."""
    judged = Peers(evaluations(found.scene, (AttentionLaw(),))).judged()
    return {(j.evaluation.site.target.label, j.evaluation.site.target.step): j for j in judged}
