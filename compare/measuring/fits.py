"""What the sums of an evened sample tell of its rows, its channels and all of it (see
`error_structure`): slopes and offsets by group, what all groups have in common, and where the
relative error is greatest. Compiled where it can be; numpy's arithmetic is the reference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...capture.values import Array
from .even_sample import EvenSums
from .kernel import compiled_module
from .order_statistics import kth, median
from .rooms import room

_LEAST_ROWS, _LEAST_CHANNELS = 5, 4
_LONG = 8  # elements of a row or channel from which on one of them may be left out
_MOST_L = 1e6
_OF_MEAN = 1.2533  # of a median's standard error to a mean's, under normal noise
_OF_SPREAD = 1.2533 * 1.4826  # the same to the median deviation
_ALIKE = 1e-9  # relative: less than this is rounding of sums
_OF_PART, _OF_FITS = 5, 26  # numbers that the compiled pass tells of one kind of fit, and of all
LIMITS = (_MOST_L, _OF_MEAN, _OF_SPREAD)
_REGISTER = 8  # float64 in a register: tables of fits end with a whole one

# A value with its standard error; and the median and the greatest of errors, and where that is.
WithError = tuple[float, float]
Errors = tuple[float, float, int]


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of fit over all groups (rows or channels): `mean` of L; `size`, the relative L2 of
    what it explains beyond chance; the most significant group, its L and its coefficient (a scale,
    or an offset in units of the channel's RMS).
    """

    mean: float
    size: float
    top: float
    top_size: float
    top_at: int


@dataclass(frozen=True, slots=True)
class Fits:
    """All of it, with places counted in the sample; see `error_structure.Structure`. `factor` is
    what the difference is of the reference, and `offset` is in units of the usual size.
    """

    row_scale: Part | None
    channel_scale: Part | None
    channel_offset: Part | None
    factor: WithError
    offset: WithError
    row_error: Errors
    channel_error: Errors
    channel_excess: float


