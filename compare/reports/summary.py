"""How a metric spreads over the pairs of a comparison, as a whole and by component."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import TYPE_CHECKING

from ...capture.records import Record
from ..model import Measurement, Row, SideStatistics

if TYPE_CHECKING:
    from ..comparison import Comparison


@dataclass(frozen=True, slots=True)
class Spread:
    """min, max, mean and median over the `finite` of `total` pairs; None when there are none."""

    min: float | None
    max: float | None
    mean: float | None
    median: float | None
    finite: int
    total: int


@dataclass(frozen=True, slots=True)
class Component:
    """The pairs of one kind of module (`q_proj`): in how many layers it stands (modules, where it
    is outside the layers), how many pairs it has there, all slots and steps included.
    """

    layers: int
    pairs: int
    mse: Spread


def recorded_statistics(record: Record | None) -> SideStatistics | None:
    """The statistics that a capture holds of a record, in place of values or beside them."""
    found = None if record is None else record.stats
    if not found or "mean" not in found:
        return None

    from ..measuring.recorded_statistics import real_number, whole_number

    low, high, mean, std, l2 = (
        real_number(found.get(name)) for name in ("min", "max", "mean", "std", "l2")
    )
    nan, inf, zeros = (whole_number(found.get(name)) or 0 for name in ("nan", "inf", "zeros"))
    return SideStatistics(low, high, mean, std, l2, nan, inf, zeros)


def component_of(row: Row) -> str:
    """The kind of module: the last part of its path that is a word; a layer is `layer`."""
    parts = [part for part in row.canonical.split(".") if not part.isdecimal()]
    last = parts[-1] if parts else row.canonical
    return "layer" if last == "layers" else last


def spread(comparison: Comparison, metric: str, rows: Sequence[Row] | None = None) -> Spread:
    """The spread of one metric over all pairs, those without a number counted in `total`; over
    those of `rows` where they are given.
    """
    return _spread(comparison, comparison.rows if rows is None else rows, metric)


def components(comparison: Comparison, rows: Sequence[Row] | None = None) -> dict[str, Component]:
    """Statistics by component, in the order in which components first appear; `rows` as above."""
    groups: dict[str, list[Row]] = {}
    for row in comparison.rows if rows is None else rows:
        if row.kind == "pair":
            groups.setdefault(component_of(row), []).append(row)
    return {
        name: Component(
            len({row.canonical for row in rows}), len(rows), _spread(comparison, rows, "mse")
        )
        for name, rows in groups.items()
    }


def _spread(comparison: Comparison, rows: Sequence[Row], metric: str) -> Spread:
    values: list[float] = []
    total = 0
    for row in rows:
        if row.kind != "pair":
            continue
        total += 1
        result = comparison.measurements[row.index]
        value = result.metric(metric) if isinstance(result, Measurement) else None
        # A pair with NaN or Inf on one side has an error that no finite number tells.
        clean = isinstance(result, Measurement) and not result.nonfinite_mismatch
        if value is not None and clean and math.isfinite(value):
            values.append(value)
    if not values:
        return Spread(None, None, None, None, 0, total)
    return Spread(min(values), max(values), fmean(values), median(values), len(values), total)
