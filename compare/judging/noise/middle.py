"""The median of few numbers or many."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

# From so many on numpy looks for it, which lets go of the interpreter's lock meanwhile: sorting
# 100,000 numbers would keep the screen waiting for 50 ms. Of fewer, making an array takes longer.
MANY_NUMBERS = 2048


def middle_of(values: Sequence[float]) -> float:
    """The median, the mean of both in the middle where there are two. Raises `StatisticsError`
    where there are none.
    """
    if len(values) < MANY_NUMBERS:
        return median(values)
    import numpy as np

    half = len(values) // 2
    places = [half] if len(values) % 2 else [half - 1, half]
    found = np.partition(np.array(values, dtype=np.float64), places)
    return sum(float(found[place]) for place in places) / len(places)