def fits_of(sums: EvenSums, instructions: str | None = None) -> Fits:
    """The fits to sums that are finite. `instructions` is one of `kernel.instruction_sets`, the
    best if not given.
    """
    module = compiled_module()
    if module is None:
        return fits_by_numpy(sums)
    rows, channels, groups = (each.shape[1] for each in (sums.rows, sums.channels, sums.groups))
    out = np.empty(_OF_FITS)
    padded = [-(-size // _REGISTER) * _REGISTER for size in (rows, channels)]
    size = max(4 * padded[0], 3 * channels + 4 * padded[1], 5 * groups)
    module.fits(
        sums.rows, sums.channels, sums.groups, rows, channels, groups, sums.group_size,
        *fitted_of(rows, channels), LIMITS,
        room("fits", size * out.itemsize), out, instructions,
    )  # fmt: skip
    return fits_told(rows, channels, out.tolist())


def fitted_of(rows: int, channels: int) -> tuple[bool, bool, int]:
    """Whether a sample is fitted by row and by channel, and from how many elements on the greatest
    is left out.
    """
    return channels >= _LEAST_CHANNELS, rows >= _LEAST_ROWS, _LONG


def fits_told(rows: int, channels: int, told: Sequence[float]) -> Fits:
    """The fits to a sample of that size in the compiled pass's numbers."""
    by_row, by_channel, _ = fitted_of(rows, channels)
    there = (by_row, by_channel, by_channel)
    row_scale, channel_scale, channel_offset = (
        _part_of(told[at * _OF_PART :]) if there[at] else None for at in range(3)
    )
    rest = told[3 * _OF_PART :]
    return Fits(
        row_scale, channel_scale, channel_offset, (rest[0], rest[1]), (rest[2], rest[3]),
        (rest[4], rest[5], int(rest[6])), (rest[7], rest[8], int(rest[9])), rest[10],
    )  # fmt: skip


def _part_of(told: Sequence[float]) -> Part:
    mean, size, top, top_size, top_at = told[:_OF_PART]
    return Part(mean, size, top, top_size, int(top_at))


def fits_by_numpy(sums: EvenSums) -> Fits:
    """The same in numpy's arithmetic, which is the reference."""
    row_xx, row_dd, row_most, row_xr, row_rr = sums.rows
    channel_xx, channel_dd, channel_most = sums.channels[:3]
    count, width = len(row_xx), len(channel_xx)
    row_scale = None
    if width >= _LEAST_CHANNELS:
        row_scale = _slopes(row_xx, row_xr, row_rr, width - 1, float(row_xx.sum()))
    channel_scale, channel_offset = _along_channels(sums.channels, count)
    factor, offset = common_fit(sums)
    channel_error = _errors(_without_greatest(channel_dd, channel_most, count), channel_xx)
    return Fits(
        row_scale, channel_scale, channel_offset, factor, offset,
        _errors(_without_greatest(row_dd, row_most, width), row_xx), channel_error,
        _times_median(sums.channels[7], channel_error[2]),
    )  # fmt: skip


def _slopes(xx: Array, xr: Array, rr: Array, free: int, total: float) -> Part:
    """One slope a group, from sums over each group; `free` degrees of freedom."""
    b = np.divide(xr, xx, out=np.zeros_like(xr), where=xx > 0)
    explained = b * xr
    return _part(explained, np.maximum(rr - explained, 0.0), free, b, total)


def _part(explained: Array, rest: Array, free: int, size: Array, total: float) -> Part:
    """`explained` and `rest` are squares by group, `total` the reference's squares."""
    floor = np.maximum(rest, 1e-12 * explained + 1e-300)
    ratio = np.minimum(free * np.log1p(explained / floor), _MOST_L)
    beyond = float((explained - rest / free).sum())
    at = _first_greatest(ratio)
    return Part(
        float(ratio.mean()), (max(0.0, beyond) / total) ** 0.5 if total > 0 else 0.0,
        float(ratio[at]), abs(float(size[at])), at,
    )  # fmt: skip


def _along_channels(sums: Array, count: int) -> tuple[Part | None, Part | None]:
    """Scale and offset by channel, from the sums along channels of `count` rows."""
    if count < _LEAST_ROWS:
        return None, None
    total, _, _, x, r, xr, rr, _ = sums
    mean_x, mean_r = x / count, r / count
    xx = np.maximum(total - count * mean_x * mean_x, 0.0)
    rr = np.maximum(rr - count * mean_r * mean_r, 0.0)
    xr = xr - count * mean_x * mean_r
    xx[xx < 1e-12 * total] = 0.0  # constant along the rows: no slope to be seen
    overall = float(total.sum())
    scale = _slopes(xx, xr, rr, count - 2, overall)
    usual = np.sqrt(np.maximum(total, 0.01 * overall / len(total)) / count)
    offset = _part(count * mean_r * mean_r, rr, count - 1, mean_r / usual, overall)
    return scale, offset


def _without_greatest(total: Array, most: Array, length: int) -> Array:
    """Sums along an axis of that length; where it is long, without the greatest: one element makes
    no row.
    """
    return np.maximum(total - most, 0.0) if length >= _LONG else total


def _errors(dd: Array, xx: Array) -> Errors:
    """The median, the greatest and its place."""
    usual = np.maximum(xx, 0.25 * float(xx.sum()) / xx.size)
    error = np.sqrt(dd / usual)
    at = _first_greatest(error)
    return _middle_of(error), float(error[at]), at


def _first_greatest(values: Array) -> int:
    """The place of the greatest; of those that only rounding of sums tells apart the first."""
    return int((values >= values.max() * (1 - _ALIKE)).argmax())


def _times_median(squares: Array, at: int) -> float:
    """The root of one of the squares in units of the root of their median."""
    middle = _middle_of(squares)
    return (float(squares[at]) / middle) ** 0.5 if middle > 0 else math.inf


def _middle_of(values: Array) -> float:
    return kth(values, values.size // 2)


def common_fit(sums: EvenSums) -> tuple[WithError, WithError]:
    """The factor b and the offset a that all of a difference d = b x + a has in common, each with
    its standard error; both as `weights` leave them, so that `a` is in units of the usual size.

    Least squares by groups of elements (a row each, where there are as many), then the medians over
    the groups: what sits in a few of them, whatever its size, is not common.
    """
    count = sums.group_size
    total_x, total_d, xx, xd, dd = sums.groups
    mean_x, mean_d = total_x / count, total_d / count
    xx = np.maximum(xx - count * mean_x * mean_x, 0.0)
    xd = xd - count * mean_x * mean_d
    dd = dd - count * mean_d * mean_d
    usable = xx > 1e-9 * (xx + count * mean_x * mean_x)
    if np.count_nonzero(usable) < 2:
        return (0.0, np.inf), (0.0, np.inf)
    if not usable.all():
        mean_x, mean_d, xx, xd, dd = (each[usable] for each in (mean_x, mean_d, xx, xd, dd))
    factor = xd / xx
    offset = mean_d - factor * mean_x
    rest = np.maximum(dd - factor * xd, 0.0) / max(1, count - 2)
    factor_se = np.sqrt(rest / xx)
    offset_se = np.sqrt(rest * (1.0 / count + mean_x * mean_x / xx))
    return _middle(factor, factor_se), _middle(offset, offset_se)


def _middle(values: Array, own: Array) -> WithError:
    """The median, and its standard error: from the spread of the values, which is no less than
    their own errors say.
    """
    middle = median(values)
    spread = median(np.abs(values - middle))
    least = _OF_MEAN * median(own)
    return middle, max(_OF_SPREAD * spread, least) / len(values) ** 0.5
