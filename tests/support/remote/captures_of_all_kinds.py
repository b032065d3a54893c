"""A capture with a file of nearly every format, and what is in captures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from layertui.capture.load import load
from layertui.capture.records import Capture


def write_all_kinds(folder: Path) -> None:
    """A file of nearly every format that can be written here."""
    import torch

    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    x = random.standard_normal((7, 300), dtype=np.float32)
    np.save(folder / "layers.0.norm-output.npy", x)
    np.savez_compressed(folder / "layers.1.mlp-output.npz", x)
    np.savez(folder / "layers.2.mlp-output.npz", np.asfortranarray(x))
    save_file({"layers.3.mlp-output": x[:3]}, folder / "three.safetensors")
    torch.save(torch.from_numpy(x).T, folder / "layers.4.mlp-output.pt")
    (folder / "py_layer5.txt").write_text("# Shape: 3\n1.5\n2.5\n-1e3\n")


def values_of(capture: Capture) -> dict[str, np.ndarray]:
    assert [record.error for record in capture.records if record.error] == []
    return {r.name: load(r.locator) for r in capture.records if r.locator is not None}
