"""How many heads the rankings of the pair screen have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .shapes import shape_of

if TYPE_CHECKING:
    from ...compare.comparison import Comparison
    from ..scene import Scene


class Heads:
    """`chosen` is what `:heads N` said, for all rows; else each row has what its records show."""

    def __init__(self) -> None:
        self.chosen: int | None = None
        self._width: tuple[Comparison, int | None] | None = None  # of one, as a comparison shows

    def of(self, scene: Scene | None) -> int | None:
        """Heads of the last axis; None where there are none, or nothing says so."""
        if self.chosen is not None or scene is None:
            return self.chosen
        from ...compare.inspection.head_count import head_width, heads_of_row

        if self._width is None or self._width[0] is not scene.comparison:
            self._width = (scene.comparison, head_width(scene.comparison))
        shape = scene.numbers.shape if scene.numbers is not None else shape_of(scene)
        return heads_of_row(scene.row, shape, self._width[1])
