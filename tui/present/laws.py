"""What the laws say of a row, in the words of the screens.

Nothing here reads a record: what is not worked out yet is not said.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...compare.reports.law_words import law_lines
from .field import Field

if TYPE_CHECKING:
    from ...compare.comparison import Comparison

NO_LAWS_YET = "the layers are not checked against their laws yet; Ctrl-R on the list does that"


def local_text(comparison: Comparison, index: int) -> str:
    """`1.1x`, for the column: the candidate's local error over what is usual; `?` where the
    reference does not keep to the law, nothing where no law applies.
    """
    row = comparison.law_row(index)
    if row is not None and row.state == "unknown":
        return "?"
    local = comparison.locals.get(index) if row is None else row.local
    return "" if local is None else times_text(local.candidate, local.usual_candidate)


def times_text(error: float, usual: float) -> str:
    """`1.1x`: at most seven cells; nothing where the usual error is not known yet."""
    if math.isnan(error):
        return "nan"
    if error == 0:
        return "0x"
    if usual <= 0:
        return ""
    times = error / usual
    if math.isinf(times):
        return "inf"
    if times >= 1000:
        return f"{times:.0e}x"
    return f"{times:.0f}x" if times >= 100 else f"{times:.1f}x"


def breaks_law(comparison: Comparison, index: int) -> bool:
    """Whether the candidate does not satisfy the row's law."""
    row = comparison.law_row(index)
    return row is not None and row.state == "breaks"


def law_fields(comparison: Comparison, index: int) -> list[Field]:
    """The law of a row, its causes, both sides' local errors, and what they are held against."""
    row = comparison.law_row(index)
    if row is None:
        return []
    lines = law_lines(row)
    return [Field(label, words, "diverged" if bad else None) for label, words, bad in lines]
