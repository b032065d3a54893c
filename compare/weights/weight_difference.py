"""How one weight differs from another: read block by block, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from ...capture.dtypes import DTYPES
from ...capture.load import load
from ...capture.values import Array
from ...capture.weights import Parameter
from ..recipes.cast import cast
from .parameters import Weight

Cancelled = Callable[[], bool] | None

BLOCK = 1 << 18  # elements that are compared at a time
_ROUNDINGS = ("bfloat16", "float16", "float8_e4m3fn", "float8_e5m2")
_PARTS = slice(0, 1024), slice(1024, None)  # of a block: the first nearly always shows rounding


class StoppedError(Exception):
    """`cancelled` said stop."""


@dataclass(frozen=True, slots=True)
class WeightDifference:
    """How a parameter of the reference differs from the candidate's.

    `differing` of `total` elements are not equal, `relative_l2` is that of the candidate's error.
    `rounded` says that nothing but rounding differs: of which side, to which dtype. `problem` is
    why the two cannot be compared, in words.
    """

    name: str
    differing: int = 0
    total: int = 0
    relative_l2: float = 0.0
    rounded: tuple[str, str] | None = None
    problem: str | None = None

    @property
    def words(self) -> str:
        """`model.norm.weight (3 of 64 elements, relative L2 1.2e-2)`."""
        if self.problem is not None:
            return f"{self.name} ({self.problem})"
        elements = "all" if self.differing == self.total else f"{self.differing} of"
        return f"{self.name} ({elements} {self.total} elements, relative L2 {self.relative_l2:.2g})"


def difference_of(
    name: str, ours: Weight, theirs: Weight, cancelled: Cancelled
) -> WeightDifference | None:
    """How `theirs` differs from `ours`; None where all elements are equal.

    Raises `RecordError` and `OSError` where one cannot be read, `StoppedError`.
    """
    if ours.shape != theirs.shape:
        shapes = f"{list(ours.shape)} and {list(theirs.shape)}"
        return WeightDifference(name, problem=f"shapes {shapes}")
    kinds = [DTYPES[weight.dtype].kind for weight in (ours, theirs)]
    if kinds[0] != kinds[1] or (kinds[0] != "float" and ours.dtype != theirs.dtype):
        return WeightDifference(name, problem=f"stored as {ours.dtype} and {theirs.dtype}")
    if _same_bits(ours, theirs, cancelled):
        return None
    differing, error, energy = 0, 0.0, 0.0
    for a, b in _blocks(_flat(ours), _flat(theirs), cancelled):
        x = a.astype(np.float64).reshape(-1)
        energy += float(np.dot(x, x))
        if a.dtype == b.dtype and np.array_equal(a.view(np.uint8), b.view(np.uint8)):
            continue
        x -= b.reshape(-1)
        squares = float(np.dot(x, x))
        if not math.isfinite(squares):  # NaN and Inf on both sides are equal
            a, b = a.reshape(-1), b.reshape(-1)
            x[(a == b) | (np.isnan(a) & np.isnan(b))] = 0.0
            squares = float(np.dot(x, x))
        differing += int(np.count_nonzero(x))
        error += squares
    if not differing:
        return None
    relative = math.sqrt(error / energy) if energy else math.inf
    rounded = _rounding(ours, theirs, cancelled) if kinds[0] == "float" else None
    return WeightDifference(name, differing, prod(ours.shape), relative, rounded)


def _same_bits(ours: Weight, theirs: Weight, cancelled: Cancelled) -> bool:
    """Whether both are stored alike and equal bit by bit: copies need no arithmetic."""
    left, right = ours.pieces, theirs.pieces
    stored = [[(piece.dtype, piece.shape) for piece in pieces] for pieces in (left, right)]
    if stored[0] != stored[1]:
        return False
    for one, other in zip(left, right, strict=True):
        x, y = one.raw(), other.raw()
        step = max(1, BLOCK // max(1, x[:1].size))
        for start in range(0, len(x), step):
            if cancelled is not None and cancelled():
                raise StoppedError
            part = slice(start, start + step)
            if x[part].tobytes() != y[part].tobytes():
                return False
    return True


def _rounding(ours: Weight, theirs: Weight, cancelled: Cancelled) -> tuple[str, str] | None:
    """Which side is the other one rounded, and to what; None where more than that differs."""
    left = {("candidate", dtype) for dtype in _ROUNDINGS}
    left |= {("reference", dtype) for dtype in _ROUNDINGS}
    for a, b in _blocks(_flat(ours), _flat(theirs), cancelled):
        for side, dtype in tuple(left):
            exact, coarse = (a, b) if side == "candidate" else (b, a)
            if not _rounds(exact.reshape(-1), coarse.reshape(-1), dtype):
                left.discard((side, dtype))
        if not left:
            return None
    return min(left, key=lambda found: -DTYPES[found[1]].mantissa_bits)


def _rounds(exact: Array, coarse: Array, dtype: str) -> bool:
    return all(
        np.array_equal(cast(exact[part], dtype), coarse[part], equal_nan=True) for part in _PARTS
    )


def _blocks(ours: Weight, theirs: Weight, cancelled: Cancelled) -> Iterator[tuple[Array, Array]]:
    rows = ours.shape[0]
    step = max(1, BLOCK // max(1, prod(ours.shape[1:])))
    if _is_stored_numbers(ours):
        for start in range(0, rows, step):
            if cancelled is not None and cancelled():
                raise StoppedError
            stop = min(start + step, rows)
            yield ours.between(start, stop), theirs.between(start, stop)
        return
    one, other = load(ours.parameter.locator), load(theirs.parameter.locator)
    for start in range(0, rows, step):
        if cancelled is not None and cancelled():
            raise StoppedError
        yield _plain(one[start : start + step]), _plain(other[start : start + step])


def _plain(stored: Array) -> Array:
    """Whole numbers as they are, complex ones as pairs."""
    array = np.ascontiguousarray(stored)
    return array.view(f"f{array.itemsize // 2}") if array.dtype.kind == "c" else array


def _is_stored_numbers(weight: Weight) -> bool:
    return DTYPES[weight.dtype].kind == "float"


def _flat(weight: Weight) -> Weight:
    """Stacks as one matrix, so that a block need not hold a whole expert."""
    place = weight.parameter.locator
    if len(place.shape) < 3 or place.strides is not None or not place.in_place or weight.more:
        return weight
    flat = replace(place, shape=(prod(place.shape[:-1]), place.shape[-1]))
    return Weight(Parameter(weight.parameter.name, flat))
