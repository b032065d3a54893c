"""Products of coarse factors inside a finer record: TF32, bfloat16, float16."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from ....capture.values import Array
from ..generic import on_coarse_grid
from ..law import Hypothesis, Prediction
from ..numerics.rounding import on_grid, rounded_away, truncated
from .bench import Bench

_GRIDS = (("bfloat16", 2.0**-8), ("TF32 or float16", 2.0**-11))
_PRODUCTS = 0.3  # of the error that coarse factors may leave and still be what was computed with

Rounding = Callable[[Array, float], Array]


@dataclass(frozen=True)
class Factors:
    """How the factors of products are rounded before they are multiplied; None for not at all."""

    words: str
    name: str  # of the grid
    grid: float
    of_x: Rounding | None
    of_weight: Rounding | None

    def x(self, bench: Bench) -> Array:
        return bench.x if self.of_x is None else self.of_x(bench.x, self.grid)

    def weight(self, _: int, block: Array) -> Array:
        return block if self.of_weight is None else self.of_weight(block, self.grid)

    def probed(self, bench: Bench) -> Array:
        return self.x(bench) @ self.weight(0, bench.probe.weight).T + bench.probe.bias


def factors_of(unit: float) -> Iterator[Factors]:
    """What products inside records of this unit roundoff may be made of."""
    for name, grid in _GRIDS:
        if grid < 4 * unit:
            continue
        yield Factors(f"both factors are rounded to {name}", name, grid, on_grid, on_grid)
        words = f"both factors are rounded to {name} (halves away from 0)"
        yield Factors(words, name, grid, rounded_away, rounded_away)
        yield Factors(f"both factors are cut off to {name}", name, grid, truncated, truncated)
        yield Factors(f"the input is rounded to {name}", name, grid, on_grid, None)
        yield Factors(f"the weight is rounded to {name}", name, grid, None, on_grid)


def best_factors(bench: Bench) -> Factors | None:
    """The rounding of factors that explains most of the error; None where none explains it."""
    found = [(bench.probe.left(f.probed(bench)), f) for f in factors_of(bench.case.units["output"])]
    left, best = min(found, key=lambda pair: pair[0], default=(np.inf, None))
    if best is None or not left <= _PRODUCTS * bench.probe.before:
        return None
    return best


def precision(bench: Bench) -> Iterator[Hypothesis]:
    """Products of coarse factors inside a finer record; the output may be on the grid too."""
    unit = bench.case.units["output"]
    for factors in factors_of(unit):
        words = f"{factors.words}{bench.where} before the product"
        if bench.tried(lambda _, f=factors: f.probed(bench)):
            yield Hypothesis(
                "precision", words, lambda f=factors: product(bench, f), "factors", "as recorded",
                factors.name,
            )  # fmt: skip
        if bench.tried(lambda _, f=factors: on_grid(f.probed(bench), f.grid)):
            yield Hypothesis(
                "precision", f"{words}, and so is the output",
                lambda f=factors: on_coarse_grid(
                    product(bench, f), partial(on_grid, unit=f.grid), unit
                ),
                "factors", "as recorded", factors.name,
            )  # fmt: skip


def product(bench: Bench, factors: Factors) -> Prediction:
    return bench.product(bias=bench.bias, x=factors.x(bench), change=factors.weight)
