"""What the list shows, without a terminal: lines of text for rows, and which rows are in view.

Two models have the same functions: `NameRows` (both captures' names, before anything is aligned)
and `ComparedRows` (a comparison). Text is made when a row is drawn, not before: 100,000 rows cost
nothing until they are looked at.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol

from ...compare.measuring.metrics import METRICS
from ...compare.vocabulary import Level, Origin
from ..present.short_names import ShortNames, block_of, short_names
from ..present.text import clean, metric_number, number, shape_text
from .finding.searched import Searched

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...capture.records import Capture, Record
    from ...compare.changes.changes import Change
    from ...compare.changes.earlier import RowChanges
    from ...compare.comparison import Comparison
    from ...compare.model import Row
    from .finding.name_index import NameIndex

# Both sides' records and the canonical name: what stays when rows are made anew.
RowKey = tuple[tuple[object, ...] | None, tuple[object, ...] | None, str]
Mode = Literal["outputs", "inputs", "everything"]
_MANY = 1024  # rows that are looked for among others all together, not one by one
_MOST_LINES = 4096  # that are kept: some hundred screens
MODES: tuple[Mode, ...] = ("outputs", "inputs", "everything")
MODE_WORDS: dict[Mode, str] = {
    "outputs": "outputs", "inputs": "with inputs", "everything": "everything",
}  # fmt: skip


@dataclass(frozen=True)
class SideText:
    """One side of a line. `note` is what must not be missed: partial, or why it is unreadable."""

    name: str
    shape: str = ""
    note: str = ""


@dataclass(frozen=True)
class Line:
    """The words of one row; a side is None where there is a gap."""

    number: str
    left: SideText | None
    right: SideText | None


class RowModel(Protocol):
    """What the list widget asks."""

    aligned: bool
    short: tuple[ShortNames, ShortNames]
    changes: RowChanges | None

    def __len__(self) -> int: ...
    def line(self, row: int) -> Line: ...
    def level(self, row: int) -> Level: ...
    def origin(self, row: int) -> Origin | None: ...
    def doubtful(self, row: int) -> bool: ...
    def value(self, row: int, metric: str) -> str: ...
    def heading(self, metric: str) -> str: ...
    def ratio(self, row: int) -> str: ...
    def local(self, row: int) -> str: ...
    def breaks_law(self, row: int) -> bool: ...
    def noted(self, row: int) -> bool: ...
    def names(self) -> NameIndex: ...
    def finds(self, row: int, words: Sequence[str]) -> bool: ...
    def block(self, row: int) -> str: ...


class NameRows(Searched):
    """Both captures' names side by side, not aligned: what can be shown before headers are read."""

    aligned = False
    changes: RowChanges | None = None

    def __init__(
        self, reference: Capture, candidate: Capture, ascii_only: bool = False,
        known: Sequence[ShortNames] = (),
    ) -> None:  # fmt: skip
        self._sides = (reference.records, candidate.records)
        self.short = (short_names(reference, known), short_names(candidate, known))
        self._ascii = ascii_only

    def __len__(self) -> int:
        return max(len(records) for records in self._sides)

    def line(self, row: int) -> Line:
        return Line(str(row), self._side(0, row), self._side(1, row))

    def level(self, row: int) -> Level:
        return "pending"

    def origin(self, row: int) -> Origin | None:
        return None

    def doubtful(self, row: int) -> bool:
        return False

    def value(self, row: int, metric: str) -> str:
        return ""

    def heading(self, metric: str) -> str:
        return METRICS[metric].heading

    def ratio(self, row: int) -> str:
        return ""

    def local(self, row: int) -> str:
        return ""

    def breaks_law(self, row: int) -> bool:
        return False

    noted = breaks_law  # nothing is known yet

    def searched_by(self, row: int) -> str:
        sides = zip(self.short, self._sides, strict=True)
        return " ".join(
            f"{short.short(records[row])} {records[row].name}".lower()
            for short, records in sides
            if row < len(records)
        )

    def block(self, row: int) -> str:
        records = self._sides[0] if row < len(self._sides[0]) else self._sides[1]
        return f"{records[row].step} {block_of(records[row].module)}"

    def key(self, row: int) -> RowKey:
        """What finds the row's record again once rows are aligned: the reference's, if any."""
        records = self._sides[0]
        if row < len(records):
            return (record_key(records[row]), None, "")
        return (None, record_key(self._sides[1][row]), "")

    def _side(self, side: int, row: int) -> SideText | None:
        records = self._sides[side]
        if row >= len(records):
            return None
        return SideText(clean(self.short[side].short(records[row]), self._ascii))


