"""How many ranks there are in all, as another capture shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Extent:
    """`count` is the number of ranks in all, `first` the place among them of the rank that has the
    lowest number. `shown` says what shows it.
    """

    count: int
    first: int
    shown: str

    def missing(self, numbers: Sequence[int]) -> list[int]:
        """Numbers of ranks that are not among those that are there; numbers that are merely not in
        sequence miss none.
        """
        if self.count == len(numbers):
            return []
        begin = min(numbers) - self.first
        return [n for n in range(begin, begin + self.count) if n not in numbers]
