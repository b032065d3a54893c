"""Drawing a part of both sides, element by element, and their difference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.style import Style

    from ....capture.values import Array
    from ....compare.inspection.window import Form, Window
    from ....compare.model import Row
    from ....compare.recipes.errors import Shape
    from ...present.pieces import Piece, Pieces
    from ...theme import Look

INDEX = 8  # columns of the row's index
CELLS: dict[Form, int] = {"scientific": 12, "fixed": 13, "bits": 10}  # columns of a number


def grid_axes(shape: Shape) -> tuple[int | None, int | None]:
    """Which axes are rows and columns: the last two that are longer than 1."""
    long = [axis for axis, size in enumerate(shape) if size > 1][-2:]
    columns = long[-1] if long else (len(shape) - 1 if shape else None)
    return (long[0] if len(long) == 2 else None), columns


@dataclass(frozen=True)
class ValueGrids:
    """A window of which the axes `rows` and `columns` (of the view; None: one line, one column) are
    drawn; `focus` is an element that is marked, beside the greatest difference.
    """

    look: Look
    window: Window
    rows: int | None
    columns: int | None
    form: Form = "scientific"
    focus: tuple[int, ...] | None = None

    def parts(self, row: Row | None) -> list[tuple[str, list[Pieces]]]:
        """Title and lines of either side and of the difference, as far as they are there."""
        window = self.window
        records = (row.reference, row.candidate) if row is not None else (None, None)
        dtypes = [record.dtype or "" if record is not None else "" for record in records]
        parts = (
            ("reference", window.reference, window.reference_bits, dtypes[0]),
            ("candidate", window.candidate, window.candidate_bits, dtypes[1]),
            ("candidate - reference", window.difference, None, ""),
        )
        return [
            (title, self._lines(values, bits, dtype))
            for title, values, bits, dtype in parts
            if values is not None
        ]

    @property
    def _cell(self) -> int:
        return CELLS[self.form]

    def _lines(self, values: Array, bits: Array | None, dtype: str) -> list[Pieces]:
        window = self.window
        columns = values.shape[self.columns] if self.columns is not None else 1
        rows = values.reshape(-1, columns) if values.size else values.reshape(0, max(columns, 1))
        raw = None if bits is None or self.form != "bits" else bits.reshape(rows.shape)
        first_row = window.region[self.rows][0] if self.rows is not None else 0
        first = window.region[self.columns][0] if self.columns is not None else 0
        head = "".join(f"{first + at:>{self._cell}}" for at in range(columns))
        lines: list[Pieces] = [[(" " * (INDEX + 1), None), (head, self.look.palette.muted)]]
        for at in range(rows.shape[0]):
            index = str(first_row + at) if self.rows is not None else ""
            pieces: list[Piece] = [(f" {index:>{INDEX - 1}} ", self.look.palette.muted)]
            for column in range(columns):
                text = self._text(rows, raw, dtype, at, column)
                style = self._style(first_row + at, first + column)
                pieces.append((f"{text:>{self._cell}}", style))
            lines.append(pieces)
        return lines

    def _text(self, rows: Array, raw: Array | None, dtype: str, row: int, column: int) -> str:
        from ....compare.inspection.window import bits_text, element_text

        shown = self.window.shown
        if shown is not None and not shown.reshape(rows.shape)[row, column]:
            return "..."  # a partial dump does not have it
        if raw is not None:
            return bits_text(raw[row, column], dtype)
        return element_text(rows[row, column], self.form)[: self._cell - 1]

    def _style(self, row: int, column: int) -> Style | None:
        """The greatest difference in view, and the element that was asked for, are marked."""

        def is_at(index: tuple[int, ...] | None) -> bool:
            if index is None:
                return False
            same_row = self.rows is None or index[self.rows] == row
            return same_row and (self.columns is None or index[self.columns] == column)

        worst = self.window.worst
        if is_at(self.focus):
            return self.look.palette.cursor
        if worst is None:
            return None
        places = zip(self.window.region, worst, strict=True)
        absolute = tuple(low + at for (low, _), at in places)
        return self.look.style("diverged") if is_at(absolute) else None
