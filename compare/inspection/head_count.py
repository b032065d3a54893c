"""How many attention heads lie beside one another on the last axis of a row.

The width of one head comes from, in this order: a checkpoint's config, recorded attention
probabilities, queries with an axis of heads, tables of rotary positions.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..matching.names.roles import (
    BY_NAME,
    GIVE_QUERIES,
    GIVEN_HEADS,
    last_name,
    query_heads_axis,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...capture.records import Record
    from ..comparison import Comparison
    from ..model import Row
    from ..recipes.errors import Shape

_PROBABILITIES = ("output_1", "output_attentions")  # [batch, heads, tokens, keys]
_TABLES = ("input_position_embeddings_0", "input_position_embeddings_1")  # cos, sin: [..., width]
_ATTENTION = re.compile(r"(^|\.)(\w*attn|\w*attention)(\.|$)")
_ENDS_ATTENTION = re.compile(r"(attn|attention)$")
_LOOKED_AT = 3000  # rows: several layers, with all that experts give; looked at in milliseconds
_BY_HEAD = ("output_1", "output_attentions", *_TABLES)  # of these the last axis is not heads


def head_width(comparison: Comparison) -> int | None:
    """Elements of one head of queries; None where nothing says so among the first rows."""
    queries = _query_width(comparison)
    heads = _config_heads(comparison) or _recorded_heads(comparison)
    if heads and queries and queries % heads == 0:
        return queries // heads
    return next(_table_widths(comparison), None)


def heads_of_row(row: Row, shape: Shape | None, width: int | None) -> int | None:
    """Heads of the last axis of a row's view, for heads of `width` elements; None for what is
    outside of attention, or holds no two heads.
    """
    if not shape or not width or is_by_head(row) or not _ATTENTION.search(row.canonical):
        return None
    if shape[-1] % width or shape[-1] == width or _is_hidden(row):
        return None
    return shape[-1] // width


def is_by_head(row: Row) -> bool:
    """Whether heads have an axis of their own, or its values are the same for all of them."""
    return row.slot in _BY_HEAD


def _is_hidden(row: Row) -> bool:
    """Whether its last axis is that of the residual stream, which has no heads."""
    name = last_name(row.canonical)
    if row.role == "output":
        return BY_NAME.get(name) == "attention_output" or _ENDS_ATTENTION.search(name) is not None
    return name not in GIVEN_HEADS


def _records(comparison: Comparison) -> Iterator[tuple[Row, Record, Shape]]:
    for row in comparison.rows[:_LOOKED_AT]:
        for record in (row.reference, row.candidate):
            if record is not None and record.shape:
                yield row, record, record.shape


def _query_width(comparison: Comparison) -> int | None:
    """Elements of all heads of queries together, as the first record of queries has them: the
    narrower of both sides, as one may be fused with keys and values.
    """
    for row in comparison.rows[:_LOOKED_AT]:
        if row.slot == "output" and last_name(row.canonical) in GIVE_QUERIES:
            shapes = [r.shape for r in (row.reference, row.candidate) if r is not None and r.shape]
            if shapes:
                return min(_all_heads(row, shape) for shape in shapes)
    return None


def _all_heads(row: Row, shape: Shape) -> int:
    axis = query_heads_axis(row.canonical)
    return shape[-1] * (shape[axis] if len(shape) == 4 and axis is not None else 1)


def _config_heads(comparison: Comparison) -> int | None:
    from ..laws.attention.config import head_counts

    for weights in (comparison.models.reference, comparison.models.candidate):
        if weights is not None and (heads := head_counts(weights.config)[0]):
            return heads
    return None


def _recorded_heads(comparison: Comparison) -> int | None:
    for row, _, shape in _records(comparison):
        if len(shape) != 4:
            continue
        if row.slot in _PROBABILITIES and _ATTENTION.search(row.canonical):
            return shape[1]
        axis = query_heads_axis(row.canonical)
        if axis is not None and row.role == "output":
            return shape[axis]
    return None


def _table_widths(comparison: Comparison) -> Iterator[int]:
    """Widths of tables of cos and sin: those of a head where all of it is rotated."""
    for row, _, shape in _records(comparison):
        rotary = row.slot in ("output", "output_1") and "rotary" in last_name(row.canonical)
        if (rotary or row.slot in _TABLES) and len(shape) > 1 and shape[-1] > 1:
            yield shape[-1]
