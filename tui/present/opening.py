"""Which row the list opens on, once everything is judged.

Nothing here reads a record or works out an analysis: what is not known yet is not asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...compare.model import Measurement
from ...compare.reports.law_words import worst_row
from ...compare.vocabulary import LEVELS
from .origin import first_known

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...compare.comparison import Comparison
    from ...compare.model import Row

_RANK = {level: rank for rank, level in enumerate(LEVELS)}
_MOST_OF_ONE = 64  # rows that one module may have: no layer has as many inputs
_NOT_HEALTHY = _RANK["drift"]  # from here on the level alone says which rows are the worst


def is_judged(comparison: Comparison) -> bool:
    """Whether every pair is measured and judged; the laws may still be tried."""
    return comparison.complete and (comparison.analysed or not comparison.judges_by_laws)


def single_pair(rows: Sequence[Row]) -> int | None:
    """The row of the only pair of outputs, where all others are inputs of the same module: there
    is nothing to choose from. None where there is.
    """
    if len(rows) > _MOST_OF_ONE:
        return None
    pairs = [row for row in rows if row.kind == "pair" and row.role != "input"]
    if len(pairs) != 1:
        return None
    (pair,) = pairs
    others = (row for row in rows if row is not pair)
    own = all(row.role == "input" and row.canonical == pair.canonical for row in others)
    return pair.index if own else None


def opening_row(comparison: Comparison) -> int | None:
    """The first divergence; where nothing diverges the worst row: the first of those that cannot be
    read or drift, else the layer that the answer names, else the pair with the greatest relative
    L2. None where no row is worse than another.
    """
    first = first_known(comparison)
    if first is not None:
        return first.index
    ranks = [_RANK[verdict.level] for verdict in comparison.verdicts]
    worst = max(ranks, default=0)
    if worst >= _NOT_HEALTHY:
        return ranks.index(worst)
    found = worst_row(comparison)
    return _greatest_error(comparison) if found is None else found[1].row


def _greatest_error(comparison: Comparison) -> int | None:
    """The pair with the greatest relative L2, but for those that are the same values in another
    order; None where both sides are equal everywhere.
    """
    greatest, at = 0.0, None
    for index, found in enumerate(comparison.measurements):
        error = found.relative_l2 if isinstance(found, Measurement) else None
        if error and error > greatest and not comparison.verdicts[index].permuted:
            greatest, at = error, index
    return at
