"""One pair on a screen of its own. View 1: all numbers of both sides."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, ClassVar

from .details import page_fields, side_table
from .keys import bindings_of
from .lines import Lines, Piece, Pieces, ScrolledLines
from .prompt import PromptBar
from .status_line import Footer
from .text import clean, fit, wrap
from .theme import LOOKS, Look
from .work_screen import WorkScreen

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.binding import BindingType

    from ..compare.comparison import Comparison

_LABEL = 14


class PairScreen(WorkScreen):
    """Shows the row that the list's cursor is on and moves that cursor."""

    BINDINGS: ClassVar[list[BindingType]] = list(bindings_of("pair"))
    SCOPE = "pair"
    DEFAULT_CSS = """
    PairScreen { layout: vertical; }
    PairScreen > #title { background: $panel; height: 1; }
    """

    def compose(self) -> ComposeResult:
        yield Lines(id="title")
        yield ScrolledLines(id="page", classes="body")
        yield PromptBar(self.layertui.history)
        yield Footer(id="footer")

    def on_mount(self) -> None:
        self.call_after_refresh(self.show_pair)

    def on_screen_resume(self) -> None:
        self.call_after_refresh(self.show_pair)

    def on_resize(self) -> None:
        super().on_resize()
        self.call_after_refresh(self.show_pair)

    def show_pair(self) -> None:
        """Draw the row under the list's cursor."""
        screen = self.layertui.list_screen
        comparison, row = screen.comparison, screen.row
        if comparison is None or row is None or not self.query("#title"):  # not there (any more)
            return
        look = self.layertui.look
        self.query_one("#title", Lines).set_lines([_title(comparison, row, look)])
        page = self.query_one(ScrolledLines)
        page.set_lines(page_lines(comparison, row, look, self.size.width))
        self.prompt.rest("", self.place)

    def after_command(self) -> None:
        self.show_pair()

    def action_row(self, direction: int) -> None:
        self.layertui.list_screen.pairs.move(direction)
        self.show_pair()

    def action_divergence(self, direction: int) -> None:
        screen = self.layertui.list_screen
        before = screen.row
        screen.action_divergence(direction)
        self.show_pair()
        if screen.row == before:
            self.say("no divergence below" if direction > 0 else "no divergence above")


def _title(comparison: Comparison, row: int, look: Look) -> Pieces:
    found = comparison.rows[row]
    level = comparison.verdicts[row].level
    word = LOOKS[level].word or "not measured"
    return [
        (f" row {found.index} ({found.index + 1}/{len(comparison.rows)})  ", look.palette.muted),
        (clean(found.label, look.terminal.ascii), look.palette.strong),
        ("  ", None),
        (f" {look.glyph(level)} {word} ", look.style(level)),
    ]


def page_lines(comparison: Comparison, row: int, look: Look, width: int) -> list[Pieces]:
    """All that is known of a row, as lines of `width` cells."""
    lines: list[Pieces] = [[]]
    for at, (title, fields) in enumerate(page_fields(comparison, row)):
        if title:
            lines += [[], [(f" {title}", look.palette.heading)]]
        for field in fields:
            style = look.style(field.level) if field.level else None
            for number, part in enumerate(wrap(field.value, max(10, width - _LABEL - 4), 12)):
                label = field.label if number == 0 else ""
                lines.append(_labelled(label, [(clean(part, look.terminal.ascii), style)], look))
        if at == 0:
            lines += _sides(comparison, row, look, width)
    return lines


def _labelled(label: str, pieces: list[Piece], look: Look) -> Pieces:
    return [(f"  {label:<{_LABEL}}", look.palette.muted), *pieces]


def _sides(comparison: Comparison, row: int, look: Look, width: int) -> list[Pieces]:
    half = max(10, (width - _LABEL - 6) // 2)
    heads: list[Piece] = [
        (f"{'Reference':<{half}}  ", look.palette.heading),
        ("Candidate", look.palette.heading),
    ]
    lines: list[Pieces] = [[], _labelled("", heads, look)]
    for label, left, right in side_table(comparison, row):
        differs = left != right and label in ("shape", "dtype", "NaN", "Inf")
        style = look.palette.accent if differs else None
        columns = (wrap(clean(text, look.terminal.ascii), half, 6) for text in (left, right))
        for number, texts in enumerate(zip_longest(*columns, fillvalue="")):
            pieces: list[Piece] = []
            for text in texts:
                pieces += [(fit(text, half), style), ("  ", None)]
            lines.append(_labelled("" if number else label, pieces, look))
    return lines
