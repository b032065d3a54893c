"""What the cells of the map can show, each with its scale and its words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ...compare.measuring.metrics import METRICS
from ..present.text import number

if TYPE_CHECKING:
    from collections.abc import Callable

    from .cells import Cell

QuantityName = Literal["error", "local", "ratio", "verdict"]
FULL = 7  # the highest bar, as in the strip by depth


@dataclass(frozen=True)
class Quantity:
    """`value` of a cell, None where it has none; `powers` are the powers of ten between which bars
    grow, None for what has no size. `unit` stands behind the number.
    """

    name: QuantityName
    title: str
    about: str
    value: Callable[[Cell], float | None]
    powers: tuple[float, float] | None
    unit: str = ""

    def height(self, value: float | None) -> int:
        """0 (nothing) to 7 of a value, on a logarithmic scale; nothing but 0 is 0."""
        if value is None or self.powers is None or value <= 0 or math.isnan(value):
            return 0
        low, high = self.powers
        share = (math.log10(value) - low) / (high - low) if math.isfinite(value) else 1.0
        return max(1, min(FULL, round(1 + share * (FULL - 1))))

    def text(self, value: float) -> str:
        """`1.1x`, `3.1e-14`."""
        return f"{number(value)}{self.unit}"


_TIMES = (0.0, 4.0)  # 1x is the lowest bar, 10,000x the highest


def quantities(metric: str) -> tuple[Quantity, ...]:
    """In the order of the key that changes them; errors are in `metric`."""
    spec = METRICS[metric]
    away = "" if spec.greater_is_worse else "1 - "
    return (
        Quantity(
            "error", f"{away}{spec.heading}", "the height is the error, the colour its verdict",
            lambda cell: cell.error, spec.strip_range,
        ),
        Quantity(
            "local", "local error", "on its own recorded inputs, 1x is usual",
            lambda cell: cell.local, _TIMES, "x",
        ),
        Quantity(
            "ratio", "ratio", "error over that of its inputs, 1x adds nothing",
            lambda cell: cell.ratio, _TIMES, "x",
        ),
        Quantity("verdict", "verdict", "the worst of each cell", lambda cell: None, None),
    )  # fmt: skip
