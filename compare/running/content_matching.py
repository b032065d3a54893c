"""Pairs by values for what names left over: found once, remembered on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ..matching.align import align
from ..matching.content.axes.c_order import moved_by_size
from ..matching.content.axes.first_axes import may_be_exchanged
from ..matching.content.axes.turned import may_be_turned
from ..matching.content.found import Content
from ..matching.content.misfits import fitted, misfits

if TYPE_CHECKING:
    from ..aligned import Aligned


def match_content(aligned: Aligned, cancelled: Callable[[], bool] | None = None) -> Aligned:
    """The captures aligned by values, too; `aligned` itself where names left nothing over, values
    say nothing, or `cancelled` said stop.
    """
    square = may_be_exchanged(aligned)
    apart = any(next(rows(aligned), None) is not None for rows in (misfits, moved_by_size))
    if not square and not apart and not _may_have_partners(aligned):
        return aligned
    from ..matching.content.cache import ContentCache
    from ..measuring.pair_reader import CancelledError

    cache = ContentCache.of(aligned)
    content = cache and cache.get()
    if content is None:
        try:
            content = _found(aligned, square, cancelled or (lambda: False))
        except CancelledError:
            return aligned
        if cache is not None:
            cache.put(content)
    if not content:
        return aligned
    new = align(
        aligned.reference, aligned.candidate, aligned.rules, content, aligned.names
    )  # fmt: skip
    return replace(new, rtol=aligned.rtol, atol=aligned.atol, ulp=aligned.ulp)


def _found(aligned: Aligned, square: bool, cancelled: Callable[[], bool]) -> Content:
    """What values say. Raises `CancelledError`."""
    from ..matching.content.axes.c_order import in_c_order
    from ..matching.content.axes.first_axes import are_exchanged
    from ..matching.content.search import find_content

    turned = square and are_exchanged(aligned, cancelled)
    content = find_content(aligned, cancelled) if _may_have_partners(aligned) else Content()
    layouts = fitted(aligned, cancelled) + in_c_order(aligned, cancelled)
    return replace(content, pairs=content.pairs + layouts, exchanged=turned)


def _may_have_partners(aligned: Aligned) -> bool:
    """Whether both sides have something that names did not pair, or a pair may stand the other way
    round.
    """
    gaps = {row.kind for row in aligned.rows if row.kind != "pair"}
    return len(gaps) == 2 or any(
        row.matched_by == "order" or may_be_turned(row) for row in aligned.rows
    )
