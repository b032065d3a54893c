"""How the difference of a pair is built: what rounding noise cannot look like.

Rounding noise does not know the numbers that it falls on: it is no multiple of a row or a channel,
has no mean along one, and spreads over all of them. With x the reference, y the candidate, both
`[rows, channels]`, and r what is left of y - x after the best scale for all of x:

    row_scale       r = b x along every row, one b a row (a norm's epsilon does that)
    channel_scale   r = b x + a along every channel, one b a channel (a norm's weight does)
    channel_offset  r = a along every channel (a bias does)

All of this is seen as `even` has it: no token and no channel rules by its size. Every group's fit
has a likelihood ratio L = m log(1 + t^2 / m) with t its Student statistic and m its degrees of
freedom (Wilks, 1938: about chi-squared with one degree, mean 1, under noise). No number here knows
of a limit; `judging` and `symptoms` do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...capture.values import Array
from ..limits import BLOCKED
from .bounded_sample import Sample
from .even_sample import EvenSums, common_fit, even_sums
from .mantissa import distinct, mantissa_bits
from .masks import blocked_places, looks_like_mask
from .order_statistics import kth

_FEWEST = 16  # elements below which there is no structure to speak of
_LEAST_ROWS, _LEAST_CHANNELS = 5, 4
FEW_VALUES = 512  # elements below which distinct values are not counted
_UNIQUE = 8192  # elements whose distinct values are counted
_COARSE = 7  # of them that records are usually kept in: fewer are a finding
_LONG = 8  # elements of a row or channel from which on one of them may be left out
_MOST_L = 1e6
_BEYOND = 1.02  # times the greatest value: further than bfloat16 rounds


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
class Structure:
    """Numbers of the sample of a pair; places are flat rows and channels of the pair's view.

    `error`, `scale` and `scale_se`: relative L2, and least squares of y = scale x, of the sample as
    it is. All else is of values that count alike (see `even`): `even_error` is the relative L2 of
    these; `factor` and `offset` are what the difference has in common, `y = factor x + offset`,
    with standard errors, the offset in units of the usual size. `row_error`, `channel_error`:
    relative errors of rows and of channels without their greatest element, `(median, greatest,
    where)`. `channel_excess`: how many times the median error of the channels, as it is, the error
    of that channel is; one whose terms cancel has a large relative error alone.
    `saturated`: elements at the candidate's greatest or least value whose reference is beyond
    it (minus such elements of the reference). `bits`: mantissa bits that the values need;
    `distinct`: different magnitudes among `distinct_of` elements (none of few), of the reference
    when rounded to the candidate's bits (to no fewer than bfloat16 has), and of the candidate.
    `blocked`: elements of a mask that either side blocks, and where the two do not agree.
    """

    rows: int
    channels: int
    error: float
    scale: float
    scale_se: float
    even_error: float
    factor: tuple[float, float]
    offset: tuple[float, float]
    row_scale: Part | None
    channel_scale: Part | None
    channel_offset: Part | None
    row_error: tuple[float, float, int]
    channel_error: tuple[float, float, int]
    channel_excess: float
    saturated: int
    distinct: tuple[int, int]
    distinct_of: int
    bits: tuple[int, int]
    blocked: tuple[int, int]


def structure_of(sample: Sample, mask: bool = False) -> Structure | None:
    """The structure of a sample; None where there are too few finite numbers for one. `mask` says
    that the record is a mask by its name.
    """
    x, y, blocked, fine = sample.x, sample.y, (0, 0), sample.x.size
    if x.size == 0:
        return None
    sums = even_sums(x, y)
    if mask or not np.isfinite(sums.plain).all() or sums.plain[3] <= BLOCKED:
        x, y, blocked, fine = _usable(sample, mask)
        sums = even_sums(x, y)
    squares, xd, dd, *low_high = sums.plain.tolist()
    if blocked[0] and squares == 0:
        return _zero_mask(sample, dd, blocked)
    if fine < _FEWEST or not 0 < squares < np.inf or not dd < np.inf:
        return None
    slope = xd / squares
    rest = max(dd - slope * slope * squares, 1e-300)
    some = slice(None, None, -(-x.size // _UNIQUE))
    taken = slice(0, 0) if x.size < FEW_VALUES else some
    bits = mantissa_bits(x.reshape(-1)[some]), mantissa_bits(y.reshape(-1)[some])
    left, right = (side.reshape(-1)[taken] for side in (x, y))
    return Structure(
        rows=x.shape[0],
        channels=x.shape[1],
        error=(dd / squares) ** 0.5,
        scale=1.0 + slope,
        scale_se=(rest / max(1, fine - 1) / squares) ** 0.5,
        **_even(sample, sums, x.shape),
        saturated=_saturated(x, y, *low_high[2:]) - _saturated(y, x, *low_high[:2]),
        distinct=(distinct(left, max(min(bits), _COARSE)), distinct(right)),
        distinct_of=left.size,
        bits=bits,
        blocked=blocked,
    )


def _even(sample: Sample, sums: EvenSums, shape: tuple[int, ...]) -> dict[str, Any]:
    """What is seen of the difference when all values count alike."""
    row_xx, row_dd, row_most, row_xr, row_rr = sums.rows
    channel_xx, channel_dd, channel_most = sums.channels[:3]
    count, width = shape
    xx = float(row_xx.sum())
    channel_scale, channel_offset = _along_channels(sample, sums.channels, count)
    (factor, factor_se), offset = common_fit(sums)
    row_error, _ = _errors(_without_greatest(row_dd, row_most, width), row_xx, sample.rows)
    channel_error, at = _errors(
        _without_greatest(channel_dd, channel_most, count), channel_xx, sample.channels
    )
    return {
        "even_error": (float(row_dd.sum()) / xx) ** 0.5,
        "factor": (1.0 + factor, factor_se),
        "offset": offset,
        "row_scale": _slopes(row_xx, row_xr, row_rr, width - 1, sample.rows, _LEAST_CHANNELS, xx),
        "channel_scale": channel_scale,
        "channel_offset": channel_offset,
        "row_error": row_error,
        "channel_error": channel_error,
        "channel_excess": _times_median(sums.channels[7], at),
    }


def _usable(sample: Sample, mask: bool) -> tuple[Array, Array, tuple[int, int], int]:
    """Both sides with zeros where either is not finite or a mask blocks; what is blocked (see
    `Structure`), and how many elements are left.
    """
    x, y = sample.x, sample.y
    left_out = ~(np.isfinite(x) & np.isfinite(y))
    blocked = 0, 0
    if mask or looks_like_mask(x):
        places, apart = blocked_places(x, y)
        blocked = int(np.count_nonzero(places)), int(np.count_nonzero(apart))
        left_out |= places
    if not left_out.any():
        return x, y, blocked, x.size
    fine = ~left_out
    return (
        np.where(fine, x, 0.0), np.where(fine, y, 0.0), blocked, int(np.count_nonzero(fine)),
    )  # fmt: skip


def _zero_mask(sample: Sample, dd: float, blocked: tuple[int, int]) -> Structure:
    """A mask that is zero where it does not block: equal there, or not."""
    nothing = (0.0, 0.0, 0)
    return Structure(
        *sample.x.shape, error=float(dd > 0), scale=1.0, scale_se=0.0, even_error=float(dd > 0),
        factor=(1.0, 0.0), offset=(0.0, 0.0), row_scale=None, channel_scale=None,
        channel_offset=None, row_error=nothing, channel_error=nothing, channel_excess=0.0,
        saturated=0, distinct=(0, 0), distinct_of=0, bits=(23, 23), blocked=blocked,
    )  # fmt: skip


def _slopes(
    xx: Array, xr: Array, rr: Array, free: int, places: Array, least: int, total: float
) -> Part | None:  # fmt: skip
    """One slope a group, from sums over each group; `free` degrees of freedom."""
    if free < least - 1:
        return None
    usable = xx > 0
    b = np.divide(xr, xx, out=np.zeros_like(xr), where=usable)
    explained = b * xr
    return _part(explained, np.maximum(rr - explained, 0.0), free, b, total, places)


def _part(
    explained: Array, rest: Array, free: int, size: Array, total: float, places: Array
) -> Part:  # fmt: skip
    """`explained` and `rest` are squares by group, `total` the reference's squares."""
    floor = np.maximum(rest, 1e-12 * explained + 1e-300)
    ratio = np.minimum(free * np.log1p(np.maximum(explained, 0.0) / floor), _MOST_L)
    beyond = float((explained - rest / free).sum())
    at = int(ratio.argmax())
    return Part(
        float(ratio.mean()), (max(0.0, beyond) / total) ** 0.5 if total > 0 else 0.0,
        float(ratio[at]), abs(float(size[at])), int(places[at]),
    )  # fmt: skip


