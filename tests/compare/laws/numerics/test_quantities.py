"""Rows of records as tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from layertui.compare.comparison import open_comparison
from layertui.compare.laws.numerics import quantities
from layertui.compare.laws.scene import make_scene
from support.laws.law_checks import capture


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_some_rows_of_a_large_record_are_those_of_the_whole(
    tmp_path: Path, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5)).to(dtype)
    x = torch.randn(2, 4, 9, 6).to(dtype)
    folders = [capture(model, tmp_path / name, x) for name in ("reference", "candidate")]
    comparison = open_comparison(*map(str, folders))
    scene = make_scene(comparison.rows, comparison.reference, comparison.candidate)
    rows = np.array([0, 1, 2, 7, 8, 9, 10, 30, 35, 36, 71])
    for known in scene.reference.known.values():
        if not known.is_float:
            continue
        whole = scene.tables.read(known)
        monkeypatch.setattr(quantities, "RUN", 1)
        some = scene.tables.read(known, rows)
        monkeypatch.undo()
        np.testing.assert_array_equal(some, whole[rows])
