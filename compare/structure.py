"""How the difference of a pair is built: what rounding noise cannot look like.

Rounding noise does not know the numbers that it falls on: it is no multiple of a row or a channel,
has no mean along one, and spreads over all of them. With x the reference, y the candidate, both
`[rows, channels]`, and r what is left of y - x after the best scale for all of x:

    row_scale       r = b x along every row, one b a row (a norm's epsilon does that)
    channel_scale   r = b x + a along every channel, one b a channel (a norm's weight does)
    channel_offset  r = a along every channel (a bias does)

Every group's fit has a likelihood ratio L = m log(1 + t^2 / m) with t its Student statistic and m
its degrees of freedom (Wilks, 1938: about chi-squared with one degree, mean 1, under noise). No
number here knows of a limit; `judging` and `symptoms` do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..capture.arrays import Array
from .sample import Sample

_FEWEST = 16  # elements below which there is no structure to speak of
_LEAST_ROWS, _LEAST_CHANNELS = 5, 4
_UNIQUE = 8192  # elements whose distinct values are counted
_BITS = (1, 2, 3, 4, 7, 10, 12)  # mantissa bits of fp4, e5m2, e4m3, ..., bfloat16, float16
_ON_GRID = 0.995
BLOCKED = -1e4  # an additive mask's "not this one": -inf, finfo.min, -1e9, -1e4
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

    `scale` and `scale_se`: least squares of y = scale x on the sample. `row_error`,
    `channel_error`: relative errors of rows and of channels, `(median, greatest, where)`.
    `saturated`: elements at the candidate's greatest or least value whose reference is beyond
    it (minus such elements of the reference). `distinct`: different magnitudes among `distinct_of`
    elements, reference and candidate; `bits`: mantissa bits that their values need. `blocked`:
    elements that a mask blocks on either side, and where only one does.
    """

    rows: int
    channels: int
    error: float
    scale: float
    scale_se: float
    row_scale: Part | None
    channel_scale: Part | None
    channel_offset: Part | None
    row_error: tuple[float, float, int]
    channel_error: tuple[float, float, int]
    saturated: int
    distinct: tuple[int, int]
    distinct_of: int
    bits: tuple[int, int]
    blocked: tuple[int, int]


