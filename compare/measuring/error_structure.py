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

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ...capture.values import Array
from ..limits import BLOCKED
from .bounded_sample import Cut, Sample
from .even_sample import LIMITS as EVENING
from .even_sample import even_sums, evening_of
from .fits import LIMITS as FITTING
from .fits import Fits, Part, fits_of, fits_told, fitted_of
from .fused import Place, SampleLimits, sample_of_files
from .kernel import compiled_module
from .mantissa import distinct, mantissa_bits
from .masks import blocked_places, looks_like_mask

_FEWEST = 16  # elements below which there is no structure to speak of
FEW_VALUES = 512  # elements below which distinct values are not counted
_UNIQUE = 8192  # elements whose distinct values are counted
_COARSE = 7  # of them that records are usually kept in: fewer are a finding
_BEYOND = 1.02  # times the greatest value: further than bfloat16 rounds


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


def structure_in_files(places: tuple[Place, Place], cut: Cut) -> Structure | None:
    """The structure of a sample that is cut so and lies in two files, by the compiled pass; None
    where that leaves it to `structure_of`. Raises `OSError`, and `EOFError` where a file is shorter
    than it was.
    """
    rows, channels = cut.rows, cut.channels
    if rows * channels < _FEWEST:
        return None
    found = sample_of_files(*places, cut.runs(), sample_limits(rows, channels))
    if found is None:
        return None
    return _built(
        (rows, channels), rows * channels, found.plain[:3], found.even_error,
        _placed(fits_told(rows, channels, found.fits), cut.row_at, cut.channel_at),
        found.saturated, found.distinct, found.bits,
    )  # fmt: skip


@lru_cache(maxsize=256)  # the layers of a model have records of a few shapes
def sample_limits(rows: int, channels: int) -> SampleLimits:
    """What the compiled pass needs to know of a sample of that size."""
    count = rows * channels
    rest = _step(count), count >= FEW_VALUES, _COARSE, BLOCKED, _BEYOND
    return SampleLimits(
        rows, channels, evening_of(rows, channels), EVENING, fitted_of(rows, channels), FITTING,
        rest,
    )  # fmt: skip


def _step(count: int) -> int:
    """Of so many elements one is looked at for its grid."""
    return -(-count // _UNIQUE)


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
    step = _step(x.size)
    left, right = (np.ascontiguousarray(side.reshape(-1)[::step]) for side in (x, y))
    bits = mantissa_bits(left), mantissa_bits(right)
    counted = (0, 0)
    if x.size >= FEW_VALUES:
        counted = distinct(left, max(min(bits), _COARSE)), distinct(right)
    return _built(
        x.shape, fine, (squares, xd, dd), float(sums.rows[1].sum() / sums.rows[0].sum()),
        _placed(fits_of(sums), sample.rows.item, sample.channels.item),
        saturated(x, y, low_high), counted, bits, blocked,
    )  # fmt: skip


def _built(
    size: tuple[int, ...], fine: int, plain: tuple[float, ...], even_error: float,
    fits: dict[str, Any], standing: int, counted: tuple[int, int], bits: tuple[int, int],
    blocked: tuple[int, int] = (0, 0),
) -> Structure:  # fmt: skip
    """A structure from the numbers that are seen in a sample of that size, of which `fine` elements
    count: `plain` are the sums xx, xd, dd.
    """
    squares, xd, dd = plain
    slope = xd / squares
    rest = max(dd - slope * slope * squares, 1e-300)
    rows, channels = size
    count = rows * channels
    return Structure(
        rows=rows,
        channels=channels,
        error=(dd / squares) ** 0.5,
        scale=1.0 + slope,
        scale_se=(rest / max(1, fine - 1) / squares) ** 0.5,
        even_error=even_error**0.5,
        **fits,
        saturated=standing,
        distinct=counted,
        distinct_of=-(-count // _step(count)) if count >= FEW_VALUES else 0,
        bits=bits,
        blocked=blocked,
    )


Position = Callable[[int], int]  # in the view, of one in the sample


def _placed(found: Fits, row_at: Position, channel_at: Position) -> dict[str, Any]:
    """What is seen of the difference when all values count alike, with the places of the view."""

    def placed(part: Part | None, place: Position) -> Part | None:
        if part is None:
            return None
        return Part(part.mean, part.size, part.top, part.top_size, place(part.top_at))

    factor, factor_se = found.factor
    row_error, channel_error = found.row_error, found.channel_error
    return {
        "factor": (1.0 + factor, factor_se),
        "offset": found.offset,
        "row_scale": placed(found.row_scale, row_at),
        "channel_scale": placed(found.channel_scale, channel_at),
        "channel_offset": placed(found.channel_offset, channel_at),
        "row_error": (*row_error[:2], row_at(row_error[2])),
        "channel_error": (*channel_error[:2], channel_at(channel_error[2])),
        "channel_excess": found.channel_excess,
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


def saturated(x: Array, y: Array, ends: list[float], instructions: str | None = None) -> int:
    """Elements of `y` at its greatest or least value whose `x` is well beyond it, less those of `x`
    at its. `ends` are the least and the greatest of x, then of y.
    """
    module = compiled_module()
    if module is None:
        return _saturated(x, y, *ends[2:]) - _saturated(y, x, *ends[:2])
    sides = np.ascontiguousarray(x), np.ascontiguousarray(y)
    return module.saturated(*sides, tuple(ends), _BEYOND, instructions)


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
