"""The map: layers by components, as bars with a cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from .cells import layer_map
from .map_cursor import MapCursor
from .map_picture import MapPicture, Window
from .map_words import cell_words, state_words
from .overview_screen import OverviewScreen, Picture, bindings_for
from .quantities import quantities

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.binding import BindingType

    from ...compare.comparison import Comparison
    from ..present.pieces import Pieces
    from ..theme import Look
    from ..work_screen import ScreenHost
    from .cells import Cell, Key, LayerMap
    from .quantities import Quantity

_FAR = 1_000_000  # further than any map goes


class MapScreen(OverviewScreen, inherit_bindings=False):
    """Which component of which layer is off."""

    BINDINGS: ClassVar[list[BindingType]] = bindings_for("map")
    SCOPE = "map"

    def __init__(self, host: ScreenHost) -> None:
        super().__init__(host)
        self.found: LayerMap | None = None
        self.cursor: Key = (0, 0)
        self._window = Window()
        self._room: tuple[int, int] | None = None  # components and layers that fit
        self._quantity = 0

    # What it is a picture of

    def make(self, comparison: Comparison) -> LayerMap:
        return layer_map(comparison, self.session.metric)

    def take(self, comparison: Comparison, made: LayerMap) -> None:
        first, self.found = self.found is None, made
        if first:
            row = self.row
            key = None if row is None else made.key_of(comparison.rows[row])
            self.cursor = MapCursor(made).start(key)
        else:
            self.cursor = MapCursor(made).moved(self.cursor, 0, 0)

    @property
    def made(self) -> bool:
        return self.found is not None

    @property
    def quantity(self) -> Quantity:
        return quantities(self.session.metric)[self._quantity]

    # Drawing

    def title_words(self) -> str:
        return self.whole_title() + self._part

    def whole_title(self) -> str:
        return f"Map: {self.quantity.title}: {self.quantity.about}"

    def state(self) -> str:
        return "" if self.found is None else state_words(self.found)

    def picture(self, width: int, height: int) -> tuple[list[Pieces], Pieces]:
        assert self.found is not None
        if not self.found.cells:
            return [[(" no outputs are paired", None)]], []
        drawn = MapPicture(self.look, self.found, self.quantity, width, height)
        self._room = drawn.room
        self._window = self._window.around(self.cursor, drawn.room)
        return drawn.lines(self._window, self.cursor), drawn.legend()

    def whole_picture(self, look: Look) -> tuple[list[Pieces], Pieces]:
        assert self.found is not None
        drawn = MapPicture.whole(look, self.found, self.quantity)
        return drawn.lines(Window(), self.cursor), drawn.legend()

    def here(self) -> str:
        if self.found is None or self._of is None or not self.found.cells:
            return ""
        return cell_words(self._of, self.found, self.cursor)

    @property
    def _part(self) -> str:
        """Which components and layers are on the screen, where that is not all of them."""
        if self.found is None or self._room is None:
            return ""
        parts: list[str] = []
        for name, first, size, total in zip(
            ("components", "layers"), (self._window.component, self._window.layer), self._room,
            (len(self.found.components), len(self.found.layers)), strict=True,
        ):  # fmt: skip
            if size < total:
                parts.append(f"{name} {first + 1} to {min(first + size, total)} of {total}")
        return "".join(f"  {part}" for part in parts)

    @property
    def place(self) -> object:
        return self.cursor, self._quantity

    # Keys

    def row_here(self) -> int | None:
        cell = None if self.found is None else self.found.cells.get(self.cursor)
        return None if cell is None else cell.row

    def action_move(self, lines: int) -> None:
        self._step(lines, 0)

    def action_page(self, pages: float) -> None:
        self._step(int(pages * max(2, self.query_one(Picture).size.height)), 0)

    def action_to_top(self) -> None:
        self._step(-_FAR, 0)

    def action_to_bottom(self) -> None:
        self._step(_FAR, 0)

    def action_layer(self, layers: int) -> None:
        self._step(0, layers)

    def action_quantity(self) -> None:
        """The next of error, local error, ratio and verdict."""
        self._quantity = (self._quantity + 1) % len(quantities(self.session.metric))
        self.show()

    def action_divergence(self, direction: int) -> None:
        self._seek(direction, lambda cell: cell.fails, "no divergence")

    def action_made(self, direction: int) -> None:
        self._seek(direction, lambda cell: cell.made, "no introduced divergence")

    def _seek(self, direction: int, wanted: Callable[[Cell], bool], nothing: str) -> None:
        if self.found is None:
            return
        key = MapCursor(self.found).next_of(self.cursor, direction, wanted)
        if key is None:
            self.say(f"{nothing} {'below' if direction > 0 else 'above'}")
        else:
            self.cursor = key
            self.show()

    def _step(self, down: int, right: int) -> None:
        if self.found is not None and self.found.cells:
            self.cursor = MapCursor(self.found).moved(self.cursor, down, right)
            self.show()
