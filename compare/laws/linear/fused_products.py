"""Stored rows of a weight times columns of inputs, and their squares, in one compiled pass.

What it computes is what `products` computes with numpy, which remains the reference and stands in
where there is no compiled pass (`measuring.fused`) or the elements are of a type that it does not
know. The interpreter's lock is let go meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....capture.values import Array
from ...measuring.fused import kind_of, readable
from ...measuring.kernel import compiled_module

_WIDEST = 16  # float32 in the widest register: columns come in multiples of it


def padded(x: Array) -> Array:
    """`[inside, columns]` in C order; float32 gets columns of zeros, as many as a compiled pass
    needs.
    """
    x = np.ascontiguousarray(x)
    missing = -x.shape[1] % _WIDEST
    if not missing or x.dtype != np.float32 or compiled_module() is None:
        return x
    return np.pad(x, ((0, 0), (0, missing)))


@dataclass(frozen=True)
class StoredRows:
    """Rows of a weight as they are stored, `[rows, inside]`. Of every `step`th, from number
    `telling` of these on, squares are summed by input.
    """

    raw: Array
    dtype: str
    telling: int
    step: int


def add_products(
    stored: StoredRows, x: Array, means: Array, into: tuple[Array, Array, Array],
    instructions: str | None = None,
) -> bool:  # fmt: skip
    """Add the products with `x` `[inside, columns]` to `[rows, columns]`, the sums of w^2 times
    each of `means` `[operands, inside]` to `[rows, operands]`, and those of w^2 to `[inside]`, all
    in float32. False, and nothing is added, where that is a job for numpy.
    """
    module = compiled_module()
    raw = stored.raw
    if (
        module is None or raw.ndim != 2 or stored.dtype == "float64"
        or not readable(raw, stored.dtype) or x.dtype != np.float32 or x.shape[1] % _WIDEST
    ):  # fmt: skip
        return False
    module.weigh(
        raw, *kind_of(stored.dtype), x, means, *into, *raw.shape, stored.telling, stored.step,
        instructions,
    )  # fmt: skip
    return True
