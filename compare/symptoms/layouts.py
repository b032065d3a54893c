"""Layouts that explain a difference altogether: the right values in another order.

A port may keep the rows of a projection in another order and undo it where they are used (GGUF
permutes q and k for its rotary embedding). The records differ, and nothing is wrong: the values are
the same ones, and everything that is made of them agrees. Where both hold, the pair is no
divergence, and a recipe that brings it in line is offered. A port keeps such an order in every
layer: where another layer's record of the same kind agrees as it is, the odd one is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..judging.evidence.doubts import agreeing_behind
from ..matching.names.canonical import layer_number
from ..model import Layout, Measurement

if TYPE_CHECKING:
    from ..aligned import Aligned, Results
    from ..judging.errors import Errors

_MOST = 1 << 17  # elements of a sample


def explained_layouts(
    aligned: Aligned, results: Results, errors: Errors, wrong: Iterable[int]
) -> dict[int, Layout]:
    """By row, of the pairs `wrong` that differ: those where everything made of them agrees. Reads
    these pairs.
    """
    from ..measuring.bounded_sample import UNREADABLE

    found: dict[int, Layout] = {}
    differ = set(wrong)
    if not differ:
        return found
    for index in sorted(_of_whole_kinds(errors, differ, agreeing_behind(errors, differ))):
        try:
            layout = _layout(aligned, results, index, errors.facts[index].ok)
        except UNREADABLE:
            continue
        if layout is not None:
            found[index] = layout
    kept = agreeing_behind(errors, set(found))
    return {index: layout for index, layout in found.items() if index in kept}


def _of_whole_kinds(errors: Errors, wrong: set[int], rows: set[int]) -> set[int]:
    """Those of `rows`, all of them in layers, whose kind is among `wrong` in every layer. Outside
    the layers there is one of a kind, and nothing shows that its order is the port's.
    """
    plain = {node.kind for index, node in errors.flow.nodes.items() if index not in wrong}
    return {
        index for index in rows
        if errors.flow[index].kind not in plain
        and layer_number(errors.rows[index].canonical) is not None
    }  # fmt: skip


def _layout(aligned: Aligned, results: Results, index: int, most: float) -> Layout | None:
    """The order that leaves less than `most` of the difference; None where none does."""
    import numpy as np

    from ..measuring.bounded_sample import read_sample
    from .fit import Pair
    from .moves import orders

    result = results.measurements[index]
    if not isinstance(result, Measurement) or result.nonfinite_mismatch or result.partial:
        return None
    sample = read_sample(aligned.task(index), result.max_abs_index, _MOST)
    x, y = sample.x, sample.y
    squares = float(np.vdot(x, x))
    if x.size < 4 or not 0 < squares < math.inf or not np.isfinite(y).all():
        return None
    pair = Pair(x, y, sample.rows, sample.channels, sample.shape, 0.0)
    row = aligned.rows[index]
    for order in orders(pair):
        error = math.sqrt(pair.left(order.fitted) / squares)
        if error <= most:
            steps = [step for step in (row.recipe_candidate, order.recipe) if step]
            recipe = " | ".join(steps) if order.recipe else ""
            return Layout(order.words, recipe, error)
    return None
