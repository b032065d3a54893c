"""Further lines of the trend: layers run alone on the reference's inputs, and other captures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from ...compare.measuring.metrics import METRICS
from ...compare.model import Measurement

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from ...compare.comparison import Comparison
    from ...compare.judging.noise.floor import Floor

LineName = Literal["alone", "baseline", "exact"]
LINE_WORDS: dict[LineName, str] = {
    "alone": "layer alone", "baseline": "baseline", "exact": "against exact",
}  # fmt: skip


@dataclass(frozen=True)
class FurtherLine:
    """An error for each place of the trend, in its metric; NaN where there is none."""

    name: LineName
    errors: tuple[float, ...]

    @cached_property
    def sizes(self) -> NDArray[np.float64]:
        """The errors as an array."""
        import numpy as np

        return np.array(self.errors, np.float64)

    @cached_property
    def count(self) -> int:
        """Places that have one."""
        return sum(not math.isnan(error) for error in self.errors)


def further_lines(
    comparison: Comparison, metric: str, rows: Sequence[int], alone: Mapping[int, Measurement]
) -> tuple[FurtherLine, ...]:
    """Those of which anything is known: `alone` are the errors of rerun layers by row; what further
    captures differ by is known in relative L2, from a sample, and drawn in metrics that follow from
    it.
    """
    floors = comparison.evidence.floors

    def of_floor(pick: Callable[[Floor], float | None]) -> tuple[float, ...]:
        return tuple(
            _in_metric(comparison, metric, row, pick(floors[row])) if row in floors else math.nan
            for row in rows
        )

    lines = (
        FurtherLine("alone", tuple(_error(metric, alone.get(row)) for row in rows)),
        FurtherLine("baseline", of_floor(lambda f: f.baseline.floor if f.baseline else None)),
        FurtherLine("exact", of_floor(lambda f: f.exact.floor if f.exact else None)),
    )
    return tuple(line for line in lines if line.count)


def _error(metric: str, found: Measurement | None) -> float:
    if found is None:
        return math.nan
    if found.nonfinite_mismatch:
        return math.inf
    value = found.metric(metric)
    return math.nan if value is None else METRICS[metric].error(value)


def _in_metric(comparison: Comparison, metric: str, row: int, relative: float | None) -> float:
    """A relative L2 of a row's reference in another metric; NaN in those that it does not give."""
    found = comparison.measurements[row]
    if relative is None or not isinstance(found, Measurement):
        return math.nan
    if metric == "relative_l2":
        return relative
    if metric == "nmse":
        return relative**2
    size = None if found.reference is None else found.reference.l2
    if metric != "mse" or size is None or not found.count:
        return math.nan
    return relative**2 * size**2 / found.count
