"""Lines of textual that hold no reference to themselves.

A `Strip` remembers what it was divided and cropped into; where that is all of it, itself. Such a
circle is freed by a full collection only, and objects that are frozen while work rests (see
`capture.interpreter.garbage`) never: each reading of the captures would leave a screenful behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.strip import Strip

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.style import Style

_usual_divide, _usual_crop_extend = Strip.divide, Strip.crop_extend


def _divide(self: Strip, cuts: Iterable[int]) -> Sequence[Strip]:
    cuts = [cut for cut in cuts if cut <= self.cell_length]
    return [self] if cuts == [self.cell_length] else _usual_divide(self, cuts)


def _crop_extend(self: Strip, start: int, end: int, style: Style | None) -> Strip:
    whole = start <= 0 and end == self.cell_length
    return self if whole else _usual_crop_extend(self, start, end, style)


def keep_no_circles() -> None:
    """From now on, in this process. What the methods return stays the same."""
    Strip.divide, Strip.crop_extend = _divide, _crop_extend
