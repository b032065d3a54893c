"""Two small captures on disk, of one float32 tensor a layer."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from layertui.compare.comparison import Comparison, open_comparison


def write_side(folder: Path, arrays: list[np.ndarray]) -> Path:
    """A directory of `.npy` files, one layer each."""
    folder.mkdir(parents=True, exist_ok=True)
    for layer, array in enumerate(arrays):
        np.save(folder / f"model.layers.{layer}.mlp-output.npy", array)
    return folder


def layer_file(folder: Path, layer: int) -> Path:
    return folder / f"model.layers.{layer}.mlp-output.npy"


def two_sides(tmp_path: Path, layers: int, size: int = 50) -> tuple[Path, Path]:
    """A reference and a candidate with noise of 1e-6."""
    rng = np.random.default_rng(layers)
    ref = [rng.standard_normal((size, 4)).astype(np.float32) for _ in range(layers)]
    cand = [x + 1e-6 * rng.standard_normal(x.shape).astype(np.float32) for x in ref]
    return write_side(tmp_path / "reference", ref), write_side(tmp_path / "candidate", cand)


def opened(
    sides: tuple[Path, Path], rtol: float | None = None, atol: float | None = None
) -> Comparison:
    comparison = open_comparison(*map(str, sides), rtol=rtol, atol=atol)
    assert all(comparison.measurable(i) for i in range(len(comparison.rows)))
    return comparison


def huge_sides(tmp_path: Path, shape: tuple[int, ...]) -> tuple[Path, Path]:
    """One layer of zeros a side, sparse: no disk is filled."""
    sides = tmp_path / "reference", tmp_path / "candidate"
    for folder in sides:
        write_side(folder, [np.zeros(1, np.float32)])
        header = np.lib.format.header_data_from_array_1_0(np.broadcast_to(np.float32(0), shape))
        header["fortran_order"] = False
        with open(layer_file(folder, 0), "wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            os.truncate(file.fileno(), file.tell() + 4 * int(np.prod(shape)))
    return sides
