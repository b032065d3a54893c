"""How tables of cos and sin are laid out: every frequency twice, in halves or in turns, or once."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ....capture.values import Array
from ..law import Scene, Site
from ..numerics.quantities import SideQuantities
from .frequencies import relaid

Layout = Literal["halves", "in turns", "single"]


def in_halves(table: Array, layout: Layout) -> Array:
    """A table `[rows, channels]` laid out in halves."""
    if layout == "single":
        return np.concatenate([table, table], axis=-1)
    return relaid(table, "interleaved", "half") if layout == "in turns" else table


def layout_on(scene: Scene, site: Site, side: SideQuantities) -> Layout:
    """The layout of a side's tables. Those that have no frequency twice are single ones where the
    other side's are twice as wide, or as wide and single, too; else they are wrong in part.
    """
    own, other = (_seen(scene, site, one) for one in _in_order(scene, side))
    if own[0] is not None or other[1] == 0:
        return own[0] or "halves"
    doubled = other[0] is not None and other[1] == 2 * own[1]
    return "single" if doubled or other == own else "halves"


def _in_order(scene: Scene, side: SideQuantities) -> list[SideQuantities]:
    return [side, *(one for one in scene.sides if one is not side)]


def _seen(scene: Scene, site: Site, side: SideQuantities) -> tuple[Layout | None, int]:
    """In which layout every frequency is there twice, if in any, and how wide the tables are."""
    tables: list[Array] = []
    for name in ("cos", "sin"):
        known = [side.known.get(key) for key in site.source(name)]
        if len(known) != 1 or known[0] is None:
            return None, 0
        values = scene.tables.whole(known[0])
        tables.append(values.reshape(-1, values.shape[-1] if values.ndim else 1))
    width = tables[0].shape[1]
    if width % 2 == 0 and width:
        half = width // 2
        if all(np.array_equal(t[:, :half], t[:, half:]) for t in tables):
            return "halves", width
        if all(np.array_equal(t[:, ::2], t[:, 1::2]) for t in tables):
            return "in turns", width
    return None, width
