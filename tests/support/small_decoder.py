"""Runs of a small decoder in numpy: clean ones that differ by rounding, and ones with a fault.

The weights are the same for one `seed`. `split` sums every product in another order, as another
kernel does; `dtype` is what every result is rounded to. `spoil` gets each record before the run
goes on with it, and may change it: that is the fault, and all behind it inherits it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from layertui.capture.open import open_capture
from layertui.compare.comparison import Comparison

Array = np.ndarray
Spoil = Callable[[str, Array], Array]
_TORCH = {
    "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16,
    "float8_e4m3fn": torch.float8_e4m3fn,
}  # fmt: skip


def rounded(values: Array, dtype: str) -> Array:
    """Values of float32 on the grid of `dtype`."""
    exact = torch.from_numpy(np.ascontiguousarray(values, np.float32))
    return exact.to(_TORCH[dtype]).float().numpy()


@dataclass
class Decoder:
    """`massive`: the token and channel that the second layer's MLP makes a thousand times as large
    as the others, as trained models do. `quantise` changes weights, by the projection's name.
    `embedding_dtype`: what the embedding is kept in, if not in `dtype`. `inputs`: whether the
    inputs of projections are recorded.
    """

    layers: int = 4
    batch: int = 1
    tokens: int = 12
    width: int = 32
    heads: int = 4
    seed: int = 0
    dtype: str = "float32"
    split: int = 1
    massive: tuple[int, int] | None = None
    spoil: Spoil | None = None
    quantise: Callable[[str, Array], Array] | None = None
    embedding_dtype: str | None = None
    inputs: bool = False
    records: dict[str, Array] = field(default_factory=dict)

    def keep(self, name: str, values: Array) -> Array:
        values = rounded(values, self.dtype)
        if self.spoil is not None:
            values = rounded(self.spoil(name, values.copy()), self.dtype)
        self.records[name] = values
        return values

    def product(self, name: str, x: Array, weight: Array) -> Array:
        if self.inputs:
            self.records[f"{name}-input_0"] = x
        if self.quantise is not None:
            weight = self.quantise(name, weight)
        weight = rounded(weight, self.dtype)
        width = x.shape[-1]
        parts = np.array_split(np.arange(width), self.split)
        total = rounded(x[..., parts[0]] @ weight[parts[0]], self.dtype)
        for part in parts[1:]:
            total = rounded(total + rounded(x[..., part] @ weight[part], self.dtype), self.dtype)
        return self.keep(f"{name}-output", total)

    def norm(self, name: str, x: Array, weight: Array) -> Array:
        scale = np.sqrt(np.mean(np.square(x, dtype=np.float64), axis=-1, keepdims=True) + 1e-6)
        return self.keep(f"{name}-output", (x / scale * weight).astype(np.float32))

    def run(self) -> dict[str, Array]:
        """The records by name, in execution order."""
        with np.errstate(all="ignore"):  # faults overflow
            return self._run()

    def _run(self) -> dict[str, Array]:
        rng = np.random.default_rng(self.seed)
        width, inner = self.width, 2 * self.width
        table = rng.standard_normal((64, width)).astype(np.float32)
        table = rounded(table, self.embedding_dtype or self.dtype)
        ids = rng.integers(0, 64, (self.batch, self.tokens))
        x = self.keep("model.embed_tokens-output", table[ids])
        for layer in range(self.layers):
            x = self.layer(layer, x, rng, inner)
        x = self.norm("model.norm", x, 1 + 0.1 * rng.standard_normal(width))
        self.product("lm_head", x, _weight(rng, width, 64))
        return self.records

    def layer(self, layer: int, x: Array, rng: np.random.Generator, inner: int) -> Array:
        width, name = self.width, f"model.layers.{layer}"
        weights = {part: _weight(rng, width, width) for part in "qkvo"}
        up, gate, down = (_weight(rng, *s) for s in ((width, inner),) * 2 + ((inner, width),))
        first, second = (1 + 0.1 * rng.standard_normal(width) for _ in range(2))
        h = self.norm(f"{name}.input_layernorm", x, first)
        q, k, v = (
            self.product(f"{name}.self_attn.{part}_proj", h, weights[part]) for part in "qkv"
        )
        mixed = rounded(self.attention(q, k, v), self.dtype)
        attended = self.product(f"{name}.self_attn.o_proj", mixed, weights["o"])
        x = rounded(x + attended, self.dtype)
        h = self.norm(f"{name}.post_attention_layernorm", x, second)
        g = self.product(f"{name}.mlp.gate_proj", h, gate)
        u = self.product(f"{name}.mlp.up_proj", h, up)
        product = rounded(rounded(g / (1 + np.exp(-g)), self.dtype) * u, self.dtype)
        out = self.product(f"{name}.mlp.down_proj", product, down)
        if self.massive is not None and layer == min(1, self.layers - 1):
            out = out.copy()
            out[:, self.massive[0], self.massive[1]] += 1263.0
            out = rounded(out, self.dtype)
        out = self.keep(f"{name}.mlp-output", out)
        return self.keep(f"{name}-output", rounded(x + out, self.dtype))

    def attention(self, q: Array, k: Array, v: Array) -> Array:
        shape = (self.batch, self.tokens, self.heads, self.width // self.heads)
        q, k, v = (each.reshape(shape).swapaxes(1, 2) for each in (q, k, v))
        scores = q @ k.swapaxes(-1, -2) / np.sqrt(shape[-1])
        scores = np.where(np.tri(self.tokens, dtype=bool), scores, -np.inf)
        share = np.exp(scores - scores.max(-1, keepdims=True))
        share /= share.sum(-1, keepdims=True)
        mixed = (share @ v).swapaxes(1, 2)
        return np.ascontiguousarray(mixed.reshape(self.batch, self.tokens, self.width))


def _weight(rng: np.random.Generator, rows: int, columns: int) -> Array:
    return (rng.standard_normal((rows, columns)) / np.sqrt(rows)).astype(np.float32)


def write(folder: Path, records: dict[str, Array], dtype: str) -> Path:
    """Files that torch writes, in order."""
    folder.mkdir(parents=True)
    for name, values in records.items():
        tensor = torch.from_numpy(np.ascontiguousarray(values))
        torch.save(tensor.to(_TORCH[dtype]), folder / f"{name}.pt")
    (folder / "tensor_names.txt").write_text("".join(f"{name}\n" for name in records))
    return folder


def compare(
    folder: Path, reference: Decoder, candidate: Decoder,
    kept: tuple[str | None, str | None] = (None, None),
) -> Comparison:  # fmt: skip
    """Both runs, written in the dtypes `kept` (their own where None), measured and judged."""
    sides = [
        (run.run(), dtype or run.dtype)
        for run, dtype in zip((reference, candidate), kept, strict=True)
    ]
    return _compared(folder, sides[0], sides[1])


def compare_records(
    folder: Path, reference: dict[str, Array], candidate: dict[str, Array], dtype: str
) -> Comparison:
    """The same for records that are there."""
    return _compared(folder, (reference, dtype), (candidate, dtype))


def _compared(
    folder: Path, reference: tuple[dict[str, Array], str], candidate: tuple[dict[str, Array], str]
) -> Comparison:
    found = Comparison(
        open_capture(write(folder / "ref", *reference)),
        open_capture(write(folder / "cand", *candidate)),
    )
    assert found.measure(use_cache=False, threads=1)
    return found


def at(record: str, change: Callable[[Array], Array]) -> Spoil:
    """The fault `change` at one record."""
    return lambda name, values: change(values) if name == record else values


def both(*spoils: Spoil) -> Spoil:
    """Several faults."""

    def spoil(name: str, values: Array) -> Array:
        for each in spoils:
            values = each(name, values)
        return values

    return spoil
