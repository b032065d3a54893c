"""The trend: the error of all rows along the run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from ...capture.plurals import counted
from ...compare.measuring.metrics import METRICS
from ...compare.reports.law_words import short_module
from ..present.text import number
from ..theme import LOOKS, ORIGIN_WORDS
from .cells import is_output
from .further_lines import LINE_WORDS
from .overview_screen import OverviewScreen, Picture, bindings_for
from .series import trend_of
from .trend_picture import Span, TrendPicture

if TYPE_CHECKING:
    from textual.binding import BindingType

    from ...compare.comparison import Comparison
    from ..present.pieces import Pieces
    from ..theme import Look
    from ..work_screen import ScreenHost
    from .series import Trend

_FAR = 10**9  # further than any line goes
_SAVED = 120, 30  # columns and lines of a picture that is saved
_LEAST = 8  # rows that are on the screen at least


class TrendScreen(OverviewScreen, inherit_bindings=False):
    """How the error grows, and where it is introduced."""

    BINDINGS: ClassVar[list[BindingType]] = bindings_for("trend")
    SCOPE = "trend"

    def __init__(self, host: ScreenHost) -> None:
        super().__init__(host)
        self.found: Trend | None = None
        self.cursor = 0
        self.span = Span(0, _FAR)

    # What it is a picture of

    def make(self, comparison: Comparison) -> Trend:
        alone = self.session.reruns.measured_alone(comparison)
        return trend_of(comparison, self.session.metric, alone).ready()

    def rerun_changed(self) -> None:
        """A layer was run alone: its line is drawn, too."""
        self._start()

    def take(self, comparison: Comparison, made: Trend) -> None:
        first, self.found = self.found is None, made
        if first and self.row is not None:
            self.cursor = made.place_of(self.row)
        self.cursor = max(0, min(self.cursor, len(made.rows) - 1))
        self.span = self.span.around(self.cursor, len(made.rows))

    @property
    def made(self) -> bool:
        return self.found is not None

    # Drawing

    def title_words(self) -> str:
        total, span = 0 if self.found is None else len(self.found.rows), self.span
        part = ""
        if span.count < total:
            part = f"  outputs {span.first + 1} to {span.first + span.count} of {total}"
        return f"Trend: {self._heading} along the run, log scale{part}"

    @property
    def _heading(self) -> str:
        spec = METRICS[self.session.metric]
        return spec.heading if spec.greater_is_worse else f"1 - {spec.heading}"

    def state(self) -> str:
        """The numbers of the picture: where errors were introduced, the greatest, the median."""
        found, comparison = self.found, self._of
        if found is None or comparison is None or found.greatest is None:
            return "no numbers yet"
        parts: list[str] = []
        if found.made:
            first = self._named(comparison, found, found.made[0])
            parts.append(f"{len(found.made)} introduced, first {first}")
        elif found.failing:
            parts.append(f"{len(found.failing)} diverge")
        else:
            parts.append("nothing diverges")
        parts.append(f"greatest {self._named(comparison, found, found.greatest)}")
        parts.append(f"median {number(found.middle)}")
        parts += [
            f"{LINE_WORDS[line.name]}: {counted(line.count, 'row')}" for line in found.further
        ]
        return "; ".join(parts)

    def _named(self, comparison: Comparison, found: Trend, place: int) -> str:
        row = comparison.rows[found.rows[place]]
        slot = "" if is_output(row) else f" {row.slot}"
        name = f"{short_module(row.canonical)}{slot}"
        return f"#{row.index} {name} {number(found.errors[place])}"

    def picture(self, width: int, height: int) -> tuple[list[Pieces], Pieces]:
        assert self.found is not None
        if not self.found.rows:
            return [[(" no outputs are paired", None)]], []
        drawn = TrendPicture(self.look, self.found, self.span, width, height)
        return drawn.lines(self.cursor), drawn.legend()

    def whole_picture(self, look: Look) -> tuple[list[Pieces], Pieces]:
        """The rows that are zoomed to."""
        assert self.found is not None
        drawn = TrendPicture(look, self.found, self.span, *_SAVED)
        return drawn.lines(self.cursor), drawn.legend()

    def here(self) -> str:
        found, comparison = self.found, self._of
        if found is None or comparison is None or not found.rows:
            return ""
        verdict = comparison.verdicts[found.rows[self.cursor]]
        word = LOOKS[verdict.level].word or "not measured yet"
        origin = f" {ORIGIN_WORDS[verdict.origin]}" if verdict.origin and verdict.fails else ""
        words = f"{self._named(comparison, found, self.cursor)}  {word}{origin}"
        more = [
            f"{LINE_WORDS[line.name]} {number(line.errors[self.cursor])}"
            for line in found.further
            if not math.isnan(line.errors[self.cursor])
        ]
        return "  ".join([words, *more])

    @property
    def place(self) -> object:
        return self.cursor

    # Keys

    def row_here(self) -> int | None:
        return self.found.rows[self.cursor] if self.found is not None and self.found.rows else None

    def action_move(self, lines: int) -> None:
        self._to(self.cursor + lines)

    def action_page(self, pages: float) -> None:
        self._to(self.cursor + int(pages * self.span.count))

    def action_to_top(self) -> None:
        self._to(0)

    def action_to_bottom(self) -> None:
        self._to(_FAR)

    def action_column(self, columns: int) -> None:
        """As many rows as stand in a column."""
        wide = max(1, self.query_one(Picture).size.width)
        self._to(self.cursor + columns * max(1, self.span.count // wide))

    def action_zoom(self, times: float) -> None:
        if self.found is not None:
            total = len(self.found.rows)
            self.span = self.span.zoomed(self.cursor, total, times, _LEAST)
            self.show()

    def action_divergence(self, direction: int) -> None:
        if self.found is not None:
            self._seek(direction, self.found.failing, "no divergence")

    def action_made(self, direction: int) -> None:
        if self.found is not None:
            self._seek(direction, self.found.made, "no introduced divergence")

    def _seek(self, direction: int, places: tuple[int, ...], nothing: str) -> None:
        assert self.found is not None
        place = self.found.next_of(self.cursor, direction, places)
        if place is None:
            self.say(f"{nothing} {'below' if direction > 0 else 'above'}")
        else:
            self._to(place)

    def _to(self, place: int) -> None:
        if self.found is not None and self.found.rows:
            self.cursor = max(0, min(place, len(self.found.rows) - 1))
            self.span = self.span.around(self.cursor, len(self.found.rows))
            self.show()
