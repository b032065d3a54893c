"""Runs of a little attention model, with a fault where the tests want one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .layout_captures import write_arrays

LAYERS, TOKENS, WIDTH, HEADS = 5, 24, 32, 4
Arrays = dict[str, np.ndarray]


def swapped_heads(mixed: np.ndarray) -> np.ndarray:
    """Two heads trade places between the projections: nothing but attention itself can do it."""
    heads = mixed.reshape(TOKENS, HEADS, -1)[:, [0, 2, 1, 3]]
    return np.ascontiguousarray(heads.reshape(TOKENS, WIDTH))


def run(
    noise: float = 0.0, seed: int = 1, swap_at: int | None = None, spoil_at: int | None = None,
    ids_from: int = 3,
) -> Arrays:  # fmt: skip
    """Every record of a run in execution order. `noise` is what a step adds, relative; `swap_at`
    the layer whose heads are swapped, `spoil_at` the one whose o_proj gives a NaN.
    """
    weights, own = np.random.default_rng(0), np.random.default_rng(seed)

    def step(values: np.ndarray) -> np.ndarray:
        return (values * (1 + noise * own.standard_normal(values.shape))).astype(np.float32)

    table = weights.standard_normal((64, WIDTH)).astype(np.float32)
    ids = np.arange(ids_from, ids_from + TOKENS)
    made: Arrays = {"model.embed_tokens-input_0": ids, "model.embed_tokens-output": table[ids]}
    x = made["model.embed_tokens-output"]
    for layer in range(LAYERS):
        name = f"model.layers.{layer}.self_attn"
        q, k, v, o = (weights.standard_normal((WIDTH, WIDTH)) / 6 for _ in range(4))
        parts: list[np.ndarray] = []
        for part, weight in (("q", q), ("k", k), ("v", v)):
            made[f"{name}.{part}_proj-input_0"] = x
            made[f"{name}.{part}_proj-output"] = step(x @ weight)
            parts.append(made[f"{name}.{part}_proj-output"])
        mixed = step(np.tanh(parts[0] * parts[1]) + parts[2])
        mixed = swapped_heads(mixed) if layer == swap_at else mixed
        made[f"{name}.o_proj-input_0"] = mixed
        out = step(mixed @ o)
        if layer == spoil_at:
            out[3, 5] = np.nan
        made[f"{name}.o_proj-output"] = out
        made[f"{name}-input_0"] = x
        made[f"{name}-output"] = out
        made[f"model.layers.{layer}-input_0"] = x
        x = made[f"model.layers.{layer}-output"] = step(x + out)
    return made


def runs(folder: Path, **sides: Arrays) -> dict[str, str]:
    """Captures of runs by name."""
    return {name: str(write_arrays(folder / name, arrays)) for name, arrays in sides.items()}
