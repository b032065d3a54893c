"""A row, the numbers of a pair, and the level that a policy gives them."""

from __future__ import annotations

from typing import Any

from layertui.compare.judging.policy import (
    DtypePolicy,
)
from layertui.compare.model import Failure, Measurement, Row, SideStatistics
from support.synthetic import record

SIDE = SideStatistics(-2.0, 2.0, 0.0, 1.0, 10.0, 0, 0, 0)


def pair(ref: str = "float32", cand: str = "float32", **more: Any) -> Row:
    fields = {"canonical": "layers.0.mlp", "slot": "output", "matched_by": "name", **more}
    return Row(0, "pair", record("a-output", dtype=ref), record("a-output", dtype=cand), **fields)


def numbers(**more: Any) -> Measurement:
    """100 elements of root mean square 1."""
    fields: dict[str, Any] = {
        "shape": (10, 10), "count": 100, "compared": 100, "identical": False, "mse": 0.0,
        "relative_l2": 0.0, "cosine": 1.0, "max_abs": 0.0, "max_abs_index": (1, 2),
        "max_abs_values": (0.5, 0.5), "reference": SIDE, "candidate": SIDE, **more,
    }  # fmt: skip
    return Measurement(**fields)


def level(row: Row, result: Measurement | Failure | None, policy: Any = None) -> str:
    return (policy or DtypePolicy()).judge(row, result).level
