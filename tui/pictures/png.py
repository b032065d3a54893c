"""Coloured lines as PNG, drawn by matplotlib, as plots are."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from ..present.text import width_of
from .cells import BACKGROUND, Filled, parts_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..present.pieces import Pieces

_DPI = 120
_POINTS = 10.0  # of a letter
_CELL, _LINE = 0.0857, 0.165  # inches of a letter of that size in DejaVu Sans Mono, and of a line
_MARGIN = 0.15
_FONTS = ["DejaVu Sans Mono", "DejaVu Sans"]  # matplotlib's own; the second has braille
_SHIFT = 0.26  # of a line, from its lower edge to the foot of its letters


def png_of_lines(lines: Sequence[Pieces]) -> bytes:
    """As many columns as the widest line has."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = max([sum(width_of(text) for text, _ in line) for line in lines], default=1)
    size = columns * _CELL + 2 * _MARGIN, len(lines) * _LINE + 2 * _MARGIN
    figure = Figure(figsize=size, dpi=_DPI, facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(-_MARGIN, size[0] - _MARGIN)
    axes.set_ylim(size[1] - _MARGIN, -_MARGIN)
    for at, line in enumerate(lines):
        _draw_line(axes, line, at * _LINE)
    found = io.BytesIO()
    figure.savefig(found, format="png", facecolor=BACKGROUND)
    return found.getvalue()


def _draw_line(axes: Any, line: Pieces, top: float) -> None:
    from matplotlib.patches import Rectangle

    for part in parts_of(line):
        left = part.column * _CELL
        if isinstance(part, Filled):
            place = left, top + part.top * _LINE
            size = part.width * _CELL, (1 - part.top) * _LINE
            axes.add_patch(Rectangle(place, *size, color=part.color, linewidth=0))
        else:
            axes.text(
                left, top + (1 - _SHIFT) * _LINE, part.text, color=part.color, family=_FONTS,
                size=_POINTS, weight="bold" if part.bold else "normal", va="baseline",
                parse_math=False,
            )  # fmt: skip
