"""What some ranks lack is said: one rank's file may have been lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from layertui.capture.open import open_capture


def test_tensors_of_one_rank_are_counted(tmp_path: Path) -> None:
    values = {f"layers.{n}.norm": np.arange(8, dtype=np.float32) + n for n in range(4)}
    for rank, keys in ((0, list(values)), (1, list(values)[:1])):
        folder = tmp_path / f"rank{rank}"
        folder.mkdir()
        save_file({key: values[key] for key in keys}, folder / "x.safetensors")
    notes = " ".join(open_capture(tmp_path).notes)
    assert "of 1 tensor 1 looks the same on all of them, and the first rank's is shown" in notes
    assert "; 3 more tensors are on one rank only" in notes
