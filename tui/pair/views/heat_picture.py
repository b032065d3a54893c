"""Drawing a heat map.

A colour costs a terminal some twenty bytes wherever it changes. A map is drawn with as many steps
of colour, and as large, as fit into `BUDGET` bytes, so that noise does not choke a slow line.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from rich.style import Style

if TYPE_CHECKING:
    from ....compare.inspection.heat import HeatMap
    from ...present.pieces import Piece, Pieces
    from ...theme import Look

BUDGET = 17_000  # bytes of the map alone
_SEGMENT = {"truecolor": 26, "256": 18, "16": 12, "none": 0}  # bytes around a run of one colour
_STEPS = {"truecolor": (12, 8, 6, 4), "256": (12, 8, 6, 4), "16": (6, 4), "none": (10,)}
_SCALES = (1.0, 0.7, 0.5, 0.35)
_SHADES = " ·░▒▓█"
_SHADES_ASCII = " .:-=+*#%@"
MARGIN = 14  # columns left of the map: the indices of its rows
_ODD = "!"
_ANSI = ("blue", "cyan", "green", "yellow", "red")
# viridis at twelve places: even to the eye, and readable for the colour-blind
_COLORS = ("#440154", "#482173", "#433e85", "#38598c", "#2d708e", "#25858e", "#1e9b8a", "#2ab07f",
           "#52c569", "#86d549", "#c2df23", "#fde725")  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """A map with its cursor, drawn in `room` cells: rows, columns."""

    look: Look
    heat: HeatMap
    cursor: tuple[int, int]
    room: tuple[int, int]

    def lines(self) -> list[Pieces]:
        """The map, a line or two a row, and the scale of its colours."""
        drawn, steps = self._fitting(self.heat)
        levels = self._levels(drawn, steps)
        cursor = self._cursor_in(drawn)
        tall, wide = self._scaling(drawn)
        lines: list[Pieces] = []
        for row in range(drawn.shape[0]):
            (low, high), _ = drawn.cell(row, 0)
            label = str(low) if high == low + 1 else f"{low}:{high}"
            if drawn.plan.rows is None:
                label = ""
            head = f" {label[: MARGIN - 2]:>{MARGIN - 2}} "
            cells = self._row(drawn, levels, row, steps, cursor)
            body: list[Piece] = [(text if wide == 1 else _widened(text, wide), style)
                                 for text, style in cells]  # fmt: skip
            lines.append([(head, self.look.palette.muted), *body])
            lines += [[(" " * len(head), None), *body] for _ in range(tall - 1)]
        return [*lines, self._scale()]

    def _fitting(self, heat: HeatMap) -> tuple[HeatMap, int]:
        """The map, smaller where need be, and how many steps to draw it in."""
        colors = self.look.terminal.colors
        cell = (
            3 if self.look.terminal.ansi and not self.look.terminal.ascii else 1
        )  # bytes of a character
        smallest = heat
        for scale in _SCALES:
            smallest = _shrunk(heat, scale)
            for steps in _STEPS[colors]:
                if _cost(smallest, steps, cell, _SEGMENT[colors]) <= BUDGET:
                    return smallest, steps
        return smallest, _STEPS[colors][-1]

    def _scaling(self, heat: HeatMap) -> tuple[int, int]:
        """How many lines and columns a cell takes: several where a tensor is small."""
        height, width = self.room
        rows, columns = (max(1, size) for size in heat.shape)
        plan = heat.plan
        whole = plan.height >= height and plan.width >= width  # not shrunk to save bytes
        if not whole:
            return 1, 1
        return max(1, min(2, height // rows)), max(1, min(4, width // columns))

    def _levels(self, heat: HeatMap, steps: int) -> Any:
        from ....compare.inspection.heat_text import heat_levels

        return heat_levels(heat, steps)

    def _cursor_in(self, drawn: HeatMap) -> tuple[int, int]:
        """The cursor's cell in a map that may be drawn smaller than it was read."""
        found: list[int] = []
        for axis in (0, 1):
            read, shown = self.heat.shape[axis], drawn.shape[axis]
            found.append(self.cursor[axis] if read == shown else self.cursor[axis] * shown // read)
        return found[0], found[1]

    def _row(
        self, heat: HeatMap, levels: Any, row: int, steps: int, cursor: tuple[int, int]
    ) -> list[Piece]:
        """Runs of cells that look alike."""
        pieces: list[Piece] = []
        for column in range(heat.shape[1]):
            here = (row, column) == cursor
            odd, filled = bool(heat.odd[row, column]), bool(heat.filled[row, column])
            text, style = self._cell(int(levels[row, column]), steps, odd, filled, here)
            if pieces and pieces[-1][1] == style:
                pieces[-1] = (pieces[-1][0] + text, style)
            else:
                pieces.append((text, style))
        return pieces

    def _cell(
        self, level: int, steps: int, odd: bool, filled: bool, here: bool
    ) -> tuple[str, Style | None]:
        plain = self.look.terminal.ansi
        shades = _SHADES_ASCII if self.look.terminal.ascii else _SHADES
        shade = shades[level * (len(shades) - 1) // max(1, steps - 1)]
        if here:
            sign = _ODD if odd else "X" if self.look.terminal.ascii else "◆"
            return sign, Style(reverse=True, bold=True) if plain else _cursor_style()
        if odd:
            return _ODD, self.look.style("nan", solid=True)
        if not filled:
            return "?" if plain else " ", self.look.palette.faint
        if plain:
            coloured = self.look.terminal.colors == "16" and level > 0
            return shade, _ansi_color(level, steps) if coloured else None
        return " ", _color(level, steps)

    def _scale(self) -> Pieces:
        """The colours from little to much, with their numbers."""
        from ....compare.inspection.heat_text import heat_range

        low, high = heat_range(self.heat)
        steps = _STEPS[self.look.terminal.colors][0]
        pieces: list[Piece] = [(" " * (MARGIN - 10) + f"{low:>9.2e} ", self.look.palette.muted)]
        for level in range(1, steps):
            text, style = self._cell(level, steps, False, True, False)
            pieces.append((text * 2, style))
        pieces.append((f" {high:.2e} (log)", self.look.palette.muted))
        return pieces


def _widened(text: str, times: int) -> str:
    return "".join(char * times for char in text)


@lru_cache(64)
def _color(level: int, steps: int) -> Style:
    if level == 0:
        return Style(bgcolor="#16121f")
    at = (level - 1) * (len(_COLORS) - 1) // max(1, steps - 2)
    return Style(bgcolor=_COLORS[min(at, len(_COLORS) - 1)])


@lru_cache(64)
def _ansi_color(level: int, steps: int) -> Style:
    return Style(color=_ANSI[(level - 1) * (len(_ANSI) - 1) // max(1, steps - 2)])


@lru_cache(1)
def _cursor_style() -> Style:
    return Style(color="#000000", bgcolor="#ffffff", bold=True)


def _cost(heat: HeatMap, steps: int, cell: int, segment: int) -> int:
    """Bytes that drawing takes: every cell, and more for every change of colour."""
    from ....compare.inspection.heat_text import heat_levels

    levels = heat_levels(heat, steps)
    changes = int((levels[:, 1:] != levels[:, :-1]).sum()) + levels.shape[0]
    return cell * levels.size + segment * changes


def _shrunk(heat: HeatMap, scale: float) -> HeatMap:
    """The same map on fewer cells: each keeps what stands out most."""
    if scale == 1.0:
        return heat
    import numpy as np

    from ....compare.inspection.heat import HeatMap, distance_from_rest

    height, width = (max(1, int(size * scale)) for size in heat.shape)
    plan = replace(heat.plan, height=height, width=width)
    ours = [edges[:-1] for edges in heat.plan.edges()]
    rows, columns = (
        np.clip(np.searchsorted(edges, starts, "right") - 1, 0, edges.size - 2)
        for edges, starts in zip(plan.edges(), ours, strict=True)
    )
    values = np.zeros((height, width))
    odd, filled = np.zeros((height, width), bool), np.zeros((height, width), bool)
    size = distance_from_rest(heat.values, heat.plan.quantity)
    order = np.argsort(size, axis=None)
    at = np.unravel_index(order, heat.shape)
    values[rows[at[0]], columns[at[1]]] = heat.values[at]  # the last written, the greatest, stays
    np.logical_or.at(odd, (rows[:, None], columns[None, :]), heat.odd)
    np.logical_or.at(filled, (rows[:, None], columns[None, :]), heat.filled)
    return HeatMap(plan, values, odd, filled)
