"""Captures of the size of a model's run, made at the speed of the disk (see `model_sized.py`)."""

from __future__ import annotations

import json
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
TOKENS, HIDDEN, INNER, KEYS, VOCABULARY = 256, 4096, 14336, 1024, 128256
HEAD, ROPE_BASE = 128, 500_000.0
BLOCK_BYTES = 1 << 26
_POOL = 1 << 24  # random numbers that all records are cut from
_NOISE = 2.0**-9  # relative: half a unit of bfloat16


def rounded(values: Array) -> Array:
    """float32 rounded to bfloat16, as its bits."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def widened(raw: Array) -> Array:
    return (raw.astype(np.uint32) << 16).view(np.float32)


@dataclass(slots=True)
class Numbers:
    """Random numbers without their cost: pieces of one pool, with noise for the candidate."""

    noise: float
    plain: Array = field(init=False)
    factor: Array = field(init=False)
    at: int = 0

    def __post_init__(self) -> None:
        random = np.random.default_rng(0)
        self.plain = random.standard_normal(_POOL, dtype=np.float32)
        self.factor = 1 + self.noise * random.standard_normal(_POOL, dtype=np.float32)

    def take(self, width: int, size: float) -> Array:
        """`[TOKENS, width]` in bfloat16 of this size; other ones at every call."""
        count = TOKENS * width
        self.at = (self.at + 1_234_577) % (_POOL - count)
        piece = slice(self.at, self.at + count)
        return rounded(size * self.plain[piece] * self.factor[piece]).reshape(TOKENS, width)


@dataclass(slots=True)
class Writer:
    """A capture as `layertui capture` writes it: a manifest and a shard for each layer."""

    folder: Path
    lines: list[str] = field(default_factory=list)
    shard: list[tuple[str, Array]] = field(default_factory=list)
    shards: int = 0
    calls: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        head = {"layertui": 1, "framework": "torch", "framework_version": "2.13.0"}
        self.lines.append(json.dumps(head))

    def call(
        self, module: str, kind: str, given: Array, result: Array, slot: str = "input_0"
    ) -> Array:
        """Input and output of a module's call."""
        self.calls += 1
        self.record(module, slot, kind, given)
        self.record(module, "output", kind, result)
        return result

    def record(self, module: str, slot: str, kind: str, values: Array) -> None:
        key = str(len(self.lines) - 1)
        self.shard.append((key, values))
        self.lines.append(record_line(int(key), module, slot, kind, self.calls, values.shape,
                                      f"data-{self.shards + 1:05}.safetensors", key))  # fmt: skip

    def close_shard(self) -> None:
        self.shards += 1
        write_safetensors(self.folder / f"data-{self.shards:05}.safetensors", self.shard)
        self.shard = []

    def close(self) -> None:
        count = len(self.lines) - 1
        self.lines.append(
            json.dumps({"end": True, "records": count, "bytes": 0, "never_fired": []})
        )
        (self.folder / "manifest.jsonl").write_text("\n".join(self.lines) + "\n")


def record_line(
    seq: int, module: str, slot: str, kind: str, call: int, shape: tuple[int, ...], file: str,
    key: str,
) -> str:  # fmt: skip
    return json.dumps(
        {"seq": seq, "module": module, "slot": slot, "call": 1, "step": 0, "class": kind,
         "call_id": call, "shape": [1, *shape], "dtype": "bfloat16", "device": "cpu", "file": file,
         "key": key, "same_as": None, "op": None, "source": None}
    )  # fmt: skip


def write_safetensors(path: Path, tensors: list[tuple[str, Array]]) -> None:
    header: dict[str, Any] = {}
    at = 0
    for key, values in tensors:
        offsets = [at, at + values.nbytes]
        header[key] = {"dtype": "BF16", "shape": [1, *values.shape], "data_offsets": offsets}
        at += values.nbytes
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, values in tensors:
            file.write(np.ascontiguousarray(values).data)


