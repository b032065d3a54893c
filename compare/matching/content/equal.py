"""Reading two records through their recipes, to see whether they are equal."""

from __future__ import annotations

import numpy as np

from ....capture.records import Record
from ....capture.values import Array
from ...measuring.bounded_sample import UNREADABLE, read_sample
from ...measuring.pair_reader import PairTask, SideTask
from ...recipes.recipe import Recipe

FINE, COARSE = (
    0.02,
    0.12,
)  # relative L2 up to which values are equal: float32; bfloat16 and the like
MARGIN = 0.4  # the next best must be so much farther away: the distance is at most this share of it
MOST = 1 << 14  # elements that are read of either side
_WIDEST = 6.0  # times the usual size: larger values count as this


def limit_of(*coarse: bool) -> float:
    """The distance up to which records are equal; `coarse` for each side."""
    return COARSE if any(coarse) else FINE


def distance(reference: Array, candidate: Array) -> float:
    """Relative L2 of two flat arrays, their largest values turned down; infinite where one of them
    has nothing in it.
    """
    x, y = _tamed(reference), _tamed(candidate)
    longer = max(float(x @ x), float(y @ y))
    if not longer > 0:
        return float("inf")
    return (float((x - y) @ (x - y)) / longer) ** 0.5


def _tamed(values: Array) -> Array:
    values = np.where(np.isfinite(values), values, 0).astype(np.float64).reshape(-1)
    size = np.abs(values)
    some = size[size > 0]
    usual = float(np.median(some)) if some.size else 0.0
    return np.clip(values, -_WIDEST * usual, _WIDEST * usual)


def distance_through(
    reference: Record, candidate: Record, recipes: tuple[Recipe, Recipe]
) -> float:  # fmt: skip
    """The distance of two records in a view; infinite where they cannot be read in it."""
    assert reference.locator is not None and candidate.locator is not None
    task = PairTask(
        SideTask(reference.locator, reference.dtype or "", str(recipes[0])),
        SideTask(candidate.locator, candidate.dtype or "", str(recipes[1])),
    )
    try:
        sample = read_sample(task, most=MOST)
    except UNREADABLE:
        return float("inf")
    return distance(sample.x, sample.y)
