"""x W^T + b and the rounding of it, block by block of the weight.

With u the unit roundoff of the output's grid, the error of an element is

    s^2 = u^2 (y^2 + sum_j x_j^2 w_j^2) x 0.75^2 / 3,

the output's own rounding and that of one factor of every product. How the second part is spread
over channels is worked out for the mean row, so that it costs no second product of the full size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ....capture.dtypes import DTYPES
from ....capture.values import Array
from ...weights.parameters import Weight
from ..law import Case, Prediction, Scene
from ..numerics.rounding import ROUNDED, on_grid

FINE = 2.0**-20  # units below which products in float32 are too coarse to judge by

# A change of rows of a weight, given the number of the first: `(first, rows) -> rows`.
BlockChange = Callable[[int, Array], Array]


def products(
    weight: Weight, bias: Array | None, cases: Sequence[Case], scene: Scene | None = None,
    change: BlockChange | None = None,
) -> list[Prediction]:  # fmt: skip
    """x W^T + b of several cases; each block of the weight is read once. `change` is applied to
    every block as the loader has it (see `loaded_unit`).

    Raises `RecordError`, and `CancelledError` when the scene is cancelled.
    """
    groups: dict[tuple[float, bool], Stack] = {}
    for case in cases:
        fresh = Stack((case,), weight, bias)
        known = groups.get((fresh.unit, fresh.exact))
        groups[fresh.unit, fresh.exact] = (
            fresh if known is None else Stack((*known.cases, case), weight, bias)
        )
    for first, block in read_blocks(weight, scene):
        for stack in groups.values():
            stack.add(first, block, change)
    found = {id(c): p for s in groups.values() for c, p in s.predictions()}
    return [found[id(case)] for case in cases]


def read_blocks(weight: Weight, scene: Scene | None) -> Iterator[tuple[int, Array]]:
    """The blocks of a weight; stops with `CancelledError` when the scene is cancelled."""
    for first, block in weight.blocks():
        if scene is not None and scene.cancelled is not None and scene.cancelled():
            from ...measuring.pair_reader import CancelledError

            raise CancelledError
        yield first, block


def loaded_unit(weight: Weight, unit: float) -> float:
    """The unit roundoff of the grid that a loader rounds the weights to: that of the side's
    records, `unit`, where the checkpoint's is finer; 0 where nothing is rounded.
    """
    known = DTYPES.get(weight.dtype)
    stored = known.epsilon / 2 if known is not None and known.epsilon > 0 else 2.0**-24
    return unit if unit > stored and unit <= 2.0**-8 else 0.0


@dataclass
class Stack:
    """The products of cases as they grow block by block. All of them have the same precision, and
    the loader rounds the weight alike for them.
    """

    cases: tuple[Case, ...]
    weight: Weight
    bias: Array | None

    def __post_init__(self) -> None:
        first = self.cases[0]
        self.unit = loaded_unit(self.weight, first.units["output"])
        # Float64 is needed where float32 products are no finer than what is judged.
        self.exact = first.units["output"] < FINE

    @cached_property
    def x(self) -> Array:
        """The inputs of all cases, one after another, as columns."""
        x = np.concatenate([case.inputs["x"] for case in self.cases]).T
        return np.ascontiguousarray(x, np.float64 if self.exact else np.float32)

    @cached_property
    def mean_squares(self) -> Array:
        """The mean square of each input, `[inputs, cases]`."""
        found = [np.square(case.inputs["x"]).mean(0) for case in self.cases]
        return np.stack(found, 1).astype(self.x.dtype)

    @cached_property
    def value(self) -> Array:
        return np.empty((self.x.shape[1], self.weight.shape[0]))

    @cached_property
    def by_channel(self) -> Array:
        """Sums over inputs of mean x^2 times w^2, `[outputs, cases]`."""
        return np.empty((self.weight.shape[0], len(self.cases)))

    @cached_property
    def by_input(self) -> Array:
        """Sums over outputs of w^2."""
        return np.zeros(len(self.x))

    def add(self, first: int, block: Array, change: BlockChange | None = None) -> None:
        """Rows `first` and on of the weight."""
        if self.unit:
            block = on_grid(block, self.unit)
        if change is not None:
            block = change(first, block)
        last = first + len(block)
        wide = block.astype(self.x.dtype, copy=False)
        self.value[:, first:last] = (wide @ self.x).T
        square = np.square(wide)
        self.by_input += np.ones(len(square), square.dtype) @ square
        self.by_channel[first:last] = square @ self.mean_squares

    def predictions(self) -> Iterator[tuple[Case, Prediction]]:
        """What each case should have given."""
        start = 0
        for number, case in enumerate(self.cases):
            x = case.inputs["x"]
            value = self.value[start : start + len(x)]
            start += len(x)
            row = np.square(x) @ self.by_input
            yield case, rounded_product(
                value if self.bias is None else value + self.bias, row, self.by_channel[:, number],
                case.units["output"],
            )  # fmt: skip


def rounded_product(value: Array, row: Array, by_channel: Array, unit: float) -> Prediction:
    """`row[r]` is the sum of x^2 w^2 over all inputs and outputs, `by_channel` says how it is
    spread over the outputs.
    """
    total = float(by_channel.sum()) or 1.0
    inner = row[:, None] * (by_channel / total)[None, :]
    return Prediction(value, unit * ROUNDED * np.sqrt(np.square(value) + inner))
