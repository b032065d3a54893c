"""Where layer blocks begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..folds.list_lines import ListLines
    from ..row_model import RowModel


def block_start(model: RowModel, lines: ListLines, cursor: int, direction: int) -> int | None:
    """The line at which the next block begins, or this one, and from there the one before."""

    def block(line: int) -> str:
        return model.block(lines.first(line))

    here = block(cursor)
    if direction > 0:
        return next((at for at in range(cursor + 1, len(lines)) if block(at) != here), None)
    start = cursor
    if start > 0 and block(start - 1) != here:  # at its start: the one before
        start -= 1
        here = block(start)
    while start > 0 and block(start - 1) == here:
        start -= 1
    return start if start != cursor else None
