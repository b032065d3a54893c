"""What each kind of module adds to the error that it inherits, over all layers."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from ..matching.names.roles import is_parameter
from ..vocabulary import LEVELS, NOT_PASSED, Level
from .summary import component_of

if TYPE_CHECKING:
    from ..comparison import Comparison
    from ..judging.row_facts import Facts
    from ..model import Row

_WITHOUT_NUMBERS: frozenset[Level] = frozenset({"nan", "shape", "unreadable"})
_TOLD: tuple[Level, ...] = tuple(
    level for level in reversed(LEVELS) if level in (*NOT_PASSED, "drift", "missing")
)


@dataclass(frozen=True, slots=True)
class ComponentGrowth:
    """The outputs of one kind of module, or (`name` ends in ` input`) its inputs, where an error
    was made among them. `median` and `worst` are errors relative to what the record was made from,
    or to rounding where that is more (1: nothing is added; Inf: there was no error before, or NaN
    or Inf first appear, or nothing can be compared any more); None where no pair has numbers.
    `worst_row` is the row of the worst, `rows` how many records there are, `told` how many of them
    did not pass, worst first: those that have no numbers are among them. `doubtful` pairs are not
    of one quantity and count for nothing.
    """

    name: str
    rows: int
    median: float | None
    worst: float | None
    worst_row: int | None
    told: tuple[tuple[Level, int], ...]
    doubtful: int = 0

    @property
    def level(self) -> Level | None:
        """The worst verdict of all; None where everything passed."""
        return self.told[0][0] if self.told else None


def growth_by_component(comparison: Comparison) -> list[ComponentGrowth]:
    """One entry for each kind of module, the one with the greatest growth first, those without
    numbers last. Needs all pairs measured; reads no record.
    """
    facts, verdicts = comparison.analysis().facts, comparison.verdicts
    groups: dict[str, list[Row]] = {}
    for row in comparison.rows:
        if row.role == "input" or _is_output(row):
            name = component_of(row) + (" input" if row.role == "input" else "")
            groups.setdefault(name, []).append(row)
    groups = {
        name: rows for name, rows in groups.items()
        if rows[0].role != "input" or any(verdicts[row.index].origin == "made" for row in rows)
    }  # fmt: skip
    found = [_growth(comparison, facts, name, rows) for name, rows in groups.items()]
    return sorted(found, key=lambda each: -1.0 if each.worst is None else each.worst, reverse=True)


def _is_output(row: Row) -> bool:
    """Whether a module makes it, going forward: captures of one tensor a module call it a value, as
    they do weights.
    """
    return row.role == "output" or (row.role == "value" and not is_parameter(row.canonical))


def _growth(
    comparison: Comparison, facts: dict[int, Facts], name: str, rows: list[Row]
) -> ComponentGrowth:  # fmt: skip
    verdicts = [comparison.verdicts[row.index] for row in rows]
    grown: dict[int, float] = {}
    for row, verdict in zip(rows, verdicts, strict=True):
        if verdict.level in _WITHOUT_NUMBERS:
            if verdict.origin == "made":
                grown[row.index] = math.inf
        elif row.index in facts and not verdict.doubtful:
            grown[row.index] = facts[row.index].amplification
    worst = max(grown, key=grown.__getitem__, default=None)
    levels = Counter(verdict.level for verdict in verdicts)
    return ComponentGrowth(
        name, len(rows), median(grown.values()) if grown else None,
        None if worst is None else grown[worst], worst,
        tuple((level, levels[level]) for level in _TOLD if levels[level]),
        sum(bool(verdict.doubtful) for verdict in verdicts),
    )  # fmt: skip
