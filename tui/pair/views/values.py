"""Both sides element by element, and their difference, scrolled as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ...present.pieces import Piece, Pieces
from ...present.text import fit
from .slices import region_of
from .value_grids import CELLS, INDEX, ValueGrids, grid_axes
from .view import View, ViewKey

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from ....compare.inspection.heat import Range
    from ....compare.inspection.window import Form, Window
    from ..stage import Stage


@dataclass(frozen=True)
class _Grid:
    """A region of the view, the axes that are rows and columns, and where the screen begins."""

    region: tuple[Range, ...]
    rows: int | None
    columns: int | None
    row: int = 0
    column: int = 0


class ValuesView(View):
    """Two grids and their difference; `:slice` picks a part, `s` the form of numbers."""

    NAME = "values"
    title = "Values"
    about = "both sides element by element"
    KEYS = (
        ViewKey("enter", "enter,plus", "to the greatest", "to the greatest difference", 6),
        ViewKey("order", "s", "other form", "form of numbers", 8),
    )
    COMMANDS = ("slice",)
    BROUGHT_BY = frozenset({"slice"})
    SCROLLS = False
    needs_pair: ClassVar[bool] = False

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.form: Form = "scientific"
        self._grid: _Grid | None = None
        self.window: Window | None = None
        self._focus: tuple[int, ...] | None = None  # an element that was asked for

    def scene_changed(self) -> None:
        self._grid = self.window = self._focus = None

    # What is shown

    @property
    def grid(self) -> _Grid | None:
        shape = self.shape
        if self._grid is None and shape is not None:
            numbers = self.scene.numbers if self.scene is not None else None
            place = numbers.max_abs_index if numbers is not None else None
            self._grid = self._grid_at(shape, place or tuple(0 for _ in shape), start=True)
        return self._grid

    def _grid_at(self, shape: tuple[int, ...], index: tuple[int, ...], start: bool) -> _Grid:
        """The last two axes longer than 1 as rows and columns, the others fixed at `index`; what
        is asked for stands in the grid, its first element where `start`.
        """
        rows, columns = grid_axes(shape)
        region = tuple(
            (0, size) if axis in (rows, columns) else (index[axis], min(size, index[axis] + 1))
            for axis, size in enumerate(shape)
        )
        if start:
            return _Grid(region, rows, columns)
        return self._scrolled_to(_Grid(region, rows, columns), index)

    def _scrolled_to(self, grid: _Grid, index: tuple[int, ...]) -> _Grid:
        height, width = self._room
        row = index[grid.rows] - grid.region[grid.rows][0] if grid.rows is not None else 0
        column = index[grid.columns] - grid.region[grid.columns][0] if (
            grid.columns is not None
        ) else 0  # fmt: skip
        return self._clamped(grid, row - height // 2, column - width // 2)

    def _clamped(self, grid: _Grid, row: int, column: int) -> _Grid:
        height, width = self._room
        most_rows, most_columns = self._extent(grid)
        return _Grid(
            grid.region, grid.rows, grid.columns,
            max(0, min(row, most_rows - height)), max(0, min(column, most_columns - width)),
        )  # fmt: skip

    @staticmethod
    def _extent(grid: _Grid) -> tuple[int, int]:
        """Rows and columns of the whole slice."""
        return tuple(
            1 if axis is None else grid.region[axis][1] - grid.region[axis][0]
            for axis in (grid.rows, grid.columns)
        )  # type: ignore[return-value]

    @property
    def _parts(self) -> int:
        """How many grids there are."""
        return 3 if self.scene is not None and self.scene.row.kind == "pair" else 1

    @property
    def _beside(self) -> bool:
        """Grids beside one another where that shows more elements than one below the other."""
        if self._parts == 1 or self._grid is None:
            return self._parts == 1
        extent = self._extent(self._grid)
        shown = [
            min(rows, extent[0]) * min(columns, extent[1])
            for rows, columns in (self._room_for(False), self._room_for(True))
        ]
        return shown[1] > shown[0]

    @property
    def _cell(self) -> int:
        return CELLS[self.form]

    @property
    def _room(self) -> tuple[int, int]:
        """Elements that fit: rows of each grid, columns of each."""
        return self._room_for(self._beside)

    def _room_for(self, beside: bool) -> tuple[int, int]:
        parts = self._parts
        if beside:
            width = (self.size.width - INDEX - 2) // parts - 2
            return max(1, self.size.height - 3), max(1, width // self._cell)
        height = (self.size.height - 1) // parts - 2
        return max(1, height), max(1, (self.size.width - INDEX - 2) // self._cell)

    def ask(self) -> None:
        from ....compare.inspection.window import read_window

        grid = self.grid
        subject = self.subject()
        if grid is None or subject is None or not self.size.height:
            return
        height, width = self._room
        region = list(grid.region)
        for axis, at, most in ((grid.rows, grid.row, height), (grid.columns, grid.column, width)):
            if axis is not None:
                low, high = grid.region[axis]
                region[axis] = (low + at, min(high, low + at + most))
        wanted = tuple(region)
        if self.window is not None and self.window.region == wanted:
            return
        self.read(("window", wanted), subject, lambda reader, _: read_window(reader, wanted))

    def found(self, key: Hashable, result: Any, final: bool) -> None:
        self.window = result

    def on_resize(self) -> None:
        if self.scene is not None and self.display and self._grid is not None:
            self._grid = self._clamped(self._grid, self._grid.row, self._grid.column)
            self.ask()
            self.draw()

    # Keys and commands

    @property
    def actions(self) -> dict[str, Callable[[], str]]:
        return {"enter": self.enter, "order": self.cycle_form}

    @property
    def commands(self) -> dict[str, Callable[[str], str]]:
        return {"slice": self.set_slice}

    def move(self, lines: int) -> None:
        self._scroll_by(lines, 0)

    def page(self, pages: float) -> None:
        self._scroll_by(int(pages * self._room[0]), 0)

    def to_top(self) -> None:
        self._scroll_by(-(10**12), 0)

    def to_bottom(self) -> None:
        self._scroll_by(10**12, 0)

    def sideways(self, columns: int) -> bool:
        step = max(1, self._room[1] - 1) if abs(columns) > 1 else 1
        self._scroll_by(0, step if columns > 0 else -step)
        return True

    def _scroll_by(self, rows: int, columns: int) -> None:
        grid = self.grid
        if grid is not None:
            self._grid = self._clamped(grid, grid.row + rows, grid.column + columns)
            self._asked()

    def enter(self) -> str:
        """To the greatest difference of the tensor."""
        numbers = self.scene.numbers if self.scene is not None else None
        if numbers is None or numbers.max_abs_index is None:
            return "no greatest difference is known"
        self.go_to(numbers.max_abs_index)
        return "the greatest difference"

    def go_to(self, index: tuple[int, ...]) -> None:
        """Show an element, marked."""
        shape = self.shape
        if shape is not None and len(index) == len(shape):
            self._grid = self._grid_at(shape, index, start=False)
            self._focus = index
            self._asked()

    def cycle_form(self) -> str:
        from ....compare.inspection.window import FORMS

        self.form = FORMS[(FORMS.index(self.form) + 1) % len(FORMS)]
        grid = self.grid
        if grid is not None:
            self._grid = self._clamped(grid, grid.row, grid.column)
        self._asked()
        return {"bits": "bits in hexadecimal"}.get(self.form, f"{self.form} notation")

    def set_slice(self, text: str) -> str:
        """`:slice 0,:,128:160`: two axes at most stay open, the others are fixed."""
        from ....compare.inspection.window import region_text

        shape = self.shape
        if shape is None:
            return "not known yet: still reading"
        region, fixed = region_of(text, shape)
        open_axes = [axis for axis in range(len(shape)) if not fixed[axis] and shape[axis] > 1]
        for axis in open_axes[:-2]:
            region = (*region[:axis], (region[axis][0], region[axis][0] + 1), *region[axis + 1 :])
        kept = open_axes[-2:]
        columns = kept[-1] if kept else (len(shape) - 1 if shape else None)
        rows = kept[0] if len(kept) == 2 else None
        self._grid, self._focus = _Grid(region, rows, columns), None
        self._asked()
        return f"[{region_text(region, shape)}]"

    def _asked(self) -> None:
        self.ask()
        self.draw()
        self.stage.say_place()

    def context(self) -> str:
        from ....compare.inspection.window import region_text

        window, shape = self.window, self.shape
        if window is None or shape is None:
            return ""
        where = f"[{region_text(window.region, shape)}] of {list(shape)}"
        if window.worst is None or window.difference is None:
            equal = "" if window.difference is None else "  equal in view"
            return where + equal
        from ....compare.reports.words import index_text

        index = tuple(low + at for (low, _), at in zip(window.region, window.worst, strict=True))
        value = window.difference[window.worst]
        odd = window.odd is not None and window.odd[window.worst]
        shown = "NaN or Inf on one side only" if odd else f"{abs(value):.4g}"
        return f"{where}  greatest in view {shown} at {index_text(index)}"

    # Drawing

    def lines(self) -> list[Pieces]:
        state = self.state_lines()
        window = self.window
        if window is None or self.failure is not None:
            return state or [[(" looking", self.look.palette.muted)]]
        grid = self._grid
        assert grid is not None
        drawn = ValueGrids(self.look, window, grid.rows, grid.columns, self.form, self._focus)
        grids = drawn.parts(self.scene.row if self.scene is not None else None)
        if not self._beside:
            return [*state, *(line for title, lines in grids
                              for line in (self.heading(title), *lines))]  # fmt: skip
        width = (self.size.width - INDEX - 2) // len(grids) - 2
        heads: list[Piece] = [(" " * (INDEX + 1), None)]
        heads += [(fit(title, width) + "  ", self.look.palette.heading) for title, _ in grids]
        merged: list[Pieces] = [*state, heads]
        for at in range(max(len(lines) for _, lines in grids)):
            pieces: list[Piece] = []
            for number, (_, lines) in enumerate(grids):
                line = list(lines[at]) if at < len(lines) else []
                if number:
                    line = line[1:]  # the row's index stands once
                used = sum(len(text) for text, _ in line) - (0 if number else INDEX + 1)
                pieces += [*line, (" " * max(2, width + 2 - used), None)]
            merged.append(pieces)
        return merged
