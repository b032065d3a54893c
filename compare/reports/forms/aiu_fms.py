"""The form in which aiu-fms-testing-utils keeps thresholds of layers (`get_thresholds.py`):

    {"model_id", "abs_diff": {layer: L2 norm of all |d|}, "cos_sim_avg": {layer: mean over rows},
     "cos_sim_mean": {layer: the same}}

Norms grow with a tensor's size: the numbers hold for runs of the same shapes only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...comparison import Comparison
from ...measuring.per_token import TokenRows, token_rows
from ...model import Failure, Row
from ..form import Settings
from .json_form import json_text


@dataclass(slots=True)
class _Sums:
    squares: float = 0.0
    cosines: float = 0.0
    rows: int = 0
    spoiled: bool = False


def part(comparison: Comparison, settings: Settings, name: str) -> str:
    """The report of one comparison as text."""
    return json_text(aiu_report([comparison]))


def aiu_report(
    comparisons: Sequence[Comparison], cancelled: Callable[[], bool] | None = None
) -> dict[str, Any]:
    """The form, over all outputs of all comparisons. Layers with NaN or Inf on one side, or that
    cannot be read, have null: no number would be true of them.
    """
    layers: dict[str, _Sums] = {}
    for comparison in comparisons:
        for index, row in enumerate(comparison.rows):
            if row.kind == "pair" and row.role in ("output", "value"):
                sums = layers.setdefault(aiu_layer(row), _Sums())
                found: TokenRows | Failure | None = None
                if comparison.measurable(index):
                    found = token_rows(comparison.task(index), cancelled=cancelled)
                _add(sums, found)
    cosines = {name: _mean(sums) for name, sums in layers.items()}
    return {
        "model_id": model_id(comparisons),
        "abs_diff": {
            name: None if sums.spoiled else math.sqrt(sums.squares) for name, sums in layers.items()
        },
        "cos_sim_avg": cosines,
        "cos_sim_mean": dict(cosines),
    }


def aiu_layer(row: Row) -> str:
    """The layer's name: the module, with the slot where it is not the (first) output."""
    return row.canonical if row.slot in ("output", "value") else f"{row.canonical}-{row.slot}"


def model_id(comparisons: Sequence[Comparison]) -> str:
    """The model that the captures name, `unknown` where they do not."""
    for comparison in comparisons:
        for side in (comparison.reference, comparison.candidate):
            if side.model:
                return side.model
    return "unknown"


def _add(sums: _Sums, found: TokenRows | Failure | None) -> None:
    if not isinstance(found, TokenRows):
        sums.spoiled = True
        return
    cosine = found.cosine
    squares, cosines = float(found.dd.sum()), float(cosine.sum())
    if found.spoiled.any() or not (math.isfinite(squares) and math.isfinite(cosines)):
        sums.spoiled = True
        return
    sums.squares += squares
    sums.cosines += cosines
    sums.rows += cosine.size


def _mean(sums: _Sums) -> float | None:
    return None if sums.spoiled or not sums.rows else sums.cosines / sums.rows
