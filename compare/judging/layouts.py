"""Layouts that explain a difference altogether: the right values in another order.

A port may keep the rows of a projection in another order and undo it where they are used (GGUF
permutes q and k for its rotary embedding). The records differ, and nothing is wrong: the values are
the same ones, and everything that is made of them agrees. Where both hold, the pair is no
divergence, and a recipe that brings it in line is offered.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..model import Measurement

if TYPE_CHECKING:
    from ..comparison import Comparison

_MOST = 1 << 17  # elements of a sample


@dataclass(frozen=True, slots=True)
class Layout:
    """`error` is the relative L2 that is left in that order; `recipe` brings the candidate in line
    (empty where no step does).
    """

    words: str
    recipe: str
    error: float

    @property
    def reason(self) -> str:
        """The verdict's reason."""
        offered = f"; recipe for the candidate: {self.recipe}" if self.recipe else ""
        return (
            f"permuted: the same values in another layout, {self.words} (differs by "
            f"{self.error:.2g} then), and all that is made of them agrees{offered}"
        )


def explained_layouts(comparison: Comparison) -> dict[int, Layout]:
    """By row, for the pairs that differ though nothing behind them does. Reads these pairs."""
    from ..measuring.bounded_sample import UNREADABLE
    from .doubts import agreeing_behind

    analysis = comparison.analysis()
    wrong = {
        index for index in comparison.failing
        if comparison.verdicts[index].level == "diverged" and index in analysis.facts
    }  # fmt: skip
    wrong |= analysis.doubtful.keys()
    found: dict[int, Layout] = {}
    for index in sorted(agreeing_behind(analysis, wrong)):
        try:
            layout = _layout(comparison, index, analysis.facts[index].ok)
        except UNREADABLE:
            continue
        if layout is not None:
            found[index] = layout
    kept = agreeing_behind(analysis, set(found))
    return {index: layout for index, layout in found.items() if index in kept}


def _layout(comparison: Comparison, index: int, most: float) -> Layout | None:
    """The order that leaves less than `most` of the difference; None where none does."""
    import numpy as np

    from ..measuring.bounded_sample import read_sample
    from ..symptoms.fit import Pair
    from ..symptoms.moves import orders

    result = comparison.measurements[index]
    if not isinstance(result, Measurement) or result.nonfinite_mismatch or result.partial:
        return None
    sample = read_sample(comparison.task(index), result.max_abs_index, _MOST)
    x, y = sample.x, sample.y
    squares = float(np.vdot(x, x))
    if x.size < 4 or not 0 < squares < math.inf or not np.isfinite(y).all():
        return None
    pair = Pair(x, y, sample.rows, sample.channels, sample.shape, 0.0)
    row = comparison.rows[index]
    for order in orders(pair):
        error = math.sqrt(pair.left(order.fitted) / squares)
        if error <= most:
            steps = [step for step in (row.recipe_candidate, order.recipe) if step]
            recipe = " | ".join(steps) if order.recipe else ""
            return Layout(order.words, recipe, error)
    return None
