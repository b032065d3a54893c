"""What the trend shows: the error of every paired output, in execution order, and of inputs whose
error was made among them.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING, Literal

from .cells import error_of, is_made, is_output
from .further_lines import FurtherLine, further_lines

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from ...compare.comparison import Comparison
    from ...compare.model import Measurement

Part = Literal["attention", "mlp", "norm", "layer", "other"]
PARTS: tuple[Part, ...] = ("attention", "mlp", "norm", "layer", "other")
_SIGNS: dict[Part, tuple[str, ...]] = {
    "attention": ("attn", "attention"), "mlp": ("mlp", "ffn", "feed_forward", "expert", "moe"),
}  # fmt: skip


@dataclass(frozen=True)
class Trend:
    """Of what is on the line the numbers of its `rows`, rising; their `errors` in `metric` (NaN
    where there is none, infinite with NaN or Inf on one side only); the part of the model that
    they belong to. `made` are places of those whose error was introduced there, `failing` of
    those that fail. `further` are lines over the same rows.
    """

    metric: str
    rows: tuple[int, ...]
    errors: tuple[float, ...]
    parts: tuple[Part, ...]
    made: tuple[int, ...]
    failing: tuple[int, ...]
    further: tuple[FurtherLine, ...] = ()

    def ready(self) -> Trend:
        """The same, with what goes through all errors worked out: for a thread of its own."""
        for name in ("sizes", "part_numbers", "greatest", "middle", "decades"):
            getattr(self, name)
        for line in self.further:
            _ = line.sizes
        return self

    def place_of(self, row: int) -> int:
        """The place of a row, or of the next that is on the line."""
        return max(0, min(bisect_left(self.rows, row), len(self.rows) - 1))

    def next_of(self, place: int, direction: int, places: tuple[int, ...]) -> int | None:
        """The next of the rising `places` in a direction; None where there is none."""
        after = [each for each in places if direction * (each - place) > 0]
        return (after[0] if direction > 0 else after[-1]) if after else None

    @cached_property
    def sizes(self) -> NDArray[np.float64]:
        """The errors as an array."""
        import numpy as np

        return np.array(self.errors, np.float64)

    @cached_property
    def part_numbers(self) -> NDArray[np.int64]:
        """The places of the parts in `PARTS`."""
        import numpy as np

        numbers = {part: number for number, part in enumerate(PARTS)}
        return np.array([numbers[part] for part in self.parts], np.int64)

    @cached_property
    def known(self) -> list[float]:
        """Errors that are numbers."""
        return [error for error in self.errors if math.isfinite(error)]

    @cached_property
    def greatest(self) -> int | None:
        """The place of the greatest error that is a number."""
        places = [at for at, error in enumerate(self.errors) if math.isfinite(error)]
        return max(places, key=lambda at: self.errors[at], default=None)

    @cached_property
    def middle(self) -> float | None:
        """The median error."""
        known = self.known
        return median(known) if known else None

    @cached_property
    def decades(self) -> tuple[int, int]:
        """Whole powers of ten that hold all errors above 0."""
        further = [error for line in self.further for error in line.errors if error < math.inf]
        sizes = [math.log10(error) for error in (*self.known, *further) if error > 0]
        if not sizes:
            return -1, 0
        low, high = math.floor(min(sizes)), math.ceil(max(sizes))
        return low, max(high, low + 1)


def trend_of(
    comparison: Comparison, metric: str, alone: Mapping[int, Measurement] | None = None
) -> Trend:
    """The line of what is known now, and further ones; `alone` are the errors of layers that were
    rerun, by row. Goes through all rows.
    """
    rows, errors, parts, made, failing = [], [], [], [], []
    for row in comparison.rows:
        introduced = is_made(comparison, row)
        if row.kind != "pair" or not (is_output(row) or introduced):
            continue
        error = error_of(comparison, metric, row.index)
        if comparison.verdicts[row.index].fails:
            failing.append(len(rows))
        if introduced:
            made.append(len(rows))
        rows.append(row.index)
        errors.append(math.nan if error is None else error)
        parts.append(part_of(row.canonical))
    further = further_lines(comparison, metric, rows, alone or {})
    return Trend(metric, *map(tuple, (rows, errors, parts, made, failing)), further=further)


def part_of(canonical: str) -> Part:
    """Which part of the model a module belongs to, by its name."""
    last = canonical.rpartition(".")[2]
    if "norm" in last or last.startswith("ln_"):
        return "norm"
    for part, signs in _SIGNS.items():
        if any(sign in canonical for sign in signs):
            return part
    return "layer" if last.isdecimal() else "other"
