"""What a picture of coloured lines is drawn from: runs of letters, blocks, colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..present.text import width_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.style import Style

    from ..present.pieces import Pieces

FOREGROUND, BACKGROUND = "#d6d6d6", "#101418"
_BARS = "▁▂▃▄▅▆▇█"  # filled from below, by eighths
_LEFT = {"▌": 0.5, "▎": 0.25}  # filled from the left


@dataclass(frozen=True)
class Filled:
    """A rectangle: from `column` on, so many cells wide, its upper edge `top` below that of the
    line, in lines.
    """

    column: float
    width: float
    color: str
    top: float = 0.0


@dataclass(frozen=True)
class Letters:
    """Text that begins at `column` and is `width` cells wide."""

    column: int
    width: int
    text: str
    color: str
    bold: bool


def parts_of(line: Pieces) -> Iterator[Filled | Letters]:
    """What is drawn of a line, grounds before what stands on them. Words of letters are one part;
    every other sign is one of its own, so that it stands on its cell in any font.
    """
    column = 0
    for text, style in line:
        front, back, bold = colors_of(style)
        width = width_of(text)
        if back is not None and width:
            yield Filled(column, width, back)
        yield from _signs(text, column, front, bold)
        column += width


def _signs(text: str, column: int, color: str, bold: bool) -> Iterator[Filled | Letters]:
    word, start = "", column
    for char in [*text, " "]:
        if char.isascii() and not char.isspace():
            start = start if word else column
            word += char
        else:
            if word:
                yield Letters(start, len(word), word, color, bold)
            word = ""
            yield from _sign(char, column, color, bold)
        column += width_of(char)


def _sign(char: str, column: int, color: str, bold: bool) -> Iterator[Filled | Letters]:
    if char in _BARS:
        yield Filled(column, 1, color, 1 - (_BARS.index(char) + 1) / len(_BARS))
    elif char in _LEFT:
        yield Filled(column, _LEFT[char], color)
    elif not char.isspace():
        yield Letters(column, width_of(char), char, color, bold)


def colors_of(style: Style | None) -> tuple[str, str | None, bool]:
    """Of letters, of the ground behind them (None: the picture's), and whether they are bold."""
    if style is None:
        return FOREGROUND, None, False
    front, back = FOREGROUND, None
    if style.color is not None and not style.color.is_default:
        front = style.color.get_truecolor().hex
    if style.bgcolor is not None and not style.bgcolor.is_default:
        back = style.bgcolor.get_truecolor().hex
    if style.reverse:
        front, back = back or BACKGROUND, front
    return front, back, bool(style.bold)
