"""A pair's sample in which every row and every channel counts alike.

Trained models have massive activations: one token's value in one channel may be a thousand times
the others and hold nearly all of a record's squares, so that sums over a record tell of that number
alone. Here each channel is divided by its usual size, rows and single values that are larger than
usual are turned down, and the difference of a value is turned down with it: it stays relative to
the value. Neither a token's nor a channel's size rules what is left, in either direction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...capture.values import Array
from ..limits import MASSIVE, MASSIVE_CHANNEL, MASSIVE_ROW, SMALL_CHANNEL
from .kernel import compiled_module
from .rooms import room
from .sums import dot

_TRIMMED = 0.1  # of the rows: so many of the greatest values of a channel are left out of its size
_ROWS = 5  # rows from which on channels have a size of their own
_GROUPS, _GROUP = 16, 16  # least number of groups, and of elements in one
LIMITS = (MASSIVE, MASSIVE_ROW, MASSIVE_CHANNEL, SMALL_CHANNEL)


def weights(x: Array) -> Array:
    """What `x`, `[rows, channels]`, and the difference to it are multiplied by."""
    size = np.abs(x)
    channel = _trimmed_mean(size)
    usual = _median_of_some(channel)
    if usual == 0:
        return np.ones_like(x)
    if len(x) < _ROWS:  # too few to tell a channel's size from a value's
        channel = np.full_like(channel, max(usual, float(np.median(size))))
    channel = np.maximum(channel, SMALL_CHANNEL * usual)
    scaled = np.divide(size, channel, out=size)
    row = np.median(scaled, axis=1)
    middle = _median_of_some(row)
    if middle > 0:
        larger = np.maximum(row / (MASSIVE_ROW * middle), 1.0)
        scaled /= larger[:, None]
    else:
        larger = np.ones(len(x))
    if len(x) >= _ROWS:
        wider = np.maximum(scaled.max(0) / MASSIVE_CHANNEL, 1.0)
        channel *= wider
        scaled /= wider
    scaled /= MASSIVE
    weight = np.maximum(scaled, 1.0, out=scaled)
    weight *= channel
    weight *= larger[:, None]
    return np.divide(1.0, weight, out=weight)


def _cut(rows: int) -> int:
    """How many of the greatest values of a channel are left out of its size."""
    return min(rows - 1, max(1, round(_TRIMMED * rows))) if rows > 2 else 0


def _trimmed_mean(size: Array) -> Array:
    """Means along the rows without the greatest values of each channel."""
    rows, cut = len(size), _cut(len(size))
    if cut == 0:
        return size.mean(0)
    kept = np.partition(size, rows - cut - 1, axis=0)[: rows - cut]
    return kept.mean(0)


def _median_of_some(values: Array) -> float:
    """The median of what is not zero; 0 where all is."""
    some = values[values > 0]
    return float(np.median(some)) if some.size else 0.0


@dataclass(frozen=True, slots=True)
class EvenSums:
    """Sums of an evened sample, x and d = y - x as `weights` leave them, r = d - slope x with the
    best slope for all: `rows`, `[5, rows]` float64, are of xx, dd, greatest dd, xr, rr along each
    row; `channels`, `[8, channels]`, of xx, dd, greatest dd, x, r, xr, rr along each channel, and
    of dd as it is; `groups`, `[5, groups]`, of x, d, xx, xd, dd over groups of `group_size`
    elements. `plain`, `[7]`, is of the sample as it is: xx, xd, dd, and the least and the greatest
    of x, then of y; where that is not finite, or x is zero, the others say nothing.
    """

    rows: Array
    channels: Array
    groups: Array
    group_size: int
    plain: Array


def evening_of(rows: int, channels: int) -> tuple[int, int, int]:
    """How a sample is evened: how many of a channel's greatest values are left out of its size,
    the rows from which on it has one, and how many groups a row is cut into.
    """
    return _cut(rows), _ROWS, _pieces(rows, channels)


def even_sums(x: Array, y: Array, instructions: str | None = None) -> EvenSums:
    """The sums of a sample `[rows, channels]` of float64, not empty; compiled where it can be.
    `instructions` is one of `kernel.instruction_sets`, the best if not given.
    """
    module = compiled_module()
    if module is None:
        return even_sums_by_numpy(x, y)
    x, y = np.ascontiguousarray(x), np.ascontiguousarray(y)
    rows, channels = x.shape
    pieces = _pieces(rows, channels)
    found = EvenSums(
        np.empty((5, rows)), np.empty((8, channels)), np.empty((5, rows * pieces)),
        channels // pieces, np.empty(7),
    )  # fmt: skip
    size = 2 * x.size + 7 * rows + 3 * channels + max(rows, channels)
    module.even(
        x, y, rows, channels, *evening_of(rows, channels), LIMITS,
        room("even", size * x.itemsize),
        found.rows, found.channels, found.groups, found.plain, instructions,
    )  # fmt: skip
    return found


def even_sums_by_numpy(x: Array, y: Array) -> EvenSums:
    """The same in numpy's arithmetic, which is the reference.

    Few tables of a sample's size are made: to the system a new one costs more than its numbers.
    """
    d = y - x
    plain = np.array([
        dot(x.reshape(-1), x.reshape(-1)), dot(x.reshape(-1), d.reshape(-1)),
        dot(d.reshape(-1), d.reshape(-1)), x.min(), x.max(), y.min(), y.max(),
    ])  # fmt: skip
    pieces = _pieces(*x.shape)
    size = x.shape[1] // pieces
    if not (0 < plain[0] < np.inf and plain[2] < np.inf):
        rows, channels = x.shape
        return EvenSums(
            np.zeros((5, rows)), np.zeros((8, channels)), np.zeros((5, rows * pieces)), size, plain
        )
    plain_dd = np.einsum("ij,ij->j", d, d)
    weight = weights(x)
    d *= weight
    x = np.multiply(x, weight, out=weight)
    squares = x * x
    row_xx, channel_xx = np.einsum("ij,ij->i", x, x), squares.sum(0)
    dd = np.multiply(d, d, out=squares)
    row_dd, row_most, channel_dd, channel_most = dd.sum(1), dd.max(1), dd.sum(0), dd.max(0)
    slope = np.einsum("ij,ij->i", x, d).sum() / row_xx.sum()
    r = np.multiply(x, -slope, out=dd)
    r += d
    rows = (row_xx, row_dd, row_most, np.einsum("ij,ij->i", x, r), np.einsum("ij,ij->i", r, r))
    channels = (
        channel_xx, channel_dd, channel_most, x.sum(0), r.sum(0), np.einsum("ij,ij->j", x, r),
        np.einsum("ij,ij->j", r, r), plain_dd,
    )  # fmt: skip
    left, right = (side[:, : size * pieces].reshape(-1, size) for side in (x, d))
    groups = (
        left.sum(1), right.sum(1), np.einsum("ij,ij->i", left, left),
        np.einsum("ij,ij->i", left, right), np.einsum("ij,ij->i", right, right),
    )  # fmt: skip
    return EvenSums(np.stack(rows), np.stack(channels), np.stack(groups), size, plain)


def _pieces(rows: int, width: int) -> int:
    """How many groups each row is cut into: one, where there are many rows."""
    pieces = -(-_GROUPS // rows)
    while pieces > 1 and width // pieces < _GROUP:
        pieces -= 1
    return max(1, pieces)
