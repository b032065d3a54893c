"""Coloured lines as SVG. It asks no server for fonts, and looks the same in viewers that squeeze
spaces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from ..present.text import width_of
from .cells import BACKGROUND, Filled, Letters, parts_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..present.pieces import Pieces

_CELL, _LINE, _SIZE = 8.4, 17, 14  # pixels: a letter of that size in most fonts of fixed width
_FOOT = 13  # from the upper edge of a line to the foot of its letters
_MARGIN = 10
_FONTS = "Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def svg_of_lines(lines: Sequence[Pieces]) -> str:
    """As many columns as the widest line has."""
    columns = max([sum(width_of(text) for text, _ in line) for line in lines], default=1)
    width, height = columns * _CELL + 2 * _MARGIN, len(lines) * _LINE + 2 * _MARGIN
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" font-family="{_FONTS}" font-size="{_SIZE}">'
    )
    ground = f'<rect width="100%" height="100%" fill="{BACKGROUND}"/>'
    drawn = [part for at, line in enumerate(lines) for part in _drawn(line, at)]
    return "\n".join([head, ground, *drawn, "</svg>"]) + "\n"


def _drawn(line: Pieces, at: int) -> Iterator[str]:
    top = _MARGIN + at * _LINE
    for part in parts_of(line):
        left = _MARGIN + part.column * _CELL
        if isinstance(part, Filled):
            yield (
                f'<rect x="{left:.1f}" y="{top + part.top * _LINE:.1f}" '
                f'width="{part.width * _CELL:.1f}" height="{(1 - part.top) * _LINE:.1f}" '
                f'fill="{part.color}" shape-rendering="crispEdges"/>'
            )
        else:
            yield _letters(part, left, top)


def _letters(part: Letters, left: float, top: float) -> str:
    weight = ' font-weight="bold"' if part.bold else ""
    length = f' textLength="{part.width * _CELL:.1f}"' if part.width > 1 else ""
    return (
        f'<text x="{left:.1f}" y="{top + _FOOT}" fill="{part.color}"{weight}{length}>'
        f"{escape(part.text)}</text>"
    )
