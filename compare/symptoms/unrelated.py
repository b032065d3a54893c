"""Outputs that have nothing of the reference's although their inputs agree: other weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..limits import CORRELATION_ERRORS, FEWEST_FITTED, LEAST_CORRELATION, MOST_CORRELATION
from ..matching.names.roles import is_projection, role_of
from ..model import Symptom

if TYPE_CHECKING:
    from ...capture.values import Array
    from ..judging.row_facts import Facts
    from ..model import Row
    from .fit import Pair

_ALIKE = 1.25  # times: standard deviations within it may be those of other rows of one table


def other_weights(row: Row, facts: Facts, pair: Pair) -> Symptom | None:
    """The symptom of an embedding or a projection whose inputs agree, as far as they are recorded,
    and whose output is correlated with the reference's neither as a whole nor in any row.

    It explains no share of the error: what the weights should be is not known.
    """
    record = row.reference or row.candidate
    role = role_of(row.canonical, None if record is None else record.module_class)
    if row.role != "output" or not (role == "embedding" or is_projection(role)):
        return None
    if not facts.sources or facts.stand_in or facts.inherited > facts.ok:
        return None
    if pair.x.size < FEWEST_FITTED:
        return None
    whole, greatest = correlations(pair.x, pair.y)
    rows, channels = pair.x.shape
    if not (nothing_in_common(whole, rows * channels, 1)
            and nothing_in_common(greatest, channels, rows)):  # fmt: skip
        return None
    theirs, ours = float(pair.y.std()), float(pair.x.std())
    sizes = f"standard deviation {theirs:.3g}, the reference's {ours:.3g}"
    return Symptom("other-weights", 0.0, f"{_words(role, greatest, ours, theirs)}; {sizes}")


def _words(role: str, greatest: float, ours: float, theirs: float) -> str:
    alike = f"no row is like the reference's (correlation at most {greatest:.2f})"
    which = "the weights are others, or in another order"
    if role == "embedding":
        of_one_table = ours > 0 and 1 / _ALIKE <= theirs / ours <= _ALIKE
        which = "the table is another" + (", or the rows are of other ids" if of_one_table else "")
    return f"the inputs agree, {alike}: {which}"


def correlations(x: Array, y: Array) -> tuple[float, float]:
    """Pearson's correlation of two arrays `[rows, channels]` as a whole, and the greatest of their
    rows in size; 0 where one of them does not vary.
    """
    with np.errstate(all="ignore"):
        rows = np.nan_to_num(_correlation(x, y, 1))
        whole = np.nan_to_num(_correlation(x.reshape(1, -1), y.reshape(1, -1), 1))
    return float(whole[0]), float(np.abs(rows).max())


def _correlation(x: Array, y: Array, axis: int) -> Array:
    x, y = (v - v.mean(axis, keepdims=True) for v in (x, y))
    return (x * y).sum(axis) / np.sqrt((x * x).sum(axis) * (y * y).sum(axis))


def nothing_in_common(correlation: float, count: int, tries: int) -> bool:
    """Whether a correlation of `count` values, the greatest of so many `tries`, is no more than
    chance makes. Those of independent values have a standard error of 1 / sqrt(count).
    """
    chance = (math.sqrt(2 * math.log(2 * tries)) + CORRELATION_ERRORS) / count**0.5
    return abs(correlation) <= min(max(chance, LEAST_CORRELATION), MOST_CORRELATION)
