"""Large captures for the benchmarks, made in a moment: 10,000 records of a few numbers each."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

PARTS = (
    "input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
    "self_attn.o_proj", "self_attn", "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj",
    "mlp.down_proj",
)  # fmt: skip
SHAPE = (1, 4, 8)


def names(count: int) -> list[str]:
    """`count` module names of a deep decoder, in execution order."""
    return [f"model.layers.{i // len(PARTS)}.{PARTS[i % len(PARTS)]}" for i in range(count)]


def values(count: int, noise: float) -> np.ndarray:
    """float32 values of `count` records; `noise` is relative."""
    random = np.random.default_rng(0)
    x = random.standard_normal((count, *SHAPE), dtype=np.float32)
    return x * (1 + noise * random.standard_normal(x.shape, dtype=np.float32))


def write_safetensors(path: Path, keys: list[str], data: np.ndarray) -> None:
    """One safetensors file with a tensor a key."""
    size, shape = data[0].nbytes, list(data[0].shape)
    header = {
        key: {"dtype": "F32", "shape": shape, "data_offsets": [i * size, (i + 1) * size]}
        for i, key in enumerate(keys)
    }
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data.tobytes())


def write_native(folder: Path, count: int, noise: float) -> None:
    """A capture as `layertui capture` writes it: a manifest and one shard."""
    folder.mkdir(parents=True)
    keys = [str(i) for i in range(count)]
    write_safetensors(folder / "data-00001.safetensors", keys, values(count, noise))
    lines = [json.dumps({"layertui": 1, "framework": "torch", "framework_version": "2.13.0"})]
    for seq, module in enumerate(names(count)):
        lines.append(
            json.dumps(
                {"seq": seq, "module": module, "slot": "output", "call": 1, "step": 0,
                 "class": "Linear", "call_id": seq, "shape": list(SHAPE), "dtype": "float32",
                 "device": "cpu", "file": "data-00001.safetensors", "key": str(seq),
                 "same_as": None, "op": None, "source": None}
            )
        )  # fmt: skip
    lines.append(json.dumps({"end": True, "records": count, "bytes": 0, "never_fired": []}))
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n")


def write_single_safetensors(path: Path, count: int, noise: float) -> None:
    """All records in one safetensors file, under names as hooks give them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_safetensors(path, [f"{name}-output" for name in names(count)], values(count, noise))


def write_files(folder: Path, count: int, noise: float) -> None:
    """A `.max` file a record, and the order in tensor_names.txt."""
    folder.mkdir(parents=True)
    data = values(count, noise)
    listed = []
    for module, one in zip(names(count), data, strict=True):
        name = f"{module}-output"
        listed.append(name)
        key = name.encode()
        entry = struct.pack("<I", len(key)) + key
        entry += struct.pack("<BB3I", 0x51, len(SHAPE), *SHAPE)
        size = len(entry) + 8
        head = b"\x93\xf0\x9f\x94\xa5\x2b\x2b\x93" + struct.pack("<IIQ", 0, 1, size)
        entry += struct.pack("<Q", len(head) + size)
        (folder / f"{name}.max").write_bytes(head + entry + one.tobytes())
    (folder / "tensor_names.txt").write_text("\n".join(listed) + "\n")
