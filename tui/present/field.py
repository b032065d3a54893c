"""One labelled line of the panes that describe a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...compare.vocabulary import Level


@dataclass(frozen=True)
class Field:
    """`level` colours the value."""

    label: str
    value: str
    level: Level | None = None
