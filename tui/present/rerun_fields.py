"""What a rerun found of a row, for the pane beside the list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .field import Field

if TYPE_CHECKING:
    from ...compare.comparison import Comparison
    from ..jobs.rerun_job import Reruns


def rerun_fields(reruns: Reruns, comparison: Comparison, row: int) -> list[Field]:
    """The three errors and what they show; nothing where the row was not rerun."""
    found = reruns.result(comparison, row)
    if found is None:
        return []
    if found.problem is not None:
        return [Field("rerun", found.problem)]
    from ...compare.model import by_values
    from ...compare.rerun.report import error_text

    entire = by_values(comparison.measurements[row])
    cells = (("entire", entire), ("inputs", found.inputs), ("single", found.single))
    errors = "  ".join(f"{word} {error_text(cell, 'relative_l2')}" for word, cell in cells)
    return [Field("rerun", errors), Field("", reruns.sentence(comparison, row))]
