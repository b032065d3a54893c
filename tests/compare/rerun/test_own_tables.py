"""What only the candidate hands to its layers: a table, or something made from the prompt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from layertui.capture import open_capture
from layertui.compare.rerun.own_tables import is_table

TABLE, OTHER = (np.random.default_rng(seed).standard_normal((32, 8)) for seed in (0, 1))


@pytest.mark.parametrize(
    ("tensors", "expected"),
    [
        ({"layers.1.attn-input_3": TABLE}, True),
        ({"layers.1.attn-input_3": OTHER}, False),
        ({"layers.1.attn-input_3": TABLE, "encoder-output": TABLE}, False),
        ({"layers.1.attn-input_3": TABLE, "encoder-output": OTHER}, True),
        ({"layers.1.attn-input_4": TABLE}, False),
        ({"layers.1.mlp-input_3": TABLE}, False),
        ({}, False),
    ],
)
def test_a_table_is_the_same_in_all_layers_and_nobody_s_output(
    tensors: dict[str, np.ndarray], expected: bool, tmp_path: Path
) -> None:
    for name, array in {"layers.0.attn-input_3": TABLE, **tensors}.items():
        np.save(tmp_path / f"{name}.npy", array)
    records = open_capture(tmp_path).records
    asked = next(record for record in records if record.module == "layers.0.attn")
    assert is_table(asked, records) == expected
