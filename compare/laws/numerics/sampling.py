"""Which rows of a large tensor laws are evaluated on."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ....capture.values import Array

MOST_ROWS = 64  # 64 rows tell a factor of 1 % in bfloat16 from rounding; more cost more products
LEAST_ROWS = 16  # of the widest records, too: the tests by channel need some
_PRODUCTS = 1 << 28  # rows times width squared: wide rows cost more, and tell as much with fewer
_FEW = 4096  # rows among which no place is taken twice
_ENDS = 8  # rows at the start and the end: first tokens are special, last ones are what is used


def most_rows(width: int) -> int:
    """How many rows of this many channels are taken."""
    return max(LEAST_ROWS, min(MOST_ROWS, _PRODUCTS // max(1, width * width)))


def sample_rows(count: int, wanted: Iterable[int] = (), most: int = MOST_ROWS) -> Array:
    """Flat row numbers in order: all of few, else the ends, `wanted` ones, and others evenly
    spread.
    """
    if count <= most:
        return np.arange(count)
    ends = min(_ENDS, most // 4)
    chosen = {row for row in wanted if 0 <= row < count}
    chosen.update(range(min(ends, count)))
    chosen.update(range(count - ends, count))
    rest = most - len(chosen)
    if rest > 0:
        between = [row for row in range(count) if row not in chosen] if count <= _FEW else None
        places = np.linspace(0, (count if between is None else len(between)) - 1, rest)
        chosen.update(int(p) if between is None else between[int(p)] for p in places)
    return np.array(sorted(chosen))