def _along_channels(sample: Sample, sums: Array, count: int) -> tuple[Part | None, Part | None]:
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
    scale = _slopes(xx, xr, rr, count - 2, sample.channels, 2, overall)
    usual = np.sqrt(np.maximum(total, 0.01 * overall / len(total)) / count)
    offset = _part(
        count * mean_r * mean_r, rr, count - 1, mean_r / usual, overall, sample.channels
    )  # fmt: skip
    return scale, offset


def _without_greatest(total: Array, most: Array, length: int) -> Array:
    """Sums along an axis of that length; where it is long, without the greatest: one element makes
    no row.
    """
    return np.maximum(total - most, 0.0) if length >= _LONG else total


def _errors(dd: Array, xx: Array, places: Array) -> tuple[tuple[float, float, int], int]:
    """The median, the greatest and its place among `places`; and its index."""
    usual = np.maximum(xx, 0.25 * float(xx.sum()) / xx.size)
    error = np.sqrt(dd / usual)
    at = int(error.argmax())
    return (_middle_of(error), float(error[at]), int(places[at])), at


def _times_median(squares: Array, at: int) -> float:
    """The root of one of the squares in units of the root of their median."""
    middle = _middle_of(squares)
    return (float(squares[at]) / middle) ** 0.5 if middle > 0 else math.inf


def _middle_of(values: Array) -> float:
    return kth(values, values.size // 2)


def _saturated(x: Array, y: Array, low: float, high: float) -> int:
    """Elements at the greatest or least value of `y`, `high` and `low`, where `x` is well beyond
    it; none where most of what is beyond it in `x` is elsewhere in `y`, as noise has it.
    """
    found = 0
    for sign, end in ((1.0, high), (-1.0, low)):
        at = y == end
        if sign * end <= 0 or np.count_nonzero(at) < 2:
            continue
        limit = sign * end * _BEYOND
        beyond = np.count_nonzero(sign * x > limit)
        standing = np.count_nonzero(sign * x[at] > limit)
        found += int(standing) if 2 * standing > beyond else 0
    return found
