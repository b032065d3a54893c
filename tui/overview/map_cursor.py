"""Moving about the map: by cells, and to those that fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .cells import Cell, Key, LayerMap


@dataclass(frozen=True)
class MapCursor:
    """Where the cursor of a map is; every move gives another place, inside the map."""

    found: LayerMap

    def start(self, row_key: Key | None) -> Key:
        """The cell of the list's row, else the first whose error was made there, else the first
        that fails, else the first.
        """
        if row_key is not None:
            return row_key
        cells = self.found.cells
        for wanted in (self.found.is_off, lambda cell: cell.fails, lambda cell: True):
            for key in self.found.in_order:
                if wanted(cells[key]):
                    return key
        return (0, 0)

    def moved(self, key: Key, down: int, right: int) -> Key:
        """So many cells away, or as far as the map goes."""
        last = len(self.found.components) - 1, len(self.found.layers) - 1
        component, layer = (
            max(0, min(end, at + step))
            for at, step, end in zip(key, (down, right), last, strict=True)
        )
        return component, layer

    def next_of(self, key: Key, direction: int, wanted: Callable[[Cell], bool]) -> Key | None:
        """In execution order the next cell after the cursor, or the last before it, that is wanted;
        None where there is none.
        """
        found, cells = self.found.in_order, self.found.cells
        here = cells[key].row if key in cells else self._row_at(key)
        after = [each for each in found if direction * (cells[each].row - here) > 0]
        ordered = after if direction > 0 else after[::-1]
        return next((each for each in ordered if wanted(cells[each])), None)

    def _row_at(self, key: Key) -> int:
        """Where in the order an empty cell would be: behind all of the layers before it."""
        cells = self.found.cells
        return max((cell.row for at, cell in cells.items() if at[1] < key[1]), default=-1)
