"""The error of every output in execution order, as a picture. matplotlib is imported on demand."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from math import isfinite, log10
from typing import TYPE_CHECKING, Any

from ...capture.extras import has_extra, needs
from ...capture.names import slot_role
from ..model import ByStatistics, Failure, Row, by_values
from .escaping import clean
from .summary import component_of

if TYPE_CHECKING:
    from ..comparison import Comparison

# Okabe and Ito's colours, told apart by colour-blind readers too.
_COLOURS = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#000000",
    "#999999", "#882255", "#44aa99", "#117733",
)  # fmt: skip
_WIDTH = 12.0  # inches, as those below
_LEGEND_MARK, _LETTER = 0.6, 0.068
_LONGEST_LABEL = 72
_MOST_KINDS = 24  # components with a colour of their own; the legend has room for no more


class PlotError(Exception):
    """matplotlib is not there; the message says how to get it."""


@dataclass(frozen=True, slots=True)
class Edge:
    """Rows without an MSE that a log axis can show, drawn at the edge of the picture."""

    label: str
    marker: str
    colour: str
    height: float  # share of the picture's height


EDGES: dict[str, Edge] = {
    "identical": Edge("identical (MSE 0)", "v", "#009e73", 0.03),
    "gap": Edge("gap (one side only)", "|", "#999999", 0.008),
    "statistics": Edge("by statistics: no MSE", "d", "#0072b2", 0.05),
    "unmeasured": Edge("not measured", "_", "#999999", 0.05),
    "nan": Edge("NaN or Inf", "x", "#d55e00", 0.97),
    "shape": Edge("shapes do not fit", "s", "#d55e00", 0.94),
    "unreadable": Edge("unreadable", "P", "#000000", 0.91),
}


@dataclass(frozen=True, slots=True)
class Point:
    """One row of the picture: `mse` on the log axis, or the key of the edge where it lies."""

    index: int
    component: str
    mse: float | None
    edge: str | None


def require_matplotlib() -> None:
    """Raise `PlotError` where matplotlib is not installed."""
    if not has_extra("plot"):
        raise PlotError(needs("plot", "plotting"))


def plot_points(comparison: Comparison) -> list[Point]:
    """A point for every row, gaps included, in execution order."""
    return [
        Point(row.index, component_of(row), *_place(comparison, position))
        for position, row in enumerate(comparison.rows)
    ]


def output_points(comparison: Comparison) -> list[Point]:
    """A point for every row of an output, gaps included, numbered in execution order. Inputs repeat
    what an earlier module gave, but for those of parts of a layer that a dump has as values of
    their own.
    """
    rows = comparison.rows
    points = [point for point in plot_points(comparison) if _is_output(rows[point.index])]
    return [replace(point, index=number) for number, point in enumerate(points)]


def _is_output(row: Row) -> bool:
    if row.role != "input":
        return True
    records = [record for record in (row.reference, row.candidate) if record is not None]
    own = any(slot_role(record.slot) != "input" for record in records)
    return own and component_of(row) != "layer"


def _place(comparison: Comparison, position: int) -> tuple[float | None, str | None]:
    row, level = comparison.rows[position], comparison.verdicts[position].level
    found = comparison.measurements[position]
    measurement = by_values(found)
    if row.kind != "pair":
        return None, "gap"
    if level in ("nan", "shape", "unreadable"):
        return None, level
    if isinstance(measurement, Failure):
        return None, "unreadable"
    if isinstance(found, ByStatistics):
        return None, "statistics"
    if measurement is None or measurement.mse is None or not isfinite(measurement.mse):
        return None, "unmeasured"
    return (measurement.mse, None) if measurement.mse > 0 else (None, "identical")


def draw_plot(comparison: Comparison, form: str = "png") -> bytes:
    """The picture as a file's content, `form` one of `png`, `svg`, `pdf`.

    Raises `PlotError` without matplotlib.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, 6), dpi=120)
    axes = figure.subplots()
    points = output_points(comparison)
    _draw_components(axes, points)
    _draw_edges(axes, points)
    _mark_first(axes, comparison)
    axes.set_xlim(-1, max(1, len(points)))
    axes.set_xlabel("output, in execution order")
    axes.set_ylabel("MSE")
    axes.set_title(
        _label(f"{comparison.reference.path}  against  {comparison.candidate.path}", 400), size=9
    )
    axes.grid(True, which="major", alpha=0.25)
    labels = axes.get_legend_handles_labels()[1]
    if labels:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False)
    # By the letters of the legend: matplotlib's own layouts draw the picture twice for that.
    legend = _LEGEND_MARK + _LETTER * max(map(len, labels), default=0)
    figure.subplots_adjust(left=0.07, right=1 - legend / _WIDTH, bottom=0.09, top=0.94)
    content = io.BytesIO()
    figure.savefig(content, format=form)
    return content.getvalue()


def _draw_components(axes: Any, points: list[Point]) -> None:
    """MSE above zero: a colour and a symbol for every component, faint line through all."""
    shown = [point for point in points if point.mse is not None]
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0e}")
    if not shown:
        axes.set_ylim(1e-16, 1.0)
        return
    values = [point.mse or 0.0 for point in shown]
    axes.plot([p.index for p in shown], values, color="#999999", linewidth=0.6, zorder=1)
    kinds = list(dict.fromkeys(point.component for point in shown))
    for number, component in enumerate(kinds[:_MOST_KINDS]):
        own = [point for point in shown if point.component == component]
        colour, marker = _COLOURS[number % len(_COLOURS)], "oD"[number // len(_COLOURS)]
        _scatter(axes, own, component, colour, marker)
    rest = kinds[_MOST_KINDS:]
    if rest:
        others = [point for point in shown if point.component in set(rest)]
        _scatter(axes, others, f"{len(rest)} other components", "#bbbbbb", "^")
    # Room above and below, so that no point lies where the edges' marks are.
    low, high = log10(min(values)), log10(max(values))
    span = max(high - low, 2.0)
    axes.set_ylim(10 ** max(low - 0.15 * span, -307.0), 10 ** min(high + 0.2 * span, 308.0))


def _scatter(axes: Any, points: list[Point], label: str, colour: str, marker: str) -> None:
    axes.scatter(
        [p.index for p in points], [p.mse for p in points], s=22, color=colour, marker=marker,
        zorder=2, label=_label(label),
    )  # fmt: skip


def _label(text: str, most: int = _LONGEST_LABEL) -> str:
    """Names come from files: no formulas (`$`), no leading `_`, which hides an entry."""
    plain = clean(text)
    plain = plain if len(plain) <= most else plain[: most - 3] + "..."
    plain = plain.replace("$", r"\$")
    return f" {plain}" if plain.startswith("_") else plain


def _draw_edges(axes: Any, points: list[Point]) -> None:
    """Rows that a log axis cannot show, at their place on the x axis and a fixed height."""
    for key, edge in EDGES.items():
        own = [point.index for point in points if point.edge == key]
        if own:
            axes.scatter(
                own, [edge.height] * len(own), s=34, marker=edge.marker, color=edge.colour,
                transform=axes.get_xaxis_transform(), label=edge.label, zorder=3, clip_on=False,
            )  # fmt: skip


def _mark_first(axes: Any, comparison: Comparison) -> None:
    first = comparison.first_divergence()
    if first is not None:
        place = sum(map(_is_output, comparison.rows[: first.index]))
        axes.axvline(
            place, color="#d55e00", linewidth=1.0, linestyle="--", zorder=0,
            label=_label(f"first divergence: {first.module}"),
        )  # fmt: skip
