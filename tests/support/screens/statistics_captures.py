"""Dumps of statistics without values, as msprobe writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PLACES = ("embed_tokens", "layers.0.mlp.down_proj", "layers.1.mlp.down_proj", "norm")


def tensor(scale: float) -> dict[str, Any]:
    return {
        "type": "torch.Tensor", "dtype": "torch.float32", "shape": [1, 8, 32],
        "Max": 1.5 * scale, "Min": -1.25 * scale, "Mean": 0.02 * scale, "Norm": 6.0 * scale,
    }  # fmt: skip


def write_statistics(folder: Path, wrong: frozenset[str] = frozenset()) -> Path:
    """An msprobe dump of statistics; the outputs of `wrong` are 1.2 times as large."""
    data = {
        f"Module.model.{name}.Linear.forward.0": {
            "input_args": [tensor(1.0)], "input_kwargs": {},
            "output": [tensor(1.2 if name in wrong else 1.0)],
        }
        for name in PLACES
    }  # fmt: skip
    place = folder / "step0" / "proc1"
    place.mkdir(parents=True)
    head = {"task": "statistics", "level": "L0", "framework": "pytorch", "dump_data_dir": None}
    (place / "dump.json").write_text(json.dumps({**head, "data": data}))
    return folder
