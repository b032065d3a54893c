"""What the axes of a row's view are called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..matching.names.canonical import layer_number
from .head_count import is_by_head

if TYPE_CHECKING:
    from ..model import Row
    from .axes import AxisRanking


def ranking_title(row: Row, ranking: AxisRanking, axes: int) -> str:
    """`tokens, axis 0 (10)`, `channels, axis 1 (64)`, `4 heads of axis 1`; of `axes` axes. What is
    in no layer, or lies by heads, has no names for its axes.
    """
    words = {axes - 1: "channels", axes - 2: "tokens"}
    known = axes > 1 and layer_number(row.canonical) is not None and not is_by_head(row)
    name = words.get(ranking.axis, "") if known and ranking.groups is None else ""
    return f"{name}, {ranking.title}" if name else ranking.title
