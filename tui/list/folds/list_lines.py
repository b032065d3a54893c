"""The lines of the list: every row that is shown is on exactly one, alone or folded with others."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

Kind = Literal["row", "gaps", "module", "layer"]
# What starts folded: layers where the list is longer than the screen, always, or nothing.
Start = Literal["auto", "layers", "none"]
KINDS: tuple[Kind, ...] = ("row", "gaps", "module", "layer")


@dataclass(frozen=True)
class ListLines:
    """`rows` are the numbers of the rows shown, in order; a *place* is an index into them, a *line*
    one into the lines. `starts` are the places at which lines begin, `kinds` what each is (an index
    into `KINDS`); None: every row has a line of its own.
    """

    rows: Sequence[int] = range(0)
    starts: NDArray[np.intp] | None = None
    kinds: NDArray[np.int8] | None = None

    def __len__(self) -> int:
        return len(self.rows) if self.starts is None else len(self.starts)

    def places(self, line: int) -> range:
        """The places of the rows on a line."""
        if self.starts is None:
            return range(line, line + 1)
        end = self.starts[line + 1] if line + 1 < len(self.starts) else len(self.rows)
        return range(int(self.starts[line]), int(end))

    def members(self, line: int) -> Sequence[int]:
        """The numbers of the rows on a line."""
        places = self.places(line)
        return self.rows[places.start : places.stop]

    def first(self, line: int) -> int:
        """The number of the first row on a line."""
        return self.rows[line if self.starts is None else int(self.starts[line])]

    def kind(self, line: int) -> Kind:
        return "row" if self.kinds is None else KINDS[self.kinds[line]]

    def line_at(self, place: int) -> int:
        """The line that has the row at a place."""
        if self.starts is None:
            return place
        return max(0, int(self.starts.searchsorted(place, side="right")) - 1)


def any_between(numbers: Sequence[int], view: Sequence[int], places: range) -> bool:
    """Whether any of `numbers`, in order, is from the first to the last of the rows at `places`."""
    at = bisect_left(numbers, view[places.start])
    return at < len(numbers) and numbers[at] <= view[places.stop - 1]
