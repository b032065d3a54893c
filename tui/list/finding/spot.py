"""Where the list is, to come back to when a search is given up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..folds.folding import Folded


@dataclass(frozen=True)
class Spot:
    """A row on a line of the screen, and what was folded around it."""

    row: int
    line: int
    folds: Folded | None
