"""How ranks were joined, for programs and in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...capture.records import Record

if TYPE_CHECKING:
    from ...capture.ranks.rank_records import Joined


def joined_json(joined: Joined) -> dict[str, Any]:
    """Names of ranks, the shape on each, the way to join them, and why so."""
    return {
        "ranks": list(joined.ranks), "shapes": [list(shape) for shape in joined.shapes],
        "way": joined.way, "why": joined.why,
    }  # fmt: skip


def in_parts(record: Record | None) -> str:
    """How a record is put together from parts of ranks; empty where it is not."""
    joined = None if record is None else record.joined
    return "" if joined is None or joined.way == "replicated" else joined.words
