"""Text dumps of a small decoder by the eighteen names of the C++ against Python workflow.

`python_side` sums as numpy does, `cpp_side` in short pieces, as a hand-written kernel would: the
two differ by rounding alone, but for the fault that is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from layertui.capture.values import Array

TOKENS, WIDTH, HEADS, INNER, LAYERS = 6, 32, 4, 48, 3
Product = Callable[[Array, Array], Array]


def python_side() -> dict[str, Array]:
    return _run(lambda x, weight: x @ weight, "")


def cpp_side(fault: str = "") -> dict[str, Array]:
    """`fault` is the name of a tensor whose last channels are off by a twentieth."""
    return _run(_in_pieces, fault)


def write(folder: Path, side: str, tensors: dict[str, Array], header: str = "# Shape: {}") -> Path:
    """A file `SIDE_NAME.txt` a tensor: a line with the shape, then a value a line."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in tensors.items():
        shape = "x".join(map(str, values.shape))
        lines = [header.format(shape), *(f"{value:.9g}" for value in values.reshape(-1))]
        (folder / f"{side}_{name}.txt").write_text("\n".join(lines) + "\n")
    return folder


def _in_pieces(x: Array, weight: Array) -> Array:
    parts = [x[:, at : at + 8] @ weight[at : at + 8] for at in range(0, x.shape[1], 8)]
    return np.asarray(np.sum(parts[::-1], axis=0, dtype=np.float32))


def _norm(x: Array) -> Array:
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(1e-6))


def _rope(x: Array) -> Array:
    half = x.shape[-1] // 2
    rate = 10_000.0 ** (-np.arange(half) / half)
    angle = (np.arange(TOKENS)[:, None] * rate)[:, None, :]
    cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def _attention(q: Array, k: Array, v: Array) -> Array:
    scores = np.einsum("thd,shd->hts", q, k) / np.float32(np.sqrt(q.shape[-1]))
    scores = np.where(np.tri(TOKENS, dtype=bool), scores, np.float32(-1e9))
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return np.einsum("hts,shd->thd", weights, v).reshape(TOKENS, WIDTH)


def _run(product: Product, fault: str) -> dict[str, Array]:
    rng = np.random.default_rng(2)
    found: dict[str, Array] = {}

    def weight(*shape: int) -> Array:
        return (rng.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)

    def kept(name: str, values: Array) -> Array:
        values = values.astype(np.float32)
        if name == fault:
            values = values.copy()
            values[..., -4:] *= np.float32(1.05)
        found[name] = values[None]
        return values

    def in_heads(x: Array) -> Array:
        return x.reshape(TOKENS, HEADS, WIDTH // HEADS)

    x = kept("input_embeddings", weight(TOKENS, WIDTH) * np.float32(2.0))
    for layer in range(LAYERS):
        at = f"layer_{layer}_"
        kept(f"{at}input_hidden_states", x)
        y = kept(f"{at}attn_norm_output", _norm(x))
        raw = {c: kept(f"{at}attn_{c}_proj_raw", product(y, weight(WIDTH, WIDTH))) for c in "qkv"}
        normed = {c: kept(f"{at}attn_{c}_normed", _norm(in_heads(raw[c]))) for c in "qk"}
        roped = {c: kept(f"{at}attn_{c}_rope", _rope(normed[c])) for c in "qk"}
        mixed = _attention(roped["q"], roped["k"], in_heads(raw["v"]))
        x = kept(f"{at}attn_residual_output",
                 x + kept(f"{at}attn_o_proj", product(mixed, weight(WIDTH, WIDTH))))  # fmt: skip
        y = kept(f"{at}mlp_norm_output", _norm(x))
        gate = kept(f"{at}mlp_gate_proj", product(y, weight(WIDTH, INNER)))
        up = kept(f"{at}mlp_up_proj", product(y, weight(WIDTH, INNER)))
        inner = kept(f"{at}mlp_intermediate", gate / (1 + np.exp(-gate)) * up)
        x = kept(f"{at}layer_output", x + product(inner, weight(INNER, WIDTH)))
    kept("final_norm_output", _norm(x))
    return found
