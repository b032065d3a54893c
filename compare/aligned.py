"""Two captures, aligned: the rows that are compared, and what is measured of them so far.

`Aligned` never changes. Results arrive beside it, in `Results`; whoever reads tensors, judges or
reports takes these two.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from .matching.content.found import Content
from .model import ExecutionOrder, Measured, Result, Row

if TYPE_CHECKING:
    from ..capture.records import Capture, Locator, Record
    from .matching.names.reading import Names
    from .measuring.pair_reader import PairTask, SideTask
    from .measuring.recorded_statistics import RecordedSide, StatisticsTask
    from .rules.rules import Rules

SideName = Literal["reference", "candidate"]


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence about one of the two captures."""

    side: SideName
    text: str


@dataclass(frozen=True, slots=True)
class Aligned:
    """Two captures (headers read) and their rows in execution order.

    `ignored_reference` and `ignored_candidate` are records that the rules leave out, `order` says
    how the two sides' orders compare, `notes` what aligning found out. `rtol` and `atol` are the
    tolerance of `mismatched` (None: by dtype); `ulp` asks for that metric, which costs another
    pass. `names` is what both sides' names were taken for.
    """

    reference: Capture
    candidate: Capture
    rules: Rules
    rows: tuple[Row, ...]
    order: ExecutionOrder
    ignored_reference: tuple[Record, ...] = ()
    ignored_candidate: tuple[Record, ...] = ()
    notes: tuple[Note, ...] = ()
    content: Content = field(default_factory=Content)
    rtol: float | None = field(default=None, kw_only=True)
    atol: float | None = field(default=None, kw_only=True)
    ulp: bool = field(default=False, kw_only=True)
    names: Names | None = field(default=None, kw_only=True, repr=False, compare=False)

    def places(self) -> tuple[dict[int, int], dict[int, int]]:
        """The place of every record in its capture, by the record's `id`, of either side."""
        ours, theirs = (
            {id(record): place for place, record in enumerate(capture.records)}
            for capture in (self.reference, self.candidate)
        )
        return ours, theirs

    def measurable(self, index: int) -> bool:
        """True for a pair whose values can be compared."""
        return self._comparable(index) and self.has_values(self.rows[index])

    def has_values(self, row: Row) -> bool:
        """True for a row, or one on trial, whose records all have values."""
        records = (record for record in (row.reference, row.candidate) if record is not None)
        return all(record.locator is not None for record in records)

    def by_statistics(self, index: int) -> bool:
        """True for a pair of which a side has statistics only, which can be compared by those."""
        return self._comparable(index) and not self.measurable(index)

    def _comparable(self, index: int) -> bool:
        row = self.rows[index]
        return row.kind == "pair" and row.problem_level is None

    def statistics_task(self, row: Row) -> StatisticsTask:
        """What an executor needs to compare a pair by its statistics."""
        from .measuring.recorded_statistics import StatisticsTask

        assert row.reference is not None and row.candidate is not None
        return StatisticsTask(
            _recorded_side(row.reference, row.recipe_reference, self.reference.records),
            _recorded_side(row.candidate, row.recipe_candidate, self.candidate.records),
        )

    def task(self, index: int) -> PairTask:
        """What an executor needs to measure the pair on row `index`, which must be measurable.

        Raises `RecipeError` where a recipe names records that are not there.
        """
        from .matching.names.roles import is_scores
        from .measuring.masks import is_mask_name
        from .measuring.pair_reader import PairTask

        row = self.rows[index]
        assert row.reference is not None and row.candidate is not None
        return PairTask(
            side_task(row.reference, row.recipe_reference, self.reference.records),
            side_task(row.candidate, row.recipe_candidate, self.candidate.records),
            self.rtol, self.atol, self.ulp,
            is_mask_name(row.canonical, row.slot) or is_scores(row.canonical),
        )  # fmt: skip


def side_task(record: Record, recipe: str, records: Iterable[Record]) -> SideTask:
    """One side of a task; `records` are those of its capture, for what a recipe takes in."""
    from .measuring.pair_reader import SideTask
    from .recipes.parse import parse_recipe

    assert record.locator is not None and record.dtype is not None
    others: tuple[tuple[str, Locator], ...] = ()
    if "concat" in recipe or "add" in recipe:
        wanted = set(parse_recipe(recipe).others)
        others = tuple(
            (r.name, r.locator)
            for r in records
            if r.name in wanted and r.step == record.step and r.locator is not None
        )
    return SideTask(record.locator, record.dtype, recipe, others, _total(record, recipe))


def _total(record: Record, recipe: str) -> float | None:
    """The sum of all elements that is recorded beside some of them, where the view has all."""
    total = (record.stats or {}).get("sum") if record.partial is not None else None
    if not isinstance(total, float):
        return None
    from .measuring.recorded_statistics import keeps_all

    return total if keeps_all(recipe) else None


def _recorded_side(record: Record, recipe: str, records: Iterable[Record]) -> RecordedSide:
    from .measuring.recorded_statistics import RecordedSide

    values = None if record.locator is None else side_task(record, recipe, records)
    return RecordedSide(record.shape, record.dtype or "", recipe, record.stats, values)


class Results:
    """Results by row: None for gaps and for pairs that are not measured yet. `known` are those that
    there are already.
    """

    def __init__(self, aligned: Aligned, known: Sequence[Result] | None = None) -> None:
        self.measurements: list[Result] = list(known or [None] * len(aligned.rows))
        wanted = [
            index for index in range(len(aligned.rows))
            if aligned.measurable(index) or aligned.by_statistics(index)
        ]  # fmt: skip
        self.to_measure = len(wanted)
        self._waiting = {index for index in wanted if self.measurements[index] is None}

    def take(self, index: int, result: Measured) -> None:
        """Store the result of a row."""
        self.measurements[index] = result
        self._waiting.discard(index)

    @property
    def measured(self) -> int:
        """Pairs measured so far, failures included."""
        return sum(1 for result in self.measurements if result is not None)

    @property
    def complete(self) -> bool:
        """True when there is nothing left to measure."""
        return not self._waiting

    def pending(self) -> list[int]:
        """Rows that can be measured and are not, in execution order."""
        return sorted(self._waiting)
