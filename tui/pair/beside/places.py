"""Where in a tensor the difference lies: a small heat map; the worst tokens, channels, heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...present.text import clean, cut, wrap
from ..views.heat_picture import MARGIN, Picture

if TYPE_CHECKING:
    from ....compare.inspection.axes import AxisRanking
    from ....compare.inspection.heat import HeatMap, HeatPlan, Quantity
    from ....compare.inspection.running import Analysis
    from ....compare.model import Row
    from ....compare.recipes.errors import Shape
    from ...present.pieces import Pieces
    from ...theme import Look

MAP_LINES = 12  # a small map: as many lines as ten tokens and a margin take
_WORST = 4  # places of each axis
_AXES = 3  # the last ones: tokens, channels, and what may stand in front of them


@dataclass(frozen=True)
class Places:
    """The map, and the axes ranked; none where only one side has the record."""

    heat: HeatMap
    rankings: tuple[AxisRanking, ...] = ()


def places_analysis(
    shape: Shape, quantity: Quantity, heads: int | None, width: int, *, paired: bool
) -> Analysis[Any]:
    """Finds what `places_of` takes, in one pass."""
    from ....compare.inspection.axes import AxesAnalysis
    from ....compare.inspection.heat import HeatAnalysis
    from ....compare.inspection.running import Several

    heat = HeatAnalysis(small_plan(shape, quantity, width))
    return Several(heat, AxesAnalysis(shape, heads)) if paired else Several(heat)


def places_of(result: tuple[Any, ...]) -> Places:
    """What the analysis found so far."""
    return Places(result[0], result[1] if len(result) > 1 else ())


def small_plan(shape: Shape, quantity: Quantity, width: int) -> HeatPlan:
    """The whole tensor, on as many cells as `width` columns have."""
    from ....compare.inspection.heat import HeatPlan, default_axes

    rows, columns = default_axes(shape)
    region = tuple((0, size) for size in shape)
    return HeatPlan(quantity, region, rows, columns, MAP_LINES, max(1, width - MARGIN - 2))


def places_lines(look: Look, row: Row, shape: Shape, found: Places, width: int) -> list[Pieces]:
    """A block of `width` columns: the map with its legend, then a few lines for each axis."""
    lines = _map_lines(look, shape, found.heat, width)
    for ranking in _telling(found.rankings):
        lines += [[], *_ranking_lines(look, row, len(shape), ranking, width)]
    return lines


def _map_lines(look: Look, shape: Shape, heat: HeatMap, width: int) -> list[Pieces]:
    from ....compare.inspection.heat_text import heat_legend

    title, *rest = heat_legend(heat, shape)
    dots, ascii_only = look.signs.dots, look.terminal.ascii
    lines: list[Pieces] = [[(cut(clean(title, ascii_only), width, dots), look.palette.heading)]]
    lines += [[(part, None)] for text in rest for part in wrap(clean(text, ascii_only), width, 2)]
    if heat.values.size == 0:
        return lines
    room = heat.plan.height, heat.plan.width
    return [*lines, *Picture(look, heat, heat.peak or (0, 0), room).lines()]


def _telling(rankings: tuple[AxisRanking, ...]) -> list[AxisRanking]:
    """Axes along which anything can be ranked, and heads."""
    axes = [each for each in rankings if each.groups is None][-_AXES:]
    heads = [each for each in rankings if each.groups is not None]
    return [each for each in (*axes, *heads) if each.size > 1]


def _ranking_lines(
    look: Look, row: Row, axes: int, ranking: AxisRanking, width: int
) -> list[Pieces]:
    from ....compare.inspection.axis_words import ranking_title
    from ....compare.inspection.top_text import axis_rows

    title = f"Worst {ranking_title(row, ranking, axes)}"
    found = ranking.concentration
    if found is not None:
        title += f": {found[1]:.0%} of the squared difference at {_place(ranking, found[0])}"
    lines: list[Pieces] = [[(cut(title, width, look.signs.dots), look.palette.heading)]]
    block = "#" if look.terminal.ascii else "█"
    for at, (_, rms, bar) in zip(ranking.order, axis_rows(ranking, _WORST), strict=False):
        head = f"  {_place(ranking, at):>12}  RMS {rms:<10}  "
        lines.append([(f"{head}{bar.replace('#', block)}", None)])
    return lines


def _place(ranking: AxisRanking, place: int) -> str:
    return ranking.label(place) if ranking.groups is None else f"head {place}"