def structure_of(sample: Sample) -> Structure | None:
    """The structure of a sample; None where there are too few finite numbers for one."""
    fine = np.isfinite(sample.x) & np.isfinite(sample.y)
    blocked = _blocked(sample)
    if blocked[0]:
        fine &= (sample.x > BLOCKED) & (sample.y > BLOCKED)
    x, y = sample.x, sample.y
    if not fine.all():
        x, y = np.where(fine, x, 0.0), np.where(fine, y, 0.0)
    d = y - x
    squares = x * x
    xx, dd = float(squares.sum()), float(np.vdot(d, d))
    if blocked[0] and xx == 0:
        return _zero_mask(sample, dd, blocked)
    if fine.sum() < _FEWEST or not 0 < xx < np.inf or not dd < np.inf:
        return None
    slope = float(np.vdot(x, d)) / xx
    r = d - slope * x
    rest = max(float(np.vdot(r, r)), 1e-300)
    row_xx, row_xr = squares.sum(1), np.einsum("ij,ij->i", x, r)
    row_rr = np.einsum("ij,ij->i", r, r)
    channel_scale, channel_offset = _along_channels(sample, x, r, squares)
    left, right = (np.abs(side.reshape(-1)[:: -(-x.size // _UNIQUE)]) for side in (x, y))
    return Structure(
        rows=x.shape[0],
        channels=x.shape[1],
        error=(dd / xx) ** 0.5,
        scale=1.0 + slope,
        scale_se=(rest / max(1, int(fine.sum()) - 1) / xx) ** 0.5,
        row_scale=_slopes(row_xx, row_xr, row_rr, x.shape[1] - 1, sample.rows, _LEAST_CHANNELS, xx),
        channel_scale=channel_scale,
        channel_offset=channel_offset,
        row_error=_errors(np.einsum("ij,ij->i", d, d), row_xx, sample.rows),
        channel_error=_errors(np.einsum("ij,ij->j", d, d), squares.sum(0), sample.channels),
        saturated=_saturated(x, y) - _saturated(y, x),
        distinct=(len(np.unique(left)), len(np.unique(right))),
        distinct_of=left.size,
        bits=(mantissa_bits(left), mantissa_bits(right)),
        blocked=blocked,
    )


def _zero_mask(sample: Sample, dd: float, blocked: tuple[int, int]) -> Structure:
    """A mask that is zero where it does not block: equal there, or not."""
    nothing = (0.0, 0.0, 0)
    return Structure(
        *sample.x.shape, error=float(dd > 0), scale=1.0, scale_se=0.0, row_scale=None,
        channel_scale=None, channel_offset=None, row_error=nothing, channel_error=nothing,
        saturated=0, distinct=(0, 0), distinct_of=0, bits=(23, 23), blocked=blocked,
    )  # fmt: skip


def _blocked(sample: Sample) -> tuple[int, int]:
    if not (float(sample.x.min()) <= BLOCKED or float(sample.y.min()) <= BLOCKED):
        return 0, 0
    left, right = sample.x <= BLOCKED, sample.y <= BLOCKED
    return int((left | right).sum()), int((left != right).sum())


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


def _along_channels(
    sample: Sample, x: Array, r: Array, squares: Array
) -> tuple[Part | None, Part | None]:
    """Scale and offset by channel."""
    count = x.shape[0]
    if count < _LEAST_ROWS:
        return None, None
    mean_x, mean_r = x.mean(0), r.mean(0)
    total = squares.sum(0)
    xx = np.maximum(total - count * mean_x * mean_x, 0.0)
    rr = np.maximum(np.einsum("ij,ij->j", r, r) - count * mean_r * mean_r, 0.0)
    xr = np.einsum("ij,ij->j", x, r) - count * mean_x * mean_r
    xx[xx < 1e-12 * total] = 0.0  # constant along the rows: no slope to be seen
    overall = float(total.sum())
    scale = _slopes(xx, xr, rr, count - 2, sample.channels, 2, overall)
    usual = np.sqrt(np.maximum(total, 0.01 * overall / len(total)) / count)
    offset = _part(
        count * mean_r * mean_r, rr, count - 1, mean_r / usual, overall, sample.channels
    )  # fmt: skip
    return scale, offset


def _errors(dd: Array, xx: Array, places: Array) -> tuple[float, float, int]:
    usual = np.maximum(xx, 0.25 * float(xx.mean()))
    error = np.sqrt(dd / usual)
    at = int(error.argmax())
    return float(np.median(error)), float(error[at]), int(places[at])


def _saturated(x: Array, y: Array) -> int:
    """Elements at the greatest or least value of `y` where `x` is well beyond it."""
    found = 0
    for sign in (1.0, -1.0):
        top = float((sign * y).max())
        at = y == sign * top
        if top > 0 and int(at.sum()) > 1:
            found += int((at & (sign * x > top * _BEYOND)).sum())
    return found


def mantissa_bits(values: Array) -> int:
    """Mantissa bits that (nearly) all of `values` can do with: 7 for numbers rounded to bfloat16,
    23 where float32 is needed, 52 where that is too little.
    """
    used = values[(values != 0) & np.isfinite(values)]
    if used.size == 0:
        return 23
    narrow = used.astype(np.float32)
    if float((narrow == used).mean()) < _ON_GRID:
        return 52
    raw = narrow.view(np.uint32) | np.uint32(1 << 23)
    lowest = np.sort(raw & (~raw + np.uint32(1)))  # each value's last bit that is set
    needed = 24 - int(lowest[int((1 - _ON_GRID) * lowest.size)]).bit_length()
    return next((bits for bits in _BITS if needed <= bits), 23)
