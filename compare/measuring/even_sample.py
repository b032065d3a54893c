"""A pair's sample in which every row and every channel counts alike.

Trained models have massive activations: one token's value in one channel may be a thousand times
the others and hold nearly all of a record's squares, so that sums over a record tell of that number
alone. Here each channel is divided by its usual size, rows and single values that are larger than
usual are turned down, and the difference of a value is turned down with it: it stays relative to
the value. Neither a token's nor a channel's size rules what is left, in either direction.
"""

from __future__ import annotations

import numpy as np

from ...capture.values import Array
from ..limits import MASSIVE, MASSIVE_CHANNEL, MASSIVE_ROW, SMALL_CHANNEL

_TRIMMED = 0.1  # of the rows: so many of the greatest values of a channel are left out of its size
_ROWS = 5  # rows from which on channels have a size of their own
_GROUPS, _GROUP = 16, 16  # least number of groups, and of elements in one
_NORMAL = 1.2533 * 1.4826  # of a median's standard error to the median deviation, over sqrt(n)


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


def _trimmed_mean(size: Array) -> Array:
    """Means along the rows without the greatest values of each channel."""
    rows = len(size)
    cut = min(rows - 1, max(1, round(_TRIMMED * rows))) if rows > 2 else 0
    if cut == 0:
        return size.mean(0)
    kept = np.partition(size, rows - cut - 1, axis=0)[: rows - cut]
    return kept.mean(0)


def _median_of_some(values: Array) -> float:
    """The median of what is not zero; 0 where all is."""
    some = values[values > 0]
    return float(np.median(some)) if some.size else 0.0


def common_fit(x: Array, d: Array) -> tuple[tuple[float, float], tuple[float, float]]:
    """The factor b and the offset a that all of a difference d = b x + a has in common, each with
    its standard error; both as `weights` leave them, so that `a` is in units of the usual size.

    Least squares by groups of elements (a row each, where there are as many), then the medians over
    the groups: what sits in a few of them, whatever its size, is not common.
    """
    x, d = _grouped(x), _grouped(d)
    count = x.shape[1]
    mean_x, mean_d = x.mean(1), d.mean(1)
    xx = np.maximum(np.einsum("ij,ij->i", x, x) - count * mean_x * mean_x, 0.0)
    xd = np.einsum("ij,ij->i", x, d) - count * mean_x * mean_d
    usable = xx > 1e-9 * (xx + count * mean_x * mean_x)
    if np.count_nonzero(usable) < 2:
        return (0.0, np.inf), (0.0, np.inf)
    if not usable.all():
        x, d, xx, xd = x[usable], d[usable], xx[usable], xd[usable]
        mean_x, mean_d = mean_x[usable], mean_d[usable]
    factor = xd / xx
    offset = mean_d - factor * mean_x
    dd = np.einsum("ij,ij->i", d, d) - count * mean_d * mean_d
    rest = np.maximum(dd - factor * xd, 0.0) / max(1, count - 2)
    factor_se = np.sqrt(rest / xx)
    offset_se = np.sqrt(rest * (1.0 / count + mean_x * mean_x / xx))
    return _middle(factor, factor_se), _middle(offset, offset_se)


def _middle(values: Array, own: Array) -> tuple[float, float]:
    """The median, and its standard error: from the spread of the values, which is no less than
    their own errors say.
    """
    middle = float(np.median(values))
    spread = float(np.median(np.abs(values - middle)))
    least = 1.2533 * float(np.median(own))
    return middle, max(_NORMAL * spread, least) / len(values) ** 0.5


def _grouped(values: Array) -> Array:
    """Rows as they are, or in pieces where they are few."""
    rows, width = values.shape
    pieces = -(-_GROUPS // rows)
    while pieces > 1 and width // pieces < _GROUP:
        pieces -= 1
    if pieces <= 1:
        return values
    length = width // pieces
    return values[:, : length * pieces].reshape(rows * pieces, length)
