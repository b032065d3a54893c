"""View 4: a tensor as a heat map, with a cursor, zoom and slices.

A colour costs a terminal some twenty bytes wherever it changes. A map is drawn with as many steps
of colour, and as large, as fit into `BUDGET` bytes, so that noise does not choke a slow line.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from rich.style import Style

from ...commands import CommandError
from ...present.pieces import Piece, Pieces
from .slices import region_of
from .view import View, ViewKey

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from ....compare.inspection.heat import HeatMap, HeatPlan, Quantity, Range
    from ..stage import Stage

BUDGET = 17_000  # bytes of the map alone
_SEGMENT = {"truecolor": 26, "256": 18, "16": 12, "none": 0}  # bytes around a run of one colour
_STEPS = {"truecolor": (12, 8, 6, 4), "256": (12, 8, 6, 4), "16": (6, 4), "none": (10,)}
_SCALES = (1.0, 0.7, 0.5, 0.35)
_SHADES = " ·░▒▓█"
_SHADES_ASCII = " .:-=+*#%@"
_MARGIN = 14  # columns left of the map: the indices of its rows
_ODD = "!"
_ANSI = ("blue", "cyan", "green", "yellow", "red")
# viridis at twelve places: even to the eye, and readable for the colour-blind
_COLORS = ("#440154", "#482173", "#433e85", "#38598c", "#2d708e", "#25858e", "#1e9b8a", "#2ab07f",
           "#52c569", "#86d549", "#c2df23", "#fde725")  # fmt: skip


@dataclass(frozen=True)
class _Place:
    """What is shown of a tensor: a range of every axis, and which axes are rows and columns."""

    region: tuple[Range, ...]
    rows: int | None
    columns: int | None


class HeatView(View):
    """Arrows move the cursor; Enter and + zoom in, Backspace and - out; `v` changes the quantity,
    `x` the axes; `:slice` fixes axes, which are pooled otherwise.
    """

    NAME = "heat"
    title = "Heat map"
    short_title = "Heat"
    about = "any two axes of the tensor as a picture"
    KEYS = (
        ViewKey("enter", "enter,plus", "show", "zoom in", 6),
        ViewKey("leave", "backspace,minus", "zoom out", "zoom out", 7),
        ViewKey(
            "quantity", "v", "quantity",
            "|difference|, reference, candidate, signed difference, ratio", 8,
        ),
        ViewKey("axes", "x", "axes", "other axes as rows and columns", 9),
    )  # fmt: skip
    COMMANDS = ("slice", "axes")
    SCROLLS = False
    needs_pair: ClassVar[bool] = False

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.quantity: Quantity = "difference"
        self.cursor = (0, 0)
        self._places: list[_Place] = []  # zoomed into, one inside the other
        self.map: HeatMap | None = None
        self._asked: HeatPlan | None = None
        self._at_peak = True  # the cursor follows the extreme until it is moved

    def scene_changed(self) -> None:
        self._places, self.map, self._asked = [], None, None
        self.cursor, self._at_peak = (0, 0), True

    # What is shown

    @property
    def place(self) -> _Place | None:
        if not self._places:
            shape = self.shape
            if shape is None:
                return None
            from ....compare.inspection.heat import default_axes

            rows, columns = default_axes(shape)
            self._places = [_Place(tuple((0, size) for size in shape), rows, columns)]
        return self._places[-1]

    @property
    def _room(self) -> tuple[int, int]:
        """Cells that fit: rows, columns."""
        return max(1, self.size.height - 6), max(1, self.size.width - _MARGIN - 2)

    def ask(self) -> None:
        from ....compare.inspection.heat import HeatAnalysis, HeatPlan

        place = self.place
        if place is None:
            self.subject()  # says why
            return
        if not self.size.height:
            return  # not laid out yet: asked again when it is
        height, width = self._room
        alone = self.scene is not None and self.scene.row.kind != "pair"
        quantity: Quantity = self.quantity
        if alone:  # the one record that there is
            assert self.scene is not None
            quantity = "reference" if self.scene.row.reference is not None else "candidate"
        plan = HeatPlan(quantity, place.region, place.rows, place.columns, height, width)
        if plan == self._asked and self.map is not None:
            return
        self._asked = plan
        self.inspect(("heat", plan), lambda _, __: HeatAnalysis(plan), plan.key())

    def found(self, key: Hashable, result: Any, final: bool) -> None:
        self.map = result
        if self._at_peak:
            self.cursor = self.map.peak or (0, 0) if self.map is not None else (0, 0)
        self.stage.say_place()

    def on_resize(self) -> None:
        if self.scene is not None and self.display:
            self.ask()

    # Keys and commands

    @property
    def actions(self) -> dict[str, Callable[[], str]]:
        return {
            "enter": self.enter, "leave": self.leave, "quantity": self.cycle_quantity,
            "axes": self.cycle_axes,
        }  # fmt: skip

    @property
    def commands(self) -> dict[str, Callable[[str], str]]:
        return {"slice": self.set_slice, "axes": self.set_axes}

    def move(self, lines: int) -> None:
        self._step(lines, 0)

    def page(self, pages: float) -> None:
        if self.map is not None:
            self._step(int(pages * max(2, self.map.shape[0] // 2)), 0)

    def to_top(self) -> None:
        self._step(-(10**9), 0)

    def to_bottom(self) -> None:
        self._step(10**9, 0)

    def sideways(self, columns: int) -> bool:
        self._step(0, columns)
        return True

    def _step(self, rows: int, columns: int) -> None:
        heat = self.map
        if heat is None or heat.values.size == 0:
            return
        row = max(0, min(heat.shape[0] - 1, self.cursor[0] + rows))
        column = max(0, min(heat.shape[1] - 1, self.cursor[1] + columns))
        self._at_peak = False
        self.cursor = (row, column)
        self.draw()
        self.stage.say_place()

    def enter(self) -> str:
        """Zoom into the cursor's surroundings: a quarter of the region along both axes."""
        heat, place = self.map, self.place
        if heat is None or place is None or heat.values.size == 0:
            return ""
        region = list(place.region)
        changed = False
        for axis, edges in zip((place.rows, place.columns), heat.cell(*self.cursor), strict=True):
            if axis is None:
                continue
            low, high = place.region[axis]
            span = max(edges[1] - edges[0], -(-(high - low) // 4))
            first = max(low, min(high - span, (edges[0] + edges[1] - span) // 2))
            region[axis] = (first, first + span)
            changed = changed or region[axis] != place.region[axis]
        if not changed:
            return f"single elements; {self.stage.number_of('values')} shows values"
        self._places.append(replace(place, region=tuple(region)))
        self._show_place()
        return ""

    def leave(self) -> str:
        """Back to what was zoomed into."""
        if len(self._places) < 2:
            return "not zoomed in"
        self._places.pop()
        self._show_place()
        return ""

    def _show_place(self) -> None:
        self.map, self._at_peak = None, True
        self.ask()
        self.draw()
        self.stage.say_place()

    def cycle_quantity(self) -> str:
        from ....compare.inspection.heat import QUANTITIES, QUANTITY_WORDS

        if self.scene is not None and self.scene.row.kind != "pair":
            return "only one side has this record"
        self.quantity = QUANTITIES[(QUANTITIES.index(self.quantity) + 1) % len(QUANTITIES)]
        self._show_place()
        return QUANTITY_WORDS[self.quantity]

    def cycle_axes(self) -> str:
        """The next pair of axes as rows and columns."""
        place = self.place
        if place is None or len(place.region) < 2:
            return "there are no other axes"
        count = len(place.region)
        pairs = [(a, b) for a in range(count) for b in range(count) if a != b]
        at = pairs.index((place.rows or 0, place.columns or 0))
        rows, columns = pairs[(at + 1) % len(pairs)]
        self._places[-1] = replace(place, rows=rows, columns=columns)
        self._show_place()
        return f"rows axis {rows}, columns axis {columns}"

    def set_axes(self, text: str) -> str:
        """`:axes 0 2`."""
        place = self.place
        words = text.replace(",", " ").split()
        count = len(place.region) if place is not None else 0
        if place is None or len(words) != 2 or not all(w.lstrip("-").isdecimal() for w in words):
            raise CommandError("axes which? two numbers: rows and columns, as in :axes 0 2")
        rows, columns = (int(word) for word in words)
        if not (-count <= rows < count and -count <= columns < count) or (
            rows % count == columns % count
        ):
            raise CommandError(f"two different axes from 0 to {count - 1} wanted")
        self._places[-1] = replace(place, rows=rows % count, columns=columns % count)
        self._show_place()
        return f"rows axis {rows % count}, columns axis {columns % count}"

    def set_slice(self, text: str) -> str:
        """`:slice 0,:,128:160`: the part that is shown; axes fixed to one index are sliced, the
        others pooled.
        """
        from ....compare.inspection.window import region_text

        shape = self.shape
        if shape is None:
            raise CommandError("not known yet: still reading")
        region, _ = region_of(text, shape)
        place = self.place
        assert place is not None
        del self._places[1:]
        whole = replace(place, region=region)
        self._places = [self._places[0], whole] if text.strip() else [self._places[0]]
        self._show_place()
        return f"[{region_text(region, shape)}]"

    # Drawing

    def lines(self) -> list[Pieces]:
        from ....compare.inspection.heat_text import heat_legend

        heat, shape = self.map, self.shape
        state = self.state_lines()
        if heat is None or shape is None:
            return state or [[(" looking", self.look.palette.muted)]]
        legend = heat_legend(heat, shape)
        lines: list[Pieces] = [[(f" {legend[0]}", self.look.palette.heading)]]
        lines += [[(f" {line}", None)] for line in legend[1:2]]
        if state:
            lines[-1] = [*lines[-1], ("  ", None), *state[0]]
        lines += [[(f" {line}", self.look.style("nan"))] for line in legend[2:]]
        if heat.values.size == 0:
            return lines
        return [*lines, *self._picture(heat), self._scale()]

    def _picture(self, heat: HeatMap) -> list[Pieces]:
        drawn, steps = self._fitting(heat)
        levels = self._levels(drawn, steps)
        cursor = self._cursor_in(drawn)
        tall, wide = self._scaling(drawn)
        lines: list[Pieces] = []
        for row in range(drawn.shape[0]):
            (low, high), _ = drawn.cell(row, 0)
            label = str(low) if high == low + 1 else f"{low}:{high}"
            if drawn.plan.rows is None:
                label = ""
            head = f" {label[: _MARGIN - 2]:>{_MARGIN - 2}} "
            cells = self._row(drawn, levels, row, steps, cursor)
            body: list[Piece] = [(text if wide == 1 else _widened(text, wide), style)
                                 for text, style in cells]  # fmt: skip
            lines.append([(head, self.look.palette.muted), *body])
            lines += [[(" " * len(head), None), *body] for _ in range(tall - 1)]
        return lines

    def _fitting(self, heat: HeatMap) -> tuple[HeatMap, int]:
        """The map, smaller where need be, and how many steps to draw it in."""
        colors = self.look.terminal.colors
        cell = 3 if self.look.terminal.ansi and not self.ascii else 1  # bytes of a character
        smallest = heat
        for scale in _SCALES:
            smallest = _shrunk(heat, scale)
            for steps in _STEPS[colors]:
                if _cost(smallest, steps, cell, _SEGMENT[colors]) <= BUDGET:
                    return smallest, steps
        return smallest, _STEPS[colors][-1]

    def _scaling(self, heat: HeatMap) -> tuple[int, int]:
        """How many lines and columns a cell takes: several where a tensor is small."""
        height, width = self._room
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
        assert self.map is not None
        found: list[int] = []
        for axis in (0, 1):
            read, shown = self.map.shape[axis], drawn.shape[axis]
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
        shades = _SHADES_ASCII if self.ascii else _SHADES
        shade = shades[level * (len(shades) - 1) // max(1, steps - 1)]
        if here:
            sign = _ODD if odd else "X" if self.ascii else "◆"
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

        assert self.map is not None
        low, high = heat_range(self.map)
        steps = _STEPS[self.look.terminal.colors][0]
        pieces: list[Piece] = [(" " * (_MARGIN - 10) + f"{low:>9.2e} ", self.look.palette.muted)]
        for level in range(1, steps):
            text, style = self._cell(level, steps, False, True, False)
            pieces.append((text * 2, style))
        pieces.append((f" {high:.2e} (log)", self.look.palette.muted))
        return pieces

    def context(self) -> str:
        """Where the cursor is and what is there."""
        heat = self.map
        if heat is None or heat.values.size == 0:
            return ""
        row, column = self.cursor
        if row >= heat.shape[0] or column >= heat.shape[1]:
            return ""
        parts: list[str] = []
        for axis, (low, high) in zip(
            (heat.plan.rows, heat.plan.columns), heat.cell(row, column), strict=True
        ):
            if axis is not None:
                parts.append(f"axis {axis}: {low}" + (f":{high}" if high > low + 1 else ""))
        value = f"{heat.values[row, column]:.6g}"
        if heat.odd[row, column]:
            value = "NaN or Inf"
        elif not heat.filled[row, column]:
            value = "nothing"
        return f"{', '.join(parts)}  {value}"


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
