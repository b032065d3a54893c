"""What a folded line says of the rows on it: the worst of them, and nothing that would hide one."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ....capture.plurals import counted
from ....compare.model import Measurement
from ....compare.reports.law_words import short_module
from ....compare.vocabulary import FAILING, LEVELS, Level
from ...present.laws import breaks_law
from ...theme import LOOKS, ORIGIN_WORDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ....compare.comparison import Comparison
    from ....compare.vocabulary import Origin
    from .levels import Levels
    from .list_lines import Kind

# From harmless to worst. What is not measured yet may turn out worse than what has passed.
_PASSED: tuple[Level, ...] = ("missing", "identical", "ok", "noise")
FOLD_ORDER: tuple[Level, ...] = (
    *_PASSED, "pending", *(level for level in LEVELS if level not in (*_PASSED, "pending")),
)  # fmt: skip
RANK: dict[Level, int] = {level: rank for rank, level in enumerate(FOLD_ORDER)}
# Levels that a folded line counts beside its badge, worst first.
_COUNTED: tuple[Level, ...] = (
    *(level for level in reversed(FOLD_ORDER) if level not in _PASSED), "missing",
)  # fmt: skip


@dataclass(frozen=True)
class FoldSummary:
    """`level` is the worst of all rows, `origin` says whether any error was made there, `worst` is
    the row whose number the badge shows. `row` is what the line stands for: the first row whose
    error was made there, else the worst. `breaking` is the first row that breaks its law, None
    where none does.
    """

    kind: Kind
    name: str
    rows: int
    level: Level
    origin: Origin | None
    worst: int
    row: int
    breaking: int | None
    levels: tuple[Level, ...]  # of all rows, in order
    counts: tuple[tuple[Level, int], ...]  # of those that did not pass, worst first
    has_first: bool  # the first divergence is among the rows
    made: int  # rows whose error was made there

    @property
    def words(self) -> str:
        """`L3: 30 rows folded: 4 DIVERGED, 1 of them introduced, 2 gaps, 24 passed`."""
        known = dict(self.counts)
        parts: list[str] = []
        for level, count in self.counts:
            if level != "missing":
                parts.append(f"{count} {LOOKS[level].word or 'not measured yet'}")
                if level == self._last_failing:
                    parts[-1] += self._origin_words
        parts += [counted(known["missing"], "gap")] if "missing" in known else []
        passed = self.rows - sum(known.values())
        parts += [f"{passed} passed"] if passed else []
        return f"{self.name}: {counted(self.rows, 'row')} folded: {', '.join(parts)}"

    @property
    def _last_failing(self) -> Level | None:
        return next((level for level, _ in reversed(self.counts) if level in FAILING), None)

    @property
    def _origin_words(self) -> str:
        """Where the errors of the rows that fail come from; of those that differ in that, how many
        were made there.
        """
        if self.origin is None:
            return ""
        failing = sum(count for level, count in self.counts if level in FAILING)
        some = self.origin == "made" and self.made < failing
        return f", {self.made} of them introduced" if some else f" {ORIGIN_WORDS[self.origin]}"


def summary_of(
    comparison: Comparison, levels: Levels, kind: Kind, members: Sequence[int]
) -> FoldSummary:
    """What the folded line of `members` says. Never empty: at least two rows are on such a line."""
    verdicts = comparison.verdicts
    found: tuple[Level, ...] = tuple(verdicts[row].level for row in members)
    level: Level = max(found, key=RANK.__getitem__)
    made = [row for row in members if verdicts[row].fails and verdicts[row].origin == "made"]
    failing = [row for row in members if verdicts[row].fails]
    worst = _worst(comparison, [row for row, each in zip(members, found, strict=True)
                                if each == level])  # fmt: skip
    origin: Origin | None = "made" if made else None
    if failing and not made:
        origin = verdicts[failing[0]].origin
    count = Counter(found)
    return FoldSummary(
        kind, _name(levels, kind, members), len(members), level, origin, worst,
        made[0] if made else worst,
        next((row for row in members if breaks_law(comparison, row)), None), found,
        tuple((each, count[each]) for each in _COUNTED if count[each]),
        comparison.first_index in members, len(made),
    )  # fmt: skip


def _worst(comparison: Comparison, rows: Sequence[int]) -> int:
    """Of rows of one level the one that shows it best: the first of those that fail, else the one
    with the greatest error.
    """
    if comparison.verdicts[rows[0]].level in FAILING:
        return rows[0]

    def error(row: int) -> float:
        result = comparison.measurements[row]
        return (result.relative_l2 or 0.0) if isinstance(result, Measurement) else 0.0

    return max(rows, key=error)


def _name(levels: Levels, kind: Kind, members: Sequence[int]) -> str:
    """`L3`, `L3 self_attn`, with the step where there are several; `only in reference`."""
    first = members[0]
    if kind == "gaps":
        return f"only in {'reference' if levels.gap[first] == 1 else 'candidate'}"
    if kind == "layer":
        group = levels.layers[levels.layer[first]]
    else:
        group = levels.modules[levels.module[first]]
    step = f"s{group.step} " if levels.stepped else ""
    return step + short_module(group.name)


def pooled(levels: Sequence[Level], width: int) -> list[Level]:
    """One level for each cell of a strip that is at most `width` wide: the worst of its slice."""
    if len(levels) <= width:
        return list(levels)
    edges = [cell * len(levels) // width for cell in range(width + 1)]
    return [
        max(levels[start:end], key=RANK.__getitem__) for start, end in itertools.pairwise(edges)
    ]


def label_forms(summary: FoldSummary, marks: Sequence[str]) -> tuple[str, ...]:
    """How a line names its rows, the longest form first. `marks` are the counts of what did not
    pass, worst first: the last form has them still.
    """
    told = " ".join(marks)
    if summary.kind == "gaps":
        return (f"{summary.rows} {summary.name}",)
    rows = counted(summary.rows, "row")
    return (
        f"{summary.name}  {rows}  {told}".rstrip(), f"{summary.name}  {rows} {told}".rstrip(),
        f"{summary.name} {summary.rows} {told}".rstrip(), f"{summary.name} {told}".rstrip(),
    )  # fmt: skip
