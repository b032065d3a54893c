"""Drawing the trend: a dot for each row, from left to right, in braille; without colours or in
ASCII a letter for the part of the model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from rich.style import Style

from ..present.text import width_of
from .further_lines import LINE_WORDS
from .series import PARTS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..present.pieces import Piece, Pieces
    from ..theme import Look
    from .further_lines import LineName
    from .series import Part, Trend

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

MARGIN = 10  # columns left of the picture: powers of ten
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of a braille cell, by line
_BRAILLE = 0x2800
_ALONE = "\u2022"  # where every row has a column of its own
_TALL, _WIDE = 4, 2  # dots of a cell
_BLANK: Piece = (" ", None)
_BELOW = 1  # lines below the powers of ten: errors of 0
_LETTERS: dict[Part, str] = {"attention": "a", "mlp": "m", "norm": "n", "layer": "l", "other": "o"}
# On a dark ground, of 16 colours, on a light ground.
_COLORS: dict[Part, tuple[str, str, str]] = {
    "attention": ("#56b4e9", "cyan", "#0b72b5"), "mlp": ("#35b779", "green", "#1b7f4d"),
    "norm": ("#d8c88a", "yellow", "#73641a"), "layer": ("#ffffff", "white", "#000000"),
    "other": ("#d885b5", "magenta", "#a03a78"),
}  # fmt: skip
_RING = "\u25e6"  # of a further line, where every row has a column of its own
_FURTHER: dict[LineName, tuple[str, str, str]] = {  # letter, colours
    "alone": ("r", "#e8743b", "bright_red"), "baseline": ("b", "#9a9a9a", "bright_black"),
    "exact": ("x", "#7a86ff", "blue"),
}  # fmt: skip


def _shows_nothing(style: Style | None) -> bool:
    """Whether a blank looks the same in a style as in none: it goes on with the style then, which
    takes fewer bytes on the wire than to change it.
    """
    return style is None or not (style.bgcolor or style.reverse or style.underline)


@dataclass(frozen=True)
class Span:
    """The places that are on the screen: `count` from `first` on."""

    first: int
    count: int

    def around(self, place: int, total: int) -> Span:
        """Moved as little as needed to hold `place`, inside of all."""
        count = max(1, min(self.count, total))
        first = max(place - count + 1, min(self.first, place))
        return Span(max(0, min(first, total - count)), count)

    def zoomed(self, place: int, total: int, times: float, least: int) -> Span:
        """So many times as many places, with `place` where it was; `least` at least."""
        count = max(min(least, total), min(total, round(self.count * times)))
        share = (place - self.first) / max(1, self.count)
        return Span(round(place - share * count), count).around(place, total)


@dataclass(frozen=True)
class TrendPicture:
    """The line in `width` columns and `height` lines."""

    look: Look
    found: Trend
    span: Span
    width: int
    height: int

    @property
    def columns(self) -> int:
        return max(1, self.width - MARGIN - 1)

    @property
    def _letters(self) -> bool:
        return self.look.terminal.ascii or self.look.terminal.colors == "none"

    @property
    def _lines(self) -> int:
        """Lines for errors above 0."""
        return max(2, self.height - _BELOW)

    def column_of(self, place: int) -> int:
        """Where a place stands."""
        return (place - self.span.first) * self.columns // self.span.count

    def lines(self, cursor: int) -> list[Pieces]:
        """Powers of ten, dots, and the column of the cursor."""
        masks, owners = self._cells(cursor)
        further, names = self._further()
        here = self.column_of(cursor)
        lines: list[Pieces] = []
        for line in range(self._lines + _BELOW):
            pieces: list[Piece] = [(f"{self._label(line):>{MARGIN - 1}} ", self.look.palette.muted)]
            for column in range(self.columns):
                owner = owners[line][column]
                if owner >= 0:
                    piece = self._dot(owner, masks[line][column], owner == cursor)
                elif names[line][column] >= 0:
                    piece = self._further_dot(names[line][column], further[line][column])
                else:
                    piece = self._empty(column == here)
                text, style = pieces[-1]
                if style == piece[1] or (piece == _BLANK and _shows_nothing(style)):
                    pieces[-1] = text + piece[0], style
                else:
                    pieces.append(piece)
            lines.append(pieces)
        return lines

    def _cells(self, cursor: int) -> tuple[list[list[int]], list[list[int]]]:
        """By line and column the dots of all places that stand there, and the place that the cell
        shows: the cursor's, else the last one at which an error was introduced, else the last one
        of the part of the model that has most of them; -1 for none.
        """
        import numpy as np

        masks, ranks = np.zeros(self._shape, np.int64), np.full(self._shape, -1)
        places, where, bits = self._dots(self.found.sizes)
        np.bitwise_or.at(masks, where, bits)
        parts = self.found.part_numbers[places]
        counts = np.zeros((*self._shape, len(PARTS)), np.int64)
        np.add.at(counts, (*where, parts), 1)
        most = counts.argmax(2)[where] == parts
        rank = np.where(np.isin(places, self.found.made), 2, most) + 3 * (places == cursor)
        total = len(self.found.rows)
        np.maximum.at(ranks, where, rank * total + places)
        return masks.tolist(), np.where(ranks < 0, -1, ranks % total).tolist()

    def _further(self) -> tuple[list[list[int]], list[list[int]]]:
        """The same for further lines: the dots, and which of the lines a cell shows."""
        import numpy as np

        masks, lines = np.zeros(self._shape, np.int64), np.full(self._shape, -1)
        for number, line in enumerate(self.found.further):
            _, where, bits = self._dots(line.sizes)
            shown = lines[where] < 0  # the first line stays, with its dots alone
            where = where[0][shown], where[1][shown]
            np.bitwise_or.at(masks, where, bits[shown])
            lines[where] = number
        return masks.tolist(), lines.tolist()

    @property
    def _shape(self) -> tuple[int, int]:
        return self._lines + _BELOW, self.columns

    def _dots(self, sizes: Floats) -> tuple[Ints, tuple[Ints, Ints], Ints]:
        """Of errors by place: the places that are on the screen, the lines and columns of their
        cells, and their dots in these.
        """
        import numpy as np

        first, count = self.span.first, self.span.count
        errors = sizes[first : first + count]
        places = np.flatnonzero(~np.isnan(errors))
        errors, places = errors[places], places + first
        across = (places - first) * (self.columns * _WIDE) // count
        low, high = self.found.decades
        dots = self._lines * _TALL - 1
        with np.errstate(divide="ignore"):  # errors of 0 stand on a line of their own
            down = np.rint((high - np.log10(errors)) / (high - low) * dots)
        down = np.clip(down, 0, dots).astype(np.int64)
        line = np.where(errors > 0, down // _TALL, self._lines)
        below = np.where((errors > 0) & np.isfinite(errors), down % _TALL, 0)
        return places, (line, across // _WIDE), np.array(_DOTS)[below, across % _WIDE]

    @cached_property
    def _made(self) -> frozenset[int]:
        return frozenset(self.found.made)

    def _label(self, line: int) -> str:
        """The power of ten at the top of a line, where there is one, and of the last line 0."""
        if line == self._lines:
            return "0"
        low, high = self.found.decades
        step = (high - low) / self._lines
        power = math.ceil(high - (line + 1) * step)
        every = max(1, math.ceil(2 / max(1e-9, 1 / step))) if step > 1 else 1
        below = math.ceil(high - line * step)
        if line == 0:
            return f"1e{high:+03d}"
        return f"1e{power:+03d}" if power < below and power % every == 0 else ""

    def _empty(self, here: bool) -> Piece:
        return (self.look.signs.divider, self.look.palette.faint) if here else _BLANK

    def _dot(self, place: int, mask: int, here: bool) -> Piece:
        look, part = self.look, self.found.parts[place]
        glyph, style = chr(_BRAILLE + mask), self._style(part)
        if self._letters:
            glyph = _LETTERS[part]
        elif self.span.count <= self.columns:
            glyph = _ALONE
        if math.isinf(self.found.errors[place]):
            glyph, style = look.glyph("nan"), look.style("nan")
        if place in self._made:
            glyph, style = look.origin_glyph("made"), look.style("diverged")
        if here:
            ansi = look.terminal.ansi
            style = Style(reverse=True, bold=True) if ansi else look.palette.here + Style(
                color="#101418"
            )  # fmt: skip
        return glyph, style

    def _further_dot(self, number: int, mask: int) -> Piece:
        name = self.found.further[number].name
        glyph = chr(_BRAILLE + mask)
        if self._letters:
            glyph = _FURTHER[name][0]
        elif self.span.count <= self.columns:
            glyph = _RING
        return glyph, self._further_style(name)

    def _further_style(self, name: LineName) -> Style:
        _, color, ansi = _FURTHER[name]
        return Style(color=ansi if self.look.terminal.ansi else color)

    def _style(self, part: Part) -> Style:
        color, ansi, light = _COLORS[part]
        terminal = self.look.terminal
        return Style(color=ansi if terminal.ansi else light if terminal.light else color)

    def legend(self) -> Pieces:
        """What marks, colours and letters mean."""
        look, muted = self.look, self.look.palette.muted
        pieces: list[Piece] = [
            (" " * MARGIN, None), (look.origin_glyph("made"), look.style("diverged")),
            (" introduced there  ", muted),
        ]  # fmt: skip
        for line in self.found.further:
            sign = _FURTHER[line.name][0] if self._letters else _RING
            pieces += [(sign, self._further_style(line.name)),
                       (f" {LINE_WORDS[line.name]}  ", muted)]  # fmt: skip
        for part in PARTS:
            if part in self.found.parts:
                sign = _LETTERS[part] if self._letters else chr(_BRAILLE + 0xFF)
                pieces += [(sign, self._style(part)), (f" {part}  ", muted)]
        over = sum(width_of(text) for text, _ in pieces) - self.width
        if over > 0:  # the margin gives way
            pieces[0] = (" " * max(1, MARGIN - over), None)
        return pieces
