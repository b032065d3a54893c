"""The error of every row in execution order, as SVG that stands inside a page. No matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from math import floor, isfinite, log10

from ....comparison import Comparison
from ....measuring.metrics import METRICS
from ...escaping import clean
from ...plot import EDGES, Point, plot_points
from ...row_report import RowReport

_WIDTH, _HEIGHT = 1100, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 14, 34
_MOST_TITLES = 4000  # rows with a tip of their own; a page of more would be heavy


def picture(
    comparison: Comparison, rows: Sequence[RowReport], metric: str, anchor: Callable[[int], str]
) -> str:  # fmt: skip
    """An `<svg>` with a point a row; rows without a number lie at the edge. `anchor` is the id of a
    row's line in the table.
    """
    axis = _Axis.over([value for row in rows if (value := _positive(row, metric)) is not None])
    points = plot_points(comparison)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" class="plot" '
        f'aria-label="{escape(METRICS[metric].heading)} of every row, in execution order">',
        *axis.lines(),
    ]
    first = comparison.first_divergence()
    if first is not None:
        x = _x(first.index, len(rows))
        parts.append(
            f'<line class="first" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>'
        )
    parts += [
        f'<a href="#{anchor(row.row.index)}">{_mark(row, point, axis, metric, len(rows))}</a>'
        for row, point in zip(rows, points, strict=True)
    ]
    return "\n".join([*parts, "</svg>"])


def _positive(row: RowReport, metric: str) -> float | None:
    value = None if row.measured is None else row.measured.metric(metric)
    return value if value is not None and isfinite(value) and value > 0 else None


def _x(index: int, count: int) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (index + 0.5) / max(1, count)


class _Axis:
    """The vertical axis: logarithmic, with room for the rows that have no number."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    @classmethod
    def over(cls, values: Sequence[float]) -> _Axis:
        if not values:
            return cls(-16.0, 0.0)
        low, high = log10(min(values)), log10(max(values))
        room = 0.2 * max(high - low, 2.0)
        return cls(low - room, high + room)

    def y(self, value: float) -> float:
        share = (log10(value) - self.low) / (self.high - self.low)
        return self.at(share)

    def at(self, share: float) -> float:
        """Where a share of the height is, counted from below."""
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    def lines(self) -> list[str]:
        parts: list[str] = []
        step = max(1, round((self.high - self.low) / 8))
        decade = floor(self.low) + 1
        while decade <= self.high:
            y = self.at((decade - self.low) / (self.high - self.low))
            parts.append(
                f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" '
                f'y2="{y:.1f}"/><text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">'
                f"1e{decade}</text>"
            )
            decade += step
        middle = (_LEFT + _WIDTH - _RIGHT) / 2
        parts.append(
            f'<text x="{middle}" y="{_HEIGHT - 8}" text-anchor="middle">row, in execution order'
            "</text>"
        )
        return parts


def _mark(row: RowReport, point: Point, axis: _Axis, metric: str, count: int) -> str:
    x, value = _x(row.row.index, count), _positive(row, metric)
    if value is not None and point.edge not in ("nan", "shape", "unreadable", "gap"):
        y = axis.y(value)
    else:
        edge = point.edge or "unmeasured"
        y = axis.at(EDGES[edge].height)
    tip = ""
    if count <= _MOST_TITLES:
        said = f"row {row.row.index} {clean(row.name)}: {row.word} {row.metric(metric)}"
        tip = f"<title>{escape(said)}</title>"
    return f'<circle class="l-{row.level}" cx="{x:.1f}" cy="{y:.1f}" r="3.2">{tip}</circle>'
