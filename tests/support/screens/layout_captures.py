"""Captures whose candidate holds the right numbers in another layout."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

HEADS, SIZE, TOKENS, WIDTH = 4, 16, 10, 64


def write_arrays(folder: Path, arrays: dict[str, np.ndarray]) -> Path:
    """One safetensors file of float32 (or whole, bool, complex) arrays, without any library."""
    names = {"f4": "F32", "f8": "F64", "i8": "I64", "b1": "BOOL", "c8": "C64", "u2": "BF16"}
    header: dict[str, object] = {}
    data = bytearray()
    for name, array in arrays.items():
        raw = np.ascontiguousarray(array).tobytes()
        header[name] = {
            "dtype": names[array.dtype.str[1:]], "shape": list(array.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }  # fmt: skip
        data += raw
    text = json.dumps(header).encode()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return folder


def half_to_interleaved(q: np.ndarray) -> np.ndarray:
    """RoPE's other order of every head's elements."""
    heads = q.reshape(*q.shape[:-1], HEADS, 2, SIZE // 2)
    return heads.swapaxes(-1, -2).reshape(q.shape)


def write_layout_pair(folder: Path) -> tuple[Path, Path]:
    """Rows 0 to 3: RoPE's order, a transposed output, permuted heads, a shift by one token."""
    rng = np.random.default_rng(7)

    def tensor(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    rope, square, heads, shifted = (
        tensor(1, TOKENS, WIDTH), tensor(1, WIDTH, WIDTH), tensor(1, TOKENS, WIDTH),
        tensor(1, TOKENS, WIDTH),
    )  # fmt: skip
    later = np.roll(shifted, 1, axis=1)
    later[:, 0] = tensor(1, WIDTH)
    order = [2, 0, 3, 1]
    moved = heads.reshape(1, TOKENS, HEADS, SIZE)[:, :, order].reshape(heads.shape)
    names = (
        "model.layers.0.self_attn.q_proj-output", "model.layers.0.self_attn.o_proj-output",
        "model.layers.1.self_attn.q_proj-output", "model.layers.1.mlp-output",
    )  # fmt: skip
    good = dict(zip(names, (rope, square, heads, shifted), strict=True))
    other = (half_to_interleaved(rope), square.swapaxes(1, 2), moved, later)
    bad = {name: array[0] for name, array in zip(names, other, strict=True)}
    return write_arrays(folder / "ref", good), write_arrays(folder / "cand", bad)
