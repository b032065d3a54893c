"""What the list needs of all rows, made beside the screen: rows by mode, levels, and modules that
the screen would import when rows appear. For 10,000 rows it takes longer than a key may.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from ...present.short_names import ShortNames, short_names
from ..row_model import Mode, in_mode
from .levels import Levels, levels_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ....capture.records import Capture
    from ....compare.comparison import Comparison
    from ....compare.model import Row

# What is imported for the first rows, the first answer and the first detail pane.
_NEEDED = ("list.folds.folding", "list.folds.fold_summary", "present.answer", "present.row_fields",
           "present.origin", "present.opening", "present.laws")  # fmt: skip
SOME: tuple[Mode, ...] = ("outputs", "inputs")  # modes that leave out rows


@dataclass(frozen=True)
class Prepared:
    """Of all rows: their levels, and the numbers of those each mode shows; how names are shown."""

    rows: tuple[Row, ...]
    levels: Levels
    by_mode: Mapping[Mode, Sequence[int]]
    short: tuple[ShortNames, ShortNames]


class Prepare:
    """Makes what goes through all records or rows, for the thread of a job (see `Preparing`)."""

    def __init__(self) -> None:
        self._short: Sequence[ShortNames] = ()  # of the captures as they were listed

    def names(self, reference: Capture, candidate: Capture) -> tuple[ShortNames, ShortNames]:
        """How names are shown."""
        self._short = short = ShortNames(reference), ShortNames(candidate)
        return short

    def rows(self, comparison: Comparison) -> Prepared:
        """What the list needs of aligned rows."""
        for name in _NEEDED:
            import_module(f"....{name}", __name__)
        rows = comparison.rows
        by_mode: dict[Mode, Sequence[int]] = {}
        for mode in SOME:
            by_mode[mode] = [row.index for row in rows if in_mode(row, mode)]
        sides = comparison.reference, comparison.candidate
        short = short_names(sides[0], self._short), short_names(sides[1], self._short)
        return Prepared(rows, levels_of(rows), by_mode, short)
