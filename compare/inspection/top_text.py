"""The greatest differences and the worst places of each axis, as text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from ..reports.words import index_text, share_text, value_text
from .axes import AxisRanking
from .text import Row, table
from .top import Difference, Top

TOP_HEADING: Row = ("#", "index", "reference index", "candidate index", "reference", "candidate",
                    "abs", "rel", "ULP")  # fmt: skip


def top_row(rank: int, found: Difference) -> Row:
    """One difference as cells; an index that equals the view's is not repeated."""
    ours, theirs = (
        "same" if own == found.index else index_text(own)
        for own in (found.reference_index, found.candidate_index)
    )
    return (
        str(rank), index_text(found.index), ours, theirs, value_text(found.reference, 8),
        value_text(found.candidate, 8), _error(found.abs), _error(found.rel),
        "-" if found.ulp is None else f"{found.ulp:.6g}",
    )  # fmt: skip


def _error(value: float) -> str:
    return "not finite" if math.isinf(value) else f"{value:.4g}"


def top_text(top: Top) -> list[str]:
    """The whole list as lines."""
    return [top_summary(top), *table([TOP_HEADING, *_numbered(top)])] if top.differences else [
        top_summary(top)
    ]  # fmt: skip


def _numbered(top: Top) -> Iterator[Row]:
    return (top_row(rank, found) for rank, found in enumerate(top.differences, 1))


def top_summary(top: Top) -> str:
    """How many differ, and which are listed."""
    if top.compared == 0:
        return "no element to compare"
    if not top.differences:
        return f"all {top.compared} elements are equal"
    word = {"abs": "absolute", "rel": "relative", "ulp": "ULP"}[top.order]
    return (
        f"{share_text(top.differing, top.compared)} elements differ; the {len(top.differences)} "
        f"greatest by {word} difference"
    )


def axis_rows(ranking: AxisRanking, most: int) -> list[Row]:
    """The worst places of an axis: place, RMS of the difference, a bar."""
    top = max(ranking.rms, default=0.0)
    rows: list[Row] = []
    for place in ranking.order[:most]:
        value, odd = ranking.rms[place], ranking.odd[place]
        share = (value == top) if math.isinf(top) else value / top if top > 0 else 0.0
        bar = "#" * round(20 * share)
        text = f"{odd} not finite" if odd else bar
        rows.append((ranking.label(place), f"{value:.3e}", text))
    return rows


def axes_text(rankings: Sequence[AxisRanking], most: int = 10) -> list[str]:
    """Every axis with its worst places."""
    lines: list[str] = []
    for ranking in rankings:
        found = ranking.concentration
        share = f": {found[1]:.0%} of the squared difference at {ranking.label(found[0])}" if (
            found and ranking.size > 1
        ) else ""  # fmt: skip
        lines += [f"RMS of the difference along {ranking.title}{share}"]
        lines += table([("place", "RMS", ""), *axis_rows(ranking, most)])
    return lines
