"""Which rows of a large tensor laws are evaluated on."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ...capture.arrays import Array

MOST_ROWS = 64  # 64 rows tell a factor of 1 % in bfloat16 from rounding; more cost more products
_ENDS = 8  # rows at the start and the end: first tokens are special, last ones are what is used


def sample_rows(count: int, wanted: Iterable[int] = (), most: int = MOST_ROWS) -> Array:
    """Flat row numbers in order: all of few, else the ends, `wanted` ones, and others evenly
    spread.
    """
    if count <= most:
        return np.arange(count)
    chosen = {row for row in wanted if 0 <= row < count}
    chosen.update(range(min(_ENDS, count)))
    chosen.update(range(count - _ENDS, count))
    rest = most - len(chosen)
    if rest > 0:
        chosen.update(int(row) for row in np.linspace(0, count - 1, rest))
    return np.array(sorted(chosen))
