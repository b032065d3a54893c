"""The whole run in one line: how large the error is at every depth, and where the cursor is."""

from __future__ import annotations

import math
from collections import deque
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING

from rich.style import Style
from textual.widget import Widget

from ...compare.measuring.metrics import METRICS
from ...compare.vocabulary import LEVELS, Level
from ..present.pieces import Piece
from .lines import look_of, strip_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from textual.strip import Strip
    from textual.timer import Timer

    from ...compare.comparison import Comparison

_LABEL = " depth "

_SLICE = 0.02  # seconds for which rows are taken in at a time
_PAUSE = 0.01  # seconds between two such times
_ROWS = 256  # between two looks at the clock
_FEW = 2048  # rows that are taken in at once when a run is drawn anew, with all else that shows it

_FULL = 7  # the highest bar
_ALWAYS_FULL: frozenset[Level] = frozenset({"nan", "shape", "unreadable"})
_RANK = {level: rank for rank, level in enumerate(LEVELS)}


def bar_height(metric: str, value: float | None) -> int:
    """0 (no error) to 7 for a metric's value, on a logarithmic scale."""
    if value is None or math.isnan(value):
        return 0
    error = METRICS[metric].error(value)
    if error <= 0:
        return 0
    low, high = METRICS[metric].strip_range
    share = (math.log10(error) - low) / (high - low) if math.isfinite(error) else 1.0
    return max(1, min(_FULL, round(1 + share * (_FULL - 1))))


class DepthStrip(Widget):
    """One cell for every slice of the rows: height by the greatest error, colour by the worst."""

    DEFAULT_CSS = "DepthStrip { height: 1; width: 1fr; background: $surface; }"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._comparison: Comparison | None = None
        self._metric = "mse"
        self._levels: list[Level] = []
        self._heights: list[int] = []
        self._of_rows = (bytearray(), bytearray())
        self._cell = 0
        self._waiting: deque[Iterator[int]] = deque()  # rows that are not taken in yet
        self._timer: Timer | None = None

    def set_comparison(self, comparison: Comparison | None, metric: str) -> None:
        """Draw another run, or the same with another metric or other verdicts."""
        self._comparison, self._metric = comparison, metric
        self._rebuild()

    def on_resize(self) -> None:
        self._rebuild()

    def _rebuild(self) -> None:
        rows = 0 if self._comparison is None else len(self._comparison.rows)
        cells = max(0, min(rows, self.size.width - len(_LABEL) - 1))
        self._levels, self._heights = ["pending"] * cells, [0] * cells
        self._of_rows = (bytearray(rows), bytearray(rows))  # ranks and heights; 0: pending
        self._waiting.clear()
        self.refresh()
        if rows > _FEW and self._timer is None:
            self._timer = self.set_timer(_PAUSE, self._go_on)
        self.update_rows(range(rows))

    def update_rows(self, rows: Iterable[int]) -> None:
        """Results for these rows arrived. Of many, some are taken in now, the others between keys
        and other work.
        """
        self._waiting.append(iter(rows))
        if self._timer is None:
            self._go_on()

    def _go_on(self) -> None:
        self._timer = None
        end = monotonic() + _SLICE
        changed = False
        while self._waiting and monotonic() < end:
            some = list(islice(self._waiting[0], _ROWS))
            if not some:
                self._waiting.popleft()
            changed |= self._take(some)
        if changed:
            self.refresh()
        if self._waiting:
            self._timer = self.set_timer(_PAUSE, self._go_on)

    def set_cursor(self, row: int) -> None:
        """Mark the slice that holds `row`."""
        cell = self._cell_of(row)
        if cell != self._cell:
            self._cell = cell
            self.refresh()

    def _cell_of(self, row: int) -> int:
        rows = 0 if self._comparison is None else len(self._comparison.rows)
        return row * len(self._levels) // rows if rows else 0

    def _take(self, rows: Iterable[int]) -> bool:
        comparison = self._comparison
        if comparison is None or not self._levels:
            return False
        ranks, heights = self._of_rows
        touched: set[int] = set()
        for row in rows:
            level = comparison.verdicts[row].level
            found = (_RANK[level], self._height(comparison, row, level))
            if found != (ranks[row], heights[row]):
                ranks[row], heights[row] = found
                touched.add(self._cell_of(row))
        return sum(self._settle(cell) for cell in touched) > 0

    def _settle(self, cell: int) -> bool:
        """Draw a cell by the worst of its rows, which may be better than before; whether it
        changes.
        """
        ranks, heights = self._of_rows
        cells = len(self._levels)
        first, end = (-(-at * len(ranks) // cells) for at in (cell, cell + 1))
        found = (LEVELS[max(ranks[first:end])], max(heights[first:end]))
        if found == (self._levels[cell], self._heights[cell]):
            return False
        self._levels[cell], self._heights[cell] = found
        return True

    def _height(self, comparison: Comparison, row: int, level: Level) -> int:
        if level in _ALWAYS_FULL:
            return _FULL
        found = comparison.measurements[row]
        if found is None:
            return 0
        if comparison.verdicts[row].permuted:
            return 1
        from ...compare.model import ByStatistics

        if isinstance(found, ByStatistics):
            from ...compare.reports.statistics_words import statistics_apart

            return bar_height("relative_l2", statistics_apart(found))
        metric = getattr(found, "metric", None)  # pairs that failed, or wait, have none
        return 0 if metric is None else bar_height(self._metric, metric(self._metric))

    @property
    def text(self) -> str:
        """The bars as they are drawn."""
        return "".join(text for text, _ in self._bars())

    def _bars(self) -> list[Piece]:
        look = look_of(self)
        pieces: list[Piece] = []
        for cell, (level, height) in enumerate(zip(self._levels, self._heights, strict=True)):
            if level == "pending":
                glyph, style = " ", look.palette.faint
            elif level == "missing":
                glyph, style = look.signs.gap, look.palette.faint
            else:
                glyph, style = look.signs.bars[height], Style(color=look.style(level).color)
            if cell == self._cell:
                style = look.palette.here + Style(color=style.color)
            pieces.append((glyph, style))
        return pieces

    def render_line(self, y: int) -> Strip:
        pieces: list[Piece] = [(_LABEL, look_of(self).palette.muted), *_merged(self._bars())]
        return strip_of(pieces, self.rich_style, self.size.width)


def _merged(pieces: list[Piece]) -> list[Piece]:
    merged: list[Piece] = []
    for text, style in pieces:
        if merged and merged[-1][1] == style:
            merged[-1] = (merged[-1][0] + text, style)
        else:
            merged.append((text, style))
    return merged
