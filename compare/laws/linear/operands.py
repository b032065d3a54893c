"""Products with a weight of inputs that were themselves worked out, with an error of their own.

With u the unit roundoff of the output and v the variance of the error of an input,

    s^2 = R^2 u^2 (y^2 + sum_j x_j^2 w_ij^2) + sum_j v_j w_ij^2,

R being `rounding.ROUNDED`. How a row's error is spread over channels is worked out for the mean
row. In float32 sums, where one product outweighs all others, every later addition rounds in units
of it: the greatest product of a row counts `_LATER` times.

Each block of the weight is read once for all sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ....capture.values import Array
from ...weights.parameters import Weight
from ..law import Prediction, Scene
from ..numerics.rounding import ROUNDED, on_grid
from .products import FINE, loaded_unit, read_blocks

_LATER = 16.0  # additions that follow it in a block of a sum, less what is usual


@dataclass(frozen=True)
class Operand:
    """One side's rows `[rows, in]`; `variance` is that of their error, 0 for recorded ones, `unit`
    the unit roundoff of the product.
    """

    x: Array
    unit: float
    variance: Array | float = 0.0


def multiplied(
    weight: Weight, bias: Array | None, operands: Sequence[Operand], scene: Scene
) -> list[Prediction]:
    """x W^T + b of every side. Raises `CancelledError`, and `RecordError` where the weight cannot
    be read.
    """
    growing = [_Growing(operand, weight) for operand in operands]
    for first, block in read_blocks(weight, scene):
        for one in growing:
            one.add(first, block)
    return [one.prediction(bias) for one in growing]


class _Growing:
    """One side's product, block by block."""

    def __init__(self, operand: Operand, weight: Weight) -> None:
        self._unit = operand.unit
        self._exact = operand.unit < FINE
        self._wide = np.float64 if self._exact else np.float32
        self._x = np.ascontiguousarray(operand.x.T, self._wide)
        noise = (ROUNDED * operand.unit) ** 2
        self._squares = np.square(operand.x) + np.asarray(operand.variance) / noise
        self._mean = self._squares.mean(0).astype(self._wide)
        out, inside = weight.shape
        self._value = np.empty((len(operand.x), out))
        self._by_channel, self._by_input = np.empty(out), np.zeros(inside)
        self._grid = loaded_unit(weight, operand.unit)

    def add(self, first: int, block: Array) -> None:
        if self._grid:
            block = on_grid(block, self._grid)
        wide = block.astype(self._wide, copy=False)
        last = first + len(wide)
        self._value[:, first:last] = (wide @ self._x).T
        square = np.square(wide)
        self._by_input += np.ones(len(square), square.dtype) @ square
        self._by_channel[first:last] = square @ self._mean

    def prediction(self, bias: Array | None) -> Prediction:
        value = self._value if bias is None else self._value + bias
        total = float(self._by_channel.sum()) or 1.0
        row = self._squares @ self._by_input
        if self._exact:
            row = row + _LATER * (self._squares * self._by_input).max(1)
        inner = row[:, None] * (self._by_channel / total)
        return Prediction(value, self._unit * ROUNDED * np.sqrt(np.square(value) + inner))
