"""What is known of records that several ranks wrote, and how they became one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Joined:
    """How a record was put together from those of several ranks: the way in the words of rules
    files, why so, and the shapes that the ranks have. `apart` is a way, too.
    """

    name: str
    step: int
    ranks: tuple[str, ...]
    way: str
    why: str
    shapes: tuple[tuple[int, ...], ...]

    @property
    def words(self) -> str:
        """`concat -1 of 8 ranks: by its dims`."""
        return f"{self.way} of {len(self.ranks)} ranks: {self.why}"


@dataclass(frozen=True, slots=True)
class UnequalRank:
    """A record that should be the same on all ranks: the rank that has other values, and what they
    were held against. `row` is the first that differs (elements along the last axis, counted over
    all other axes), `rows` how many do; None where that was not looked at.
    """

    name: str
    rank: str
    against: str
    row: int | None = None
    rows: int | None = None

    @property
    def where(self) -> str:
        """`rank3 differs from the others in row 5`."""
        rows = "" if self.row is None else f" in row {self.row}"
        if self.rows is not None and self.rows > 1:
            rows = f" in {self.rows} rows, from row {self.row} on"
        return f"{self.rank} differs from {self.against}{rows}"
