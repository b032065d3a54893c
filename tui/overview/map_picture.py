"""Drawing the map: components below one another, layers from left to right, a bar for each cell.

A bar is as high as its number is large, on a logarithmic scale, and has the colour of its verdict:
either is enough to read it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.style import Style

from ..present.text import clean, elide, width_of
from .quantities import FULL, Quantity

if TYPE_CHECKING:
    from ...compare.vocabulary import Level
    from ..present.pieces import Piece, Pieces
    from ..theme import Look
    from .cells import Cell, Key, LayerMap

_WIDEST_NAME = 28
_LEAST_NAME = 16  # a name gets no less where the terminal has 60 columns
_WIDEST_CELL = 4
_PAGE = 160  # columns of a picture that is saved, where it has few enough layers
_MARGIN = 2  # columns left of the names
_HEAD = 1  # lines above the cells: the numbers of the layers
_SHOWN: tuple[Level, ...] = ("identical", "ok", "noise", "drift", "diverged")
_ALWAYS_FULL = frozenset({"nan", "shape", "unreadable"})


@dataclass(frozen=True)
class Window:
    """The part of the map that is on the screen: its first component and layer."""

    component: int = 0
    layer: int = 0

    def around(self, cursor: Key, room: tuple[int, int]) -> Window:
        """The window moved as little as needed to have the cursor among `room` components and
        layers.
        """
        firsts = [
            max(at - size + 1, min(first, at), 0)
            for first, at, size in zip((self.component, self.layer), cursor, room, strict=True)
        ]
        return Window(*firsts)


@dataclass(frozen=True)
class MapPicture:
    """The map in `width` columns and `height` lines."""

    look: Look
    found: LayerMap
    quantity: Quantity
    width: int
    height: int
    whole_names: bool = False

    @staticmethod
    def whole(look: Look, found: LayerMap, quantity: Quantity) -> MapPicture:
        """All components and layers, with as wide cells as fit a page, two columns at least."""
        layers = max(1, len(found.layers))
        cell = max(2, min(_WIDEST_CELL, _PAGE // layers))
        height = len(found.components) + _HEAD
        bare = MapPicture(look, found, quantity, _PAGE, height, whole_names=True)
        return replace(bare, width=bare.width - bare._for_cells + cell * layers)

    @property
    def name_width(self) -> int:
        """Columns of the names."""
        longest = max((width_of(name) for name in self.found.components), default=0)
        if self.whole_names:
            return longest
        limit = _WIDEST_NAME if self.width >= 80 else _LEAST_NAME
        return min(longest, limit)

    @property
    def _count_width(self) -> int:
        """Columns of `2/2` behind the cells, where anything is off."""
        texts = [f" {off}/{of}" for off, of in self.found.counts if off]
        return max(map(len, texts), default=0)

    @property
    def cell_width(self) -> int:
        """Columns of a cell: as many as let all layers be seen, at least one."""
        layers = max(1, len(self.found.layers))
        return max(1, min(_WIDEST_CELL, self._for_cells // layers))

    @property
    def _for_cells(self) -> int:
        return max(1, self.width - _MARGIN - self.name_width - 1 - self._count_width - 1)

    @property
    def room(self) -> tuple[int, int]:
        """How many components and layers fit."""
        return max(1, self.height - _HEAD), max(1, self._for_cells // self.cell_width)

    def lines(self, window: Window, cursor: Key) -> list[Pieces]:
        """The numbers of the layers, and the cells."""
        high, wide = self.room
        layers = range(window.layer, min(window.layer + wide, len(self.found.layers)))
        end = min(window.component + high, len(self.found.components))
        lines = [self._head(layers, cursor)]
        return lines + [
            self._line(component, layers, cursor) for component in range(window.component, end)
        ]

    def _head(self, layers: range, cursor: Key) -> Pieces:
        """Numbers of layers, as many as there is room for; that of the cursor is always there."""
        palette, size = self.look.palette, self.cell_width
        cells = [" "] * (len(layers) * size)
        here = self.found.label(cursor[1])
        start = min((cursor[1] - layers.start) * size, max(0, len(cells) - len(here)))
        taken = range(start - 1, start + len(here) + 1)
        free = 0
        for at, layer in enumerate(layers):
            label, begin = self.found.label(layer), at * size
            place = range(begin, begin + len(label))
            if begin < free or place.stop > len(cells) or set(place) & set(taken):
                continue
            cells[begin : place.stop] = label
            free = place.stop + 1
        text = "".join(cells)
        pad = " " * (_MARGIN + self.name_width + 1)
        return [
            (pad + text[:start], palette.muted), (here, palette.strong),
            (text[start + len(here) :], palette.muted),
        ]  # fmt: skip

    def _line(self, component: int, layers: range, cursor: Key) -> Pieces:
        look, here = self.look, component == cursor[0]
        name = clean(self.found.components[component], look.terminal.ascii)
        sign = look.signs.pointer if here else " "
        pieces: list[Piece] = [
            (f"{sign:<{_MARGIN}}", look.palette.accent),
            (elide(name, self.name_width, look.signs.dots) + " ",
             look.palette.strong if here else None),
        ]  # fmt: skip
        for layer in layers:
            for piece in self._cell((component, layer), (component, layer) == cursor):
                if pieces[-1][1] == piece[1]:
                    pieces[-1] = (pieces[-1][0] + piece[0], piece[1])
                else:
                    pieces.append(piece)
        off, of = self.found.counts[component]
        if off:
            pieces.append((f" {off}/{of}", look.style("diverged")))
        return pieces

    def _cell(self, key: Key, here: bool) -> list[Piece]:
        """The bar; behind it, or in its place where there is one column, the mark of an error that
        was made there.
        """
        cell, size = self.found.cells.get(key), self.cell_width
        glyph, style = self._bar(cell)
        mark = self.look.origin_glyph("made") if cell is not None and cell.made else ""
        text = (mark or glyph) if size == 1 else glyph * (size - 1) + (mark or " ")
        if here:
            gap = text.endswith(" ") and size > 1
            shown = text[:-1] if gap else text
            return [(shown, self._cursor_style(style)), *([(" ", None)] if gap else [])]
        return [(text, style)]

    def _cursor_style(self, style: Style | None) -> Style:
        """The colour of the cell on a light ground; without colours in reverse video."""
        if self.look.terminal.ansi:
            return Style(reverse=True, bold=True)
        return self.look.palette.here + Style(color="#101418" if style is None else style.color)

    def _bar(self, cell: Cell | None) -> tuple[str, Style | None]:
        look = self.look
        if cell is None:
            return " ", None
        if cell.level == "missing":
            return look.signs.gap, look.palette.faint
        if cell.level == "pending":
            return look.glyph("pending"), look.palette.faint
        name, style = self.quantity.name, look.style(cell.level)
        if name == "verdict":
            return look.glyph(cell.level), style
        value = self.quantity.value(cell)
        if name == "error" and (cell.level in _ALWAYS_FULL or value is None):
            return look.glyph(cell.level), style
        if value is None:
            return " ", None
        if name == "local" and not cell.made:
            style = look.style("diverged" if cell.breaks_law else "ok")
        elif name == "ratio" and not cell.made:
            style = look.style("noise")
        height = self.quantity.height(value)
        return look.glyph("identical") if value == 0 else look.signs.bars[height], style

    def legend(self) -> Pieces:
        """What the bars mean, from little to much."""
        look, muted = self.look, self.look.palette.muted
        pieces: list[Piece] = [("  ", None)]
        if self.quantity.powers is None:
            for level in _SHOWN:
                pieces += [(look.glyph(level), look.style(level)), (f" {level}  ", muted)]
        else:
            low, high = (self.quantity.text(10.0**power) for power in self.quantity.powers)
            bars = look.signs.bars[1 : FULL + 1]
            pieces += [(f"{low} ", muted), (bars, None), (f" {high}  ", muted)]
        mark = (look.origin_glyph("made"), look.style("diverged"))
        gap = (look.signs.gap, look.palette.faint)
        return [*pieces, mark, (" introduced there  ", muted), gap, (" no pair", muted)]