class ComparedRows(Searched):
    """A comparison as lines of text."""

    aligned = True

    def __init__(
        self, comparison: Comparison, ascii_only: bool = False, known: Sequence[ShortNames] = (),
        by_mode: Mapping[Mode, Sequence[int]] | None = None,
    ) -> None:  # fmt: skip
        self.comparison = comparison
        sides = comparison.reference, comparison.candidate
        self.short = (short_names(sides[0], known), short_names(sides[1], known))
        self._ascii = ascii_only
        self._by_mode: dict[Mode, Sequence[int]] = dict(by_mode or {})
        # Not `lru_cache` of methods: such a model refers to itself and holds the whole comparison
        # until the next full collection.
        self._lines: dict[int, Line] = {}
        self.changes: RowChanges | None = None  # since an earlier candidate

    def __len__(self) -> int:
        return len(self.comparison.rows)

    def level(self, row: int) -> Level:
        return self.comparison.verdicts[row].level

    def origin(self, row: int) -> Origin | None:
        """Where the error of a failing row comes from, if its verdict says so."""
        verdict = self.comparison.verdicts[row]
        return verdict.origin if verdict.fails else None

    def doubtful(self, row: int) -> bool:
        """Whether the two records of a pair do not seem to belong together."""
        return bool(self.comparison.verdicts[row].doubtful)

    def ratio(self, row: int) -> str:
        """The error over that of a baseline or of the exact capture; empty where not known."""
        from ..present.origin import ratio_text

        return ratio_text(self.comparison.floors.get(row))

    def local(self, row: int) -> str:
        """The candidate's local error over what is usual; empty where no law applies."""
        from ..present.laws import local_text

        return local_text(self.comparison, row)

    def breaks_law(self, row: int) -> bool:
        """Whether that is more than its law allows."""
        from ..present.laws import breaks_law

        return breaks_law(self.comparison, row)

    def noted(self, row: int) -> bool:
        """Whether somebody wrote a note on the row."""
        return bool(self.comparison.row_notes.text(self.comparison.rows[row]))

    def value(self, row: int, metric: str) -> str:
        """The number for the badge, or a word where numbers mislead; empty where there is none."""
        from ...compare.model import ByStatistics, Measurement

        measured = self.comparison.measurements[row]
        if self.comparison.verdicts[row].permuted:
            return "permuted"  # the numbers are those of the order that is not right
        if self.by_statistics and isinstance(measured, ByStatistics):
            from ...compare.reports.statistics_words import statistics_apart

            return number(statistics_apart(measured))
        if not isinstance(measured, Measurement):
            return ""
        return metric_number(metric, measured.metric(metric))

    @cached_property
    def by_statistics(self) -> bool:
        """Whether no pair has values on both sides: badges then show how far statistics differ."""
        aligned = self.comparison.aligned
        pairs = [row.index for row in aligned.rows if row.kind == "pair"]
        # The first pair answers nearly always.
        return not any(map(aligned.measurable, pairs)) and any(map(aligned.by_statistics, pairs))

    @cached_property
    def has_inputs(self) -> bool:
        """Whether there are rows that only some modes show."""
        return len(self.in_mode("outputs")) < len(self)

    def in_mode(self, mode: Mode) -> Sequence[int]:
        """The rows that a mode shows, in order."""
        if mode not in self._by_mode:
            rows = self.comparison.rows
            self._by_mode[mode] = [row.index for row in rows if in_mode(row, mode)]
        return self._by_mode[mode]

    def heading(self, metric: str) -> str:
        """What the badges show."""
        from ...compare.reports.statistics_words import HEADING

        return HEADING if self.by_statistics else METRICS[metric].heading

    def block(self, row: int) -> str:
        found = self.comparison.rows[row]
        return f"{found.step} {block_of(found.canonical)}"

    def line(self, row: int) -> Line:
        if row not in self._lines:
            if len(self._lines) >= _MOST_LINES:
                self._lines.clear()
            self._lines[row] = self._line(row)
        return self._lines[row]

    def _line(self, row: int) -> Line:
        found = self.comparison.rows[row]
        return Line(
            str(found.index),
            self._side(0, found.reference, found.recipe_reference),
            self._side(1, found.candidate, found.recipe_candidate),
        )

    def _side(self, side: int, record: Record | None, recipe: str) -> SideText | None:
        if record is None:
            return None
        name = clean(self.short[side].short(record) + _part(recipe), self._ascii)
        return SideText(name, shape_text(record.shape), clean(_note(record), self._ascii))

    def searched_by(self, row: int) -> str:
        found = self.comparison.rows[row]
        sides = zip(self.short, (found.reference, found.candidate), strict=True)
        names = [f"{short.short(r)} {r.name}" for short, r in sides if r is not None]
        step = f"s{found.step} step {found.step}"
        return " ".join([found.label, step, *names]).lower()


