"""Products with a weight of inputs that were themselves worked out, with an error of their own.

With u the unit roundoff of the output and v the variance of the error of an input,

    s^2 = R^2 u^2 (y^2 + sum_j x_j^2 w_ij^2) + sum_j v_j w_ij^2,

R being `rounding.ROUNDED`. How a row's error is spread over channels is worked out for the mean
row. In float32 sums, where one product outweighs all others, every later addition rounds in units
of it: the greatest product of a row counts `_LATER` times.
"""

from __future__ import annotations

from collections.abc import Sequence

from ....capture.values import Array
from ...weights.parameters import Weight
from ..law import Prediction, Scene
from .products import Operand, multiplied_alone, rounded_product

__all__ = ["Operand", "multiplied"]

_LATER = 16.0  # additions that follow it in a block of a sum, less what is usual


def multiplied(
    weight: Weight, bias: Array | None, operands: Sequence[Operand], scene: Scene
) -> list[Prediction]:
    """x W^T + b of every side; each block of the weight is read once for all of them. Raises
    `CancelledError`, and `RecordError` where the weight cannot be read.
    """
    found: list[Prediction] = []
    for one in multiplied_alone(weight, operands, scene):
        value = one.value if bias is None else one.value + bias
        row = one.squares @ one.by_input
        mean = float(row.mean())
        if one.operand.exact:
            row = row + _LATER * (one.squares * one.by_input).max(1)
        found.append(rounded_product(value, row, one.by_channel, one.operand.unit, mean))
    return found
