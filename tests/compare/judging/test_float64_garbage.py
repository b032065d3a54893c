"""Float64 may hold any bits: numbers whose squares it does not hold are judged as others are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.measuring.kernel import NO_KERNEL
from support.synthetic import saved

LAYERS = 4


def compared(folder: Path, x: np.ndarray, y: np.ndarray) -> Comparison:
    """Of layers that agree but for the third, which is `x` and `y`."""
    for name, other in (("ref", x), ("cand", y)):
        layers = {f"model.layers.{i}.mlp-output": x + 0.0 * i for i in range(LAYERS)}
        saved(folder / name, {**layers, "model.layers.2.mlp-output": other})
    found = open_comparison(str(folder / "ref"), str(folder / "cand"))
    assert found.measure(use_cache=False, threads=1)
    return found


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("no_kernel", [False, True])
@pytest.mark.parametrize("nan", [False, True])
def test_garbage_is_a_divergence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nan: bool, no_kernel: bool
) -> None:
    if no_kernel:
        monkeypatch.setenv(NO_KERNEL, "1")
    rng = np.random.default_rng(1)
    x = rng.standard_normal((1, 16, 64))
    y = rng.integers(0, 2**64, x.shape, dtype=np.uint64).view(np.float64)
    y[~np.isfinite(y)] = 1.0
    if nan:
        y[0, 3, 3] = np.nan
    first = compared(tmp_path, x, y).first_divergence()
    assert first is not None
    assert (first.module, first.verdict) == ("layers.2.mlp", "nan" if nan else "diverged")
    assert [symptom.name for symptom in first.symptoms] == ["nan" if nan else "none"]
    assert "all zeros" not in first.reason


@pytest.mark.parametrize("size", [1e150, 1e154, 1e160, 1e300])
def test_large_numbers_on_both_sides(tmp_path: Path, size: float) -> None:
    x = size * np.random.default_rng(1).standard_normal((1, 16, 64))
    first = compared(tmp_path, x, 0.9 * x).first_divergence()
    assert first is not None and (first.module, first.verdict) == ("layers.2.mlp", "diverged")
    assert "all zeros" not in first.reason