def write_model_run(folder: Path, layers: int) -> None:
    """Both sides of a pair with so many layers, in `reference` and `candidate` of `folder`."""
    for side, noise in (("reference", 0.0), ("candidate", _NOISE)):
        writer, numbers = Writer(folder / side), Numbers(noise)
        stream = writer.call("model.embed_tokens", "Embedding", _ids(), numbers.take(HIDDEN, 1.0))
        for layer in range(layers):
            stream = _layer(writer, numbers, f"model.layers.{layer}", stream)
            writer.close_shard()
        last = writer.call("model.norm", "LlamaRMSNorm", stream, _normed(stream))
        writer.call("lm_head", "Linear", last, numbers.take(VOCABULARY // 8, 1.0))
        writer.close_shard()
        writer.close()


def _ids() -> Array:
    """Stands for the token ids: any small numbers that are whole."""
    return rounded((np.arange(TOKENS, dtype=np.float32) % 128).reshape(TOKENS, 1))


def _layer(writer: Writer, numbers: Numbers, name: str, stream: Array) -> Array:
    """One decoder layer: 26 records."""
    normed = writer.call(f"{name}.input_layernorm", "LlamaRMSNorm", stream, _normed(stream))
    queries, keys, values = (
        writer.call(f"{name}.self_attn.{part}_proj", "Linear", normed, numbers.take(width, 1.0))
        for part, width in (("q", HIDDEN), ("k", KEYS), ("v", KEYS))
    )
    mixed = _attended(queries, keys, values)
    attended = writer.call(f"{name}.self_attn.o_proj", "Linear", mixed, numbers.take(HIDDEN, 0.5))
    writer.call(f"{name}.self_attn", "LlamaAttention", normed, attended, "input_hidden_states")
    between = _added(stream, attended)
    inner = writer.call(
        f"{name}.post_attention_layernorm", "LlamaRMSNorm", between, _normed(between)
    )
    gate = writer.call(f"{name}.mlp.gate_proj", "Linear", inner, numbers.take(INNER, 1.0))
    active = writer.call(f"{name}.mlp.act_fn", "SiLU", gate, _silu(gate))
    up = writer.call(f"{name}.mlp.up_proj", "Linear", inner, numbers.take(INNER, 1.0))
    product = rounded(widened(active) * widened(up))
    down = writer.call(f"{name}.mlp.down_proj", "Linear", product, numbers.take(HIDDEN, 0.5))
    writer.call(f"{name}.mlp", "LlamaMLP", inner, down)
    return writer.call(name, "LlamaDecoderLayer", stream, _added(between, down))


def _normed(stream: Array) -> Array:
    x = widened(stream)
    return rounded(x / np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(1e-5)))


def _silu(gate: Array) -> Array:
    x = widened(gate)
    return rounded(x / (1 + np.exp(-x)))


def _attended(queries: Array, keys: Array, values: Array) -> Array:
    """Causal attention with rotary positions, before the output projection."""
    q, k, v = (_heads(side) for side in (queries, keys, values))
    q, k = _turned(q), _turned(k)
    group = len(q) // len(k)
    result = np.empty_like(q)
    future = np.triu(np.ones((TOKENS, TOKENS), np.bool_), 1)
    for head in range(len(q)):
        scores = q[head] @ k[head // group].T / np.float32(HEAD**0.5)
        scores[future] = -np.inf
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        result[head] = scores @ v[head // group] / scores.sum(-1, keepdims=True)
    return rounded(np.ascontiguousarray(result.transpose(1, 0, 2)).reshape(TOKENS, -1))


def _heads(side: Array) -> Array:
    return widened(side).reshape(TOKENS, -1, HEAD).transpose(1, 0, 2)


def _turned(heads: Array) -> Array:
    """With rotary positions, Llama's way."""
    speeds = ROPE_BASE ** (-np.arange(0, HEAD, 2) / HEAD)
    angles = np.outer(np.arange(TOKENS), speeds)
    cos, sin = (np.float32(np.tile(f(angles), 2)) for f in (np.cos, np.sin))
    low, high = np.split(heads, 2, -1)
    return heads * cos + np.concatenate([-high, low], -1) * sin


def _added(one: Array, other: Array) -> Array:
    return rounded(widened(one) + widened(other))


def write_blocks(folder: Path, count: int) -> None:
    """Both sides of a pair of `count` records a side of `BLOCK_BYTES` each, of which all after the
    first are hard links to it.
    """
    shape = (BLOCK_BYTES // 2 // HIDDEN, HIDDEN)
    for side, noise in (("reference", 0.0), ("candidate", _NOISE)):
        home = folder / side
        home.mkdir(parents=True)
        numbers = Numbers(noise)
        pieces = [numbers.take(HIDDEN, 1.0) for _ in range(shape[0] // TOKENS)]
        first = home / "data-00001.safetensors"
        write_safetensors(first, [("0", np.concatenate(pieces))])
        lines = [json.dumps({"layertui": 1, "framework": "torch", "framework_version": "2.13.0"})]
        for index in range(count):
            file = f"data-{index + 1:05}.safetensors"
            if index:
                os.link(first, home / file)
            module = f"model.layers.{index}.mlp"
            lines.append(record_line(index, module, "output", "MLP", index, shape, file, "0"))
        lines.append(json.dumps({"end": True, "records": count, "bytes": 0, "never_fired": []}))
        (home / "manifest.jsonl").write_text("\n".join(lines) + "\n")
