"""The numbers of a pair row by row: a row is what lies along the last axis of the pair's view (the
features of one token, the logits of one position).

With x the reference, y the candidate and d = y - x along a row:

    mse = mean(d^2)    relative_l2 = |d| / |x|    cosine = <x, y> / (|x| |y|)    max_abs = max |d|

Sums are float64. A number whose denominator is 0 is NaN, unless both sides are equal there: then
the cosine is 1 and the relative error 0. A row where one side alone has NaN or Inf has NaN as all
of its numbers. Complex numbers count as pairs of reals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod

import numpy as np

from ...capture.errors import RecordError
from ...capture.values import Array
from ..model import Failure
from .bounded_sample import UNREADABLE
from .failures import failure_of
from .pair_reader import CancelledError, PairReader, PairTask, shapes_differ

_MOST_ROWS = 1 << 24  # of one pair: six float64 each

Visit = Callable[[tuple[int, ...], int, Array], None]  # the view's shape, first position, |d|


@dataclass(slots=True)
class TokenRows:
    """Sums of every row of a view of `shape`; `count` elements of a row were compared."""

    shape: tuple[int, ...]
    count: Array = field(init=False)
    dd: Array = field(init=False)
    xx: Array = field(init=False)
    yy: Array = field(init=False)
    xy: Array = field(init=False)
    top: Array = field(init=False)
    spoiled: Array = field(init=False)  # NaN or Inf on one side only

    def __post_init__(self) -> None:
        rows = self.rows
        for name in ("dd", "xx", "yy", "xy", "top"):
            setattr(self, name, np.zeros(rows))
        self.count = np.zeros(rows, np.int64)
        self.spoiled = np.zeros(rows, np.bool_)

    @property
    def rows(self) -> int:
        return prod(self.shape[:-1]) if prod(self.shape) else 0

    @property
    def width(self) -> int:
        return self.shape[-1] if self.shape else 1

    def add(self, start: int, x: Array, y: Array, shown: Array | None) -> Array:
        """Take in a block of the view in C order, `start` its first flat position.

        Returns |d| of its elements, float64, flat (the modulus of complex ones): NaN where only one
        side is finite and where a partial dump has no element.
        """
        reals = 2 if "c" in (x.dtype.kind, y.dtype.kind) else 1
        first, lines = start // self.width, max(1, x.size // self.width)
        x, y = _real(x, reals == 2), _real(y, reals == 2)
        x, y = x.reshape(lines, -1), y.reshape(lines, -1)
        at = slice(first, first + lines)
        with np.errstate(all="ignore"):
            fine = np.isfinite(x) & np.isfinite(y)
            alike = (x == y) | (np.isnan(x) & np.isnan(y))
            outside = ~fine & ~alike
            seen = None
            if shown is not None:
                seen = np.repeat(shown.reshape(-1), reals).reshape(lines, -1)
                fine, outside = fine & seen, outside & seen
            d = np.where(fine, y - x, 0.0)
            x, y = np.where(fine, x, 0.0), np.where(fine, y, 0.0)
            self.dd[at] += np.vecdot(d, d)
            self.xx[at] += np.vecdot(x, x)
            self.yy[at] += np.vecdot(y, y)
            self.xy[at] += np.vecdot(x, y)
            self.count[at] += np.count_nonzero(fine, axis=1)
            self.spoiled[at] |= outside.any(axis=1)
            size = np.abs(d)
            self.top[at] = np.maximum(self.top[at], size.max(axis=1))
            size[outside] = np.nan
            if seen is not None:
                size[~seen] = np.nan
        flat = size.reshape(-1)
        return np.hypot(flat[::2], flat[1::2]) if reals == 2 else flat

    @property
    def mse(self) -> Array:
        return self._said(self.dd, self.count)

    @property
    def relative_l2(self) -> Array:
        return self._said(np.sqrt(self.dd), np.sqrt(self.xx), 0.0)

    @property
    def cosine(self) -> Array:
        found = self._said(self.xy, np.sqrt(self.xx) * np.sqrt(self.yy), 1.0)
        return np.clip(found, -1.0, 1.0)

    @property
    def max_abs(self) -> Array:
        return np.where(self.spoiled | (self.count == 0), np.nan, self.top)

    def _said(self, above: Array, below: Array, equal: float | None = None) -> Array:
        """A ratio; `equal` where both sides are the same, zeros included."""
        with np.errstate(all="ignore"):
            found = np.where(below > 0, above / np.where(below > 0, below, 1), np.nan)
        if equal is not None:
            found = np.where(self.dd == 0, equal, found)
        return np.where(self.spoiled | (self.count == 0), np.nan, found)


def token_rows(
    task: PairTask, visit: Visit | None = None, cancelled: Callable[[], bool] | None = None
) -> TokenRows | Failure:
    """Read a pair once, row by row; `visit` gets |d| of all elements in C order, a block at a time.

    What cannot be read comes back as a `Failure`. Raises `CancelledError`.
    """
    try:
        with np.errstate(all="ignore"), PairReader(task.reference, task.candidate) as reader:
            if len(set(reader.shapes)) > 1:
                return Failure(shapes_differ(*reader.shapes), level="shape")
            found = _rows_of(reader.shape)
            for block in reader.blocks(cancelled=cancelled):
                assert block.x is not None and block.y is not None
                sizes = found.add(block.start, block.x, block.y, block.shown)
                if visit is not None:
                    visit(found.shape, block.start, sizes)
            return found
    except UNREADABLE as error:
        return failure_of(error)


def _rows_of(shape: tuple[int, ...]) -> TokenRows:
    if prod(shape[:-1]) > _MOST_ROWS:
        raise RecordError(f"{prod(shape[:-1])} rows are too many to judge one by one")
    return TokenRows(shape)


def _real(values: Array, paired: bool) -> Array:
    """float64; with `paired` as complex numbers, each two reals along the last axis."""
    if paired:
        return np.ascontiguousarray(values.astype(np.complex128)).view(np.float64)
    return values.astype(np.float64)


__all__ = ["CancelledError", "TokenRows", "token_rows"]
