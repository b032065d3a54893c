"""The notes on the rows of one comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..model import Row


@dataclass(frozen=True, slots=True)
class RowNotes:
    """What was written, by `record_of` a row, and in which file each stands (`places`). `elsewhere`
    counts notes of other captures in these files; `problems` says in a line each which files could
    not be read.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)
    elsewhere: int = 0
    problems: tuple[str, ...] = ()

    def text(self, row: Row) -> str:
        """The note on a row; empty where there is none."""
        return self.texts.get(record_of(row), "") if self.texts else ""


def record_of(row: Row) -> str:
    """What a note calls a row: `layers.0.mlp-output`, with the step."""
    return f"{row.label} step {row.step}" if row.step else row.label
