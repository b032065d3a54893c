"""Elements of a block as numbers that can be subtracted without surprises."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...capture.values import Array
from ..measuring.pair_reader import Block
from ..measuring.sums import split_exactly


@dataclass(frozen=True, slots=True)
class Elements:
    """Both sides of a block as 1-D arrays in C order.

    `x` and `y` keep their types; `d` = y - x is float64 (complex128 for complex numbers), NaN and
    Inf where a side has them. `finite`: both sides are. `odd`: not finite on both sides, and not
    alike (NaN faces NaN, Inf the same Inf): a difference that no number tells. `positions` are the
    flat positions in the view.
    """

    x: Array
    y: Array
    d: Array
    finite: Array
    odd: Array
    positions: Array | None  # None: consecutive from `start`
    start: int

    def positions_of(self, where: Array) -> Array:
        """Flat positions of the elements at these places of the block."""
        return where + self.start if self.positions is None else self.positions[where]


def elements(block: Block) -> Elements:
    """The elements of a block that has both sides; those that a partial dump lacks are left out."""
    assert block.x is not None and block.y is not None
    x, y = block.x.reshape(-1), block.y.reshape(-1)
    positions = None
    if block.shown is not None:
        where = np.flatnonzero(block.shown)
        x, y, positions = x[where], y[where], where + block.start
    d = difference(x, y)
    finite = np.isfinite(d)
    odd = np.zeros(x.shape, np.bool_)
    if not finite.all():
        finite = np.isfinite(x) & np.isfinite(y)
        odd = ~finite & ~((x == y) | (np.isnan(x) & np.isnan(y)))
    return Elements(x, y, d, finite, odd, positions, block.start)


def side_values(block: Block, side: str) -> Array | None:
    """The elements of one side, 1-D; None where it is absent."""
    values = block.x if side == "reference" else block.y
    if values is None:
        return None
    flat = values.reshape(-1)
    return flat if block.shown is None else flat[block.shown.reshape(-1)]


def difference(x: Array, y: Array) -> Array:
    """y - x in float64, exact for whole numbers up to 2**53 apart; complex128 for complex."""
    with np.errstate(all="ignore"):
        if x.dtype.kind == "c" or y.dtype.kind == "c":
            return np.subtract(y, x, dtype=np.complex128)
        if _wide(x) or _wide(y):
            (xf, x_rest), (yf, y_rest) = split_exactly(x), split_exactly(y)
            return (yf - xf) + (y_rest - x_rest)
        return np.subtract(y, x, dtype=np.float64)


def _wide(x: Array) -> bool:
    return x.dtype.kind in "iu" and x.dtype.itemsize == 8


def magnitude(values: Array) -> Array:
    """Real numbers as they are, complex ones by their absolute value in float64."""
    return sizes(values) if values.dtype.kind == "c" else values


def sizes(values: Array) -> Array:
    """Absolute values in float64: -128 of eight bits has the size 128."""
    wide = np.complex128 if values.dtype.kind == "c" else np.float64
    with np.errstate(all="ignore"):
        return np.abs(values.astype(wide))
