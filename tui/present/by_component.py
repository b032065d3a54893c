"""The table of `:by component`: what each kind of module adds to the error that it inherits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...compare.measuring.metrics import METRICS
from ...compare.model import Measurement
from ...compare.reports.component_growth import ComponentGrowth, growth_by_component
from ...compare.reports.law_words import short_module
from ..theme import LOOKS
from .laws import times_text
from .text import clean, elide, metric_number

if TYPE_CHECKING:
    from ...compare.comparison import Comparison
    from ..theme import Look
    from .pieces import Pieces

_NAME, _NUMBER, _PLACE = 23, 7, 10
_ABOUT = (
    "Errors relative to those of what a record is made from, or to rounding where that is more: 1x "
    "adds nothing. The greatest first, with its row, and how many rows did not pass."
)


def component_lines(comparison: Comparison, look: Look) -> list[Pieces]:
    """A line for each component. Needs all pairs measured."""
    palette = look.palette
    second = METRICS["relative_l2"].heading
    heading = (
        f"  {'component':<{_NAME}} {'rows':>4}  {'median':<{_NUMBER}}{'worst':<{_NUMBER}}"
        f"{'in':<{_PLACE}}{'row':>6}  {second:<{_NUMBER}} "
    )
    lines: list[Pieces] = [[(f" {_ABOUT}", palette.muted)], [], [(heading, palette.heading)]]
    return lines + [_line(comparison, each, look) for each in growth_by_component(comparison)]


def _line(comparison: Comparison, growth: ComponentGrowth, look: Look) -> Pieces:
    dots, row = look.signs.dots, growth.worst_row
    name = elide(clean(growth.name, look.terminal.ascii), _NAME, dots)
    median, worst, place, number, error = "-", "-", "", "", ""
    if row is not None and growth.median is not None and growth.worst is not None:
        median, worst = times_text(growth.median, 1.0), times_text(growth.worst, 1.0)
        level = comparison.verdicts[row].level
        worst = LOOKS[level].word[: _NUMBER - 1] if level in ("nan", "shape") else worst
        place, number = _place(comparison, row, look), str(row)
        result = comparison.measurements[row]
        permuted = comparison.verdicts[row].permuted  # whose number is that of the wrong order
        if isinstance(result, Measurement) and not (result.nonfinite_mismatch or permuted):
            error = metric_number("relative_l2", result.relative_l2)
    told = [f"{look.glyph(level)}{count}" for level, count in growth.told]
    told += [f"{growth.doubtful} doubtful"] if growth.doubtful else []
    style = None if growth.level is None else look.style(growth.level)
    return [
        (f"  {name} {growth.rows:>4}  {median:<{_NUMBER}}", None),
        (f"{worst:<{_NUMBER}}", style),
        (f"{elide(place, _PLACE - 1, dots)} {number:>6}  {error:<{_NUMBER}} ", None),
        (" ".join(told), style),
    ]


def _place(comparison: Comparison, row: int, look: Look) -> str:
    """`L3`, with the step where there are several; a module outside the layers by its name."""
    found = comparison.rows[row]
    name = short_module(found.canonical)
    layer = name.partition(" ")[0] if name != found.canonical else name
    stepped = comparison.reference.records and comparison.rows[-1].step != comparison.rows[0].step
    return clean(f"s{found.step} {layer}" if stepped else layer, look.terminal.ascii)
