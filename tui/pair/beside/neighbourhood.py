"""The elements around one of the greatest differences, on both sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..views.value_grids import CELLS, INDEX, ValueGrids, grid_axes

if TYPE_CHECKING:
    from ....compare.inspection.heat import Region
    from ....compare.inspection.window import Window
    from ....compare.model import Row
    from ....compare.recipes.errors import Shape
    from ...present.pieces import Pieces
    from ...theme import Look

_PARTS = 3  # reference, candidate, difference
_MOST_ROWS = 9  # of each: four neighbours either way
_MOST_COLUMNS = 7


@dataclass(frozen=True)
class Neighbourhood:
    """The part of a view around `index`: the last two axes longer than 1 are its rows and columns,
    the others are fixed. It is moved to lie inside the tensor.
    """

    index: tuple[int, ...]
    region: Region
    rows: int | None
    columns: int | None


def block_width(columns: int) -> int:
    """Columns of the terminal that so many columns of elements take."""
    return INDEX + 1 + columns * CELLS["scientific"]


def around(
    shape: Shape, index: tuple[int, ...], width: int, height: int
) -> Neighbourhood | None:  # fmt: skip
    """As much of it as fits `width` columns and `height` lines; None where not even one row of
    each part does.
    """
    most_rows = min(_MOST_ROWS, (height - 1) // _PARTS - 2)
    most_columns = min(_MOST_COLUMNS, (width - INDEX - 1) // CELLS["scientific"])
    if most_rows < 1 or most_columns < 1 or len(index) != len(shape):
        return None
    rows, columns = grid_axes(shape)
    region = [(at, at + 1) for at in index]
    for axis, most in ((rows, most_rows), (columns, most_columns)):
        if axis is not None:
            size = min(most, shape[axis])
            first = max(0, min(index[axis] - size // 2, shape[axis] - size))
            region[axis] = (first, first + size)
    return Neighbourhood(index, tuple(region), rows, columns)


def neighbourhood_lines(
    look: Look, row: Row, place: Neighbourhood, window: Window
) -> list[Pieces]:  # fmt: skip
    """Either side and the difference below one another, the element itself marked."""
    from ....compare.reports.words import index_text

    lines: list[Pieces] = [[(f" Around {index_text(place.index)}", look.palette.heading)]]
    grids = ValueGrids(look, window, place.rows, place.columns, focus=place.index)
    for title, part in grids.parts(row):
        lines += [[(f" {title}", look.palette.muted)], *part]
    return lines
