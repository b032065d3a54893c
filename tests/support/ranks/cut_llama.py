"""A tiny llama in numpy whose weights are really cut, computed rank by rank: partial sums are those
of the parts. Records have the names of vLLM, of transformers or of Megatron.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

Array = Any
Records = dict[str, Array]
HIDDEN, HEADS, SIZE, INNER, WORDS = 64, 8, 8, 96, 128
_LAYER = re.compile(r"(?<=layers\.)\d+")
NAMES = {
    "vllm": ("qkv_proj", "o_proj", "gate_up_proj", "down_proj"),
    "megatron": ("linear_qkv", "linear_proj", "linear_fc1", "linear_fc2"),
}


@dataclass(frozen=True)
class Fault:
    """A factor on one rank's part of one weight of one layer."""

    rank: int
    layer: int
    weight: str  # wq wk wv wo gate up down norm
    factor: float = 1.5


@dataclass
class Cut:
    """How a run is cut. `scatter` leaves each rank its tokens behind row-parallel layers; `inside`
    records row-parallel outputs before they are added up.
    """

    ranks: int = 1
    style: str = "vllm"
    kv_heads: int = 2
    layers: int = 3
    tokens: int = 10
    scatter: Sequence[int] = ()
    inside: bool = False
    dtype: Any = np.float32
    fault: Fault | None = None
    seed: int = 0
    weights: list[Records] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        draw = np.random.default_rng(self.seed)
        kv = self.kv_heads * SIZE
        shapes = {"wq": (HIDDEN, HIDDEN), "wk": (kv, HIDDEN), "wv": (kv, HIDDEN),
                  "wo": (HIDDEN, HIDDEN), "gate": (INNER, HIDDEN), "up": (INNER, HIDDEN),
                  "down": (HIDDEN, INNER)}  # fmt: skip
        for _ in range(self.layers):
            layer = {n: (draw.standard_normal(s) / np.sqrt(s[1])).astype(np.float32)
                     for n, s in shapes.items()}  # fmt: skip
            for name in ("norm1", "norm2"):
                layer[name] = 1 + 0.1 * draw.standard_normal(HIDDEN).astype(np.float32)
            self.weights.append(layer)
        self.table = draw.standard_normal((WORDS, HIDDEN)).astype(np.float32)
        self.ids = draw.integers(0, WORDS, self.tokens)

    def of_rank(self, rank: int, layer: int) -> Records:
        """The weights of a layer that one rank has."""
        weights, n = self.weights[layer], self.ranks

        def rows(name: str, part: int = rank, parts: int = n) -> Array:
            return np.split(weights[name], parts)[part]

        copies = max(1, n // self.kv_heads)
        kv = (rank // copies, n // copies)
        found = {
            "wq": rows("wq"), "wk": rows("wk", *kv), "wv": rows("wv", *kv),
            "gate": rows("gate"), "up": rows("up"), "norm1": weights["norm1"],
            "norm2": weights["norm2"], "wo": np.split(weights["wo"], n, 1)[rank],
            "down": np.split(weights["down"], n, 1)[rank],
        }  # fmt: skip
        fault = self.fault
        if fault is not None and (fault.rank, fault.layer) == (rank, layer):
            found[fault.weight] = found[fault.weight] * np.float32(fault.factor)
        return found


def run(cut: Cut) -> list[Records]:
    """What every rank records, in the order in which it is computed."""
    found: list[Records] = [{} for _ in range(cut.ranks)]
    x = [cut.table[cut.ids]] * cut.ranks
    ends = np.cumsum([0, *(cut.scatter or (cut.tokens,))]).tolist()
    own = [slice(first, end) for first, end in pairwise(ends)]
    own = own if cut.scatter else own * cut.ranks
    qkv, o, gate_up, down = NAMES.get(cut.style, NAMES["vllm"])
    keep = _Keep(found, cut, own)
    keep.all("model.embed_tokens", x)
    for layer in range(cut.layers):
        at = f"model.layers.{layer}"
        weights = [cut.of_rank(rank, layer) for rank in range(cut.ranks)]
        h = [norm(v, w["norm1"]) for v, w in zip(x, weights, strict=True)]
        keep.all(f"{at}.input_layernorm", h)
        parts = []
        for rank, (v, w) in enumerate(zip(h, weights, strict=True)):
            q, k, val = v @ w["wq"].T, v @ w["wk"].T, v @ w["wv"].T
            keep.projections(
                rank, f"{at}.self_attn", qkv, {"q_proj": q, "k_proj": k, "v_proj": val}
            )
            mixed = attention(q, k, val)
            keep.one(rank, f"{at}.self_attn.attn", mixed)
            parts.append(mixed @ w["wo"].T)
        x = keep.reduced(f"{at}.self_attn", o, parts, x)
        h = [norm(v, w["norm2"]) for v, w in zip(x, weights, strict=True)]
        keep.all(f"{at}.post_attention_layernorm", h)
        parts = []
        for rank, (v, w) in enumerate(zip(h, weights, strict=True)):
            gate, up = v @ w["gate"].T, v @ w["up"].T
            keep.projections(rank, f"{at}.mlp", gate_up, {"gate_proj": gate, "up_proj": up})
            act = gate / (1 + np.exp(-gate)) * up
            keep.one(rank, f"{at}.mlp.act_fn", act)
            parts.append(act @ w["down"].T)
        x = keep.reduced(f"{at}.mlp", down, parts, x)
        keep.all(at, x)
    keep.all("model.norm", [norm(v, np.ones(HIDDEN, np.float32)) for v in x])
    return found


class _Keep:
    def __init__(self, found: list[Records], cut: Cut, own: list[slice]) -> None:
        self.found, self.cut, self.own = found, cut, own

    def one(self, rank: int, name: str, value: Array) -> None:
        self.found[rank][name] = value.astype(self.cut.dtype)

    def all(self, name: str, values: list[Array]) -> None:
        for rank, value in enumerate(values):
            self.one(rank, name, value[self.own[rank]])

    def projections(self, rank: int, at: str, fused: str, parts: Records) -> None:
        if self.cut.style == "hf":
            for name, value in parts.items():
                self.one(rank, f"{at}.{name}", value)
        elif fused == "linear_qkv":
            self.one(rank, f"{at}.{fused}", grouped(*parts.values()))
        else:
            self.one(rank, f"{at}.{fused}", np.concatenate(list(parts.values()), -1))

    def reduced(self, at: str, name: str, parts: list[Array], x: list[Array]) -> list[Array]:
        total = sum(parts[1:], parts[0])
        if self.cut.inside:
            for rank, part in enumerate(parts):
                self.one(rank, f"{at}.{name}", part)
        else:
            self.all(f"{at}.{name}", [total] * len(parts))
        self.all(at, [total] * len(parts))
        return [v + total for v in x]


def norm(x: Array, weight: Array) -> Array:
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6) * weight


def attention(q: Array, k: Array, v: Array) -> Array:
    count = len(q)
    q, k, v = (t.reshape(count, -1, SIZE).transpose(1, 0, 2) for t in (q, k, v))
    k, v = (np.repeat(t, len(q) // len(t), 0) for t in (k, v))
    scores = q @ k.transpose(0, 2, 1) / np.float32(np.sqrt(SIZE))
    scores = np.where(np.tril(np.ones((count, count), bool)), scores, -np.inf)
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = (scores / scores.sum(-1, keepdims=True)) @ v
    return mixed.transpose(1, 0, 2).reshape(count, -1).astype(np.float32)


def grouped(q: Array, k: Array, v: Array) -> Array:
    """Megatron's order: for each head of keys its queries, itself, its values."""
    tokens, groups = len(q), k.shape[-1] // SIZE
    parts = [t.reshape(tokens, groups, -1) for t in (q, k, v)]
    return np.concatenate(parts, -1).reshape(tokens, -1)


def write(folder: Path, records: list[Records], label: str = "rank{}") -> Path:
    """A file of each rank, or one file where there is one rank."""
    folder.mkdir(parents=True)
    if len(records) == 1:
        np.savez(folder / "acts.npz", **records[0])
    else:
        for rank, own in enumerate(records):
            np.savez(folder / f"{label.format(rank)}.npz", **own)
    return folder


def zigzag(tokens: int, ranks: int) -> list[Array]:
    """The tokens of each context-parallel rank."""
    chunks = np.split(np.arange(tokens), 2 * ranks)
    return [np.concatenate((chunks[r], chunks[2 * ranks - 1 - r])) for r in range(ranks)]


def stages(records: Records, sizes: tuple[int, ...], local: bool) -> list[Records]:
    """The records by stage: what stands before the layers in the first, behind them in the last."""
    found: list[Records] = [{} for _ in sizes]
    ends = np.cumsum(sizes)
    seen = False
    for name, value in records.items():
        layer = _LAYER.search(name)
        seen = seen or layer is not None
        stage = len(sizes) - 1 if seen else 0
        if layer is not None:
            stage = int(np.searchsorted(ends, int(layer[0]), side="right"))
            first = int(ends[stage]) - sizes[stage]
            if local:
                name = _LAYER.sub(str(int(layer[0]) - first), name)
        found[stage][name] = value
    return found