_SLICE = re.compile(r"\[[^\]|]*\]")


def _part(recipe: str) -> str:
    """Which part of a fused tensor a row compares: `[0:64]` of `[:, 0:64] | squeeze(0)`."""
    match = _SLICE.match(recipe)
    if match is None:
        return ""
    parts = [part.strip() for part in match[0][1:-1].split(",")]
    return "[" + ",".join(part for part in parts if part != ":") + "]"


def _note(record: Record) -> str:
    if record.error is not None:
        return record.error
    if record.partial is not None:
        return "partial {} of {}".format(*record.partial)
    return ""


def words_of(text: str) -> list[str]:
    """What is searched for: lower-case words that must all occur."""
    return text.lower().split()


def in_mode(row: Row, mode: Mode) -> bool:
    """Whether `o` shows the row: inputs only when asked for, unpaired inputs with everything."""
    if mode == "everything" or row.role not in ("input", "grad_input"):
        return True
    return mode == "inputs" and row.kind == "pair"


@dataclass(frozen=True)
class View:
    """Which rows are shown, by what: mode, filter, only diverged, only those that changed so."""

    mode: Mode = "outputs"
    filter: str = ""
    only: bool = False
    change: Change | None = None


def view_words(model: RowModel | None, view: View) -> str:
    """Which rows are shown; nothing where all modes show the same ones."""
    if view.only:
        return "only diverged"
    if view.change:
        return f"only {view.change}"
    alike = isinstance(model, ComparedRows) and not model.has_inputs
    return "" if alike else MODE_WORDS[view.mode]


def rows_in_view(model: RowModel, view: View) -> Sequence[int]:
    """The row numbers that `view` shows, in order. No row is copied."""
    words = words_of(view.filter)
    rows: Sequence[int] = range(len(model))
    if isinstance(model, ComparedRows):
        comparison = model.comparison
        if view.only:
            rows = sorted({*comparison.failing, *unreadable_rows(comparison)})
        elif view.change and model.changes is not None:
            rows = model.changes.by_change[view.change]
        elif view.mode != "everything":
            rows = model.in_mode(view.mode)
    if words:
        rows = [row for row in model.names().rows(words) if holds(rows, row)]
    return rows


def unreadable_rows(comparison: Comparison) -> list[int]:
    return [i for i, verdict in enumerate(comparison.verdicts) if verdict.level == "unreadable"]


def hidden_failing(comparison: Comparison, view: Sequence[int]) -> int:
    """How many failing rows `view` does not show."""
    failing = comparison.failing
    if isinstance(view, range) or len(view) == len(comparison.rows):
        return 0
    if len(failing) < _MANY:
        return sum(1 for row in failing if not _holds(view, row))
    return len(failing) - len(set(view).intersection(failing))


def _holds(view: Sequence[int], row: int) -> bool:
    at = bisect_left(view, row)
    return at < len(view) and view[at] == row


def position(view: Sequence[int], row: int) -> int:
    """Where `row` stands in `view`, or the next one that is there."""
    if isinstance(view, range):
        return min(row, max(0, len(view) - 1))
    return min(bisect_left(view, row), max(0, len(view) - 1))


def holds(view: Sequence[int], row: int) -> bool:
    """Whether `view` shows `row`."""
    return row in view if isinstance(view, range) else _holds(view, row)


def record_key(record: Record | None) -> tuple[object, ...] | None:
    """What stays the same when a directory is read again."""
    if record is None:
        return None
    return (record.side, record.step, record.module, record.call, record.slot, record.key)


def row_key(row: Row) -> RowKey:
    return (record_key(row.reference), record_key(row.candidate), row.canonical)
