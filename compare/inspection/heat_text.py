"""The heat map as text: its levels, its legend, and the map in ASCII."""

from __future__ import annotations

import math

import numpy as np

from ...capture.values import Array
from ..recipes.errors import Shape
from .heat import QUANTITY_WORDS, HeatMap, distance_from_rest
from .window import region_text

RAMP = " .:-=+*#%@"


def heat_text(heat: HeatMap, shape: Shape) -> list[str]:
    """The map in ASCII with its scale, and where it peaks."""
    lines = heat_legend(heat, shape)
    if heat.values.size == 0:
        return lines
    levels = heat_levels(heat, len(RAMP))
    for row in range(heat.shape[0]):
        cells = "".join(
            "!" if heat.odd[row, c] else RAMP[level] if heat.filled[row, c] else "?"
            for c, level in enumerate(levels[row])
        )
        (low, high), _ = heat.cell(row, 0)
        lines.append(f"  {_range_text((low, high)):>11} |{cells}|")
    return lines


def heat_legend(heat: HeatMap, shape: Shape) -> list[str]:
    """What is drawn, its range, and the cell that stands out."""
    plan = heat.plan
    axes = ", ".join(
        f"{name} axis {axis} ({shape[axis]})"
        for name, axis in (("rows", plan.rows), ("columns", plan.columns))
        if axis is not None
    )
    lines = [f"{QUANTITY_WORDS[plan.quantity]} over [{region_text(plan.region, shape)}]"
             + (f": {axes}" if axes else "")]  # fmt: skip
    peak = heat.peak
    if peak is None:
        return [*lines, "no elements"]
    low, high = heat_range(heat)
    rows, columns = heat.cell(*peak)
    value = "not finite" if heat.odd[peak] else f"{heat.values[peak]:.4g}"
    place = ", ".join(
        f"{name} {_range_text(part)}"
        for name, axis, part in (("row", plan.rows, rows), ("column", plan.columns, columns))
        if axis is not None
    )
    at = f" at {place}" if place else ""
    lines.append(f"{low:.3g} to {high:.3g}, log scale; extreme {value}{at}")
    if heat.odd.any():
        lines.append(
            f"{int(heat.odd.sum())} cells hold elements with NaN or Inf on one side only (!)"
        )
    return lines


def _range_text(part: tuple[int, int]) -> str:
    """`7`, or `512:1024`."""
    return str(part[0]) if part[1] == part[0] + 1 else f"{part[0]}:{part[1]}"


def heat_range(heat: HeatMap) -> tuple[float, float]:
    """The smallest (above zero) and the greatest size that is drawn."""
    size = distance_from_rest(heat.values, heat.plan.quantity)[heat.filled & ~heat.odd]
    size = size[size > 0]
    return (float(size.min()), float(size.max())) if size.size else (0.0, 0.0)


def heat_levels(heat: HeatMap, count: int) -> Array:
    """0 to `count` - 1 a cell: 0 for nothing, then the logarithm of the size, in equal steps over
    at most eight decades below the greatest.
    """
    size = distance_from_rest(heat.values, heat.plan.quantity)
    low, high = heat_range(heat)
    levels = np.zeros(size.shape, np.int64)
    if high <= 0:
        return levels
    low = max(low, high * 1e-8)
    span = math.log(high / low) if high > low else 0.0
    some = size > 0
    with np.errstate(all="ignore"):
        share = (np.log(np.maximum(size, low) / low) / span) if span > 0 else np.ones(size.shape)
    levels[some] = 1 + np.minimum((share[some] * (count - 1)).astype(np.int64), count - 2)
    return levels
