"""A tensor as a heat map, with a cursor, zoom and slices."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from ...commands import CommandError
from .heat_picture import MARGIN, Picture
from .slices import region_of
from .view import View, ViewKey

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from ....compare.inspection.heat import HeatMap, HeatPlan, Quantity, Range
    from ...present.pieces import Pieces
    from ..stage import Stage


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
        ViewKey("enter", "enter,plus", "zoom in", "zoom in", 6),
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
        return max(1, self.size.height - 6), max(1, self.size.width - MARGIN - 2)

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
            raise CommandError(f"two different axes from 0 to {count - 1} expected")
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
        return [*lines, *Picture(self.look, heat, self.cursor, self._room).lines()]

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
