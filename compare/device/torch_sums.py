"""The sums of a block of both sides as torch computes them, on whatever device its tensors are.

All of it is in float64, but the comparison with the tolerance, which is in the arithmetic of the
inputs' own type (see `measuring.sums`): reading and the way to the device take longer than float64
does. No operation fuses a product with a sum, so that tolerances are counted as numpy counts them.
Scalars stay on the device until a block is done: each of them that is asked for stops it.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import numpy as np
import torch

from ...capture.values import small_float_table
from ..measuring.fused import Greatest, Moment, OnePass, Side
from ..measuring.sums import MOST_TOLERANCE, RELATIVE_FLOOR

_AS_THEY_ARE = {"float32": torch.float32, "float64": torch.float64, "float16": torch.float16,
                "bfloat16": torch.bfloat16}  # fmt: skip
_LEAST, _MOST = 1e-140, 1e140  # magnitudes whose squares float64 can hold, as in `c/limits.h`


def numbers(raw: torch.Tensor, dtype: str) -> torch.Tensor:
    """Raw bytes, uint8 and 1-D, as the numbers that they are: float64, or float32 for all else."""
    kind = _AS_THEY_ARE.get(dtype)
    if kind is None:
        return torch.index_select(_table(dtype, raw.device), 0, raw.to(torch.int32))
    found = raw.view(kind)
    return found if kind == torch.float64 else found.to(torch.float32)


@cache
def _table(dtype: str, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(small_float_table(dtype)).to(device)


def block_sums(x: torch.Tensor, y: torch.Tensor, tolerances: tuple[float, float]) -> OnePass | None:
    """The sums of two blocks of numbers, 1-D, not empty, of equal length; `tolerances` are rtol and
    atol. None where squares leave the range of float64: a job for numpy.
    """
    outside = _outside(x, y, tolerances)
    x, y = x.to(torch.float64), y.to(torch.float64)
    fine_x, fine_y = torch.isfinite(x), torch.isfinite(y)
    both = fine_x & fine_y
    if bool(both.all()):
        zeros = _numbers_of((x == 0).sum(), (y == 0).sum(), outside.sum(), (x == y).all())
        pair = _pair_sums(x, y)
        if pair is None:
            return None
        return OnePass(
            pair.moments,
            (*pair.reference, 0, 0, int(zeros[0])),
            (*pair.candidate, 0, 0, int(zeros[1])),
            pair.max_abs, pair.max_rel, pair.sum_abs, int(zeros[2]), 0, bool(zeros[3]),
        )  # fmt: skip
    alike = (x == y) | (torch.isnan(x) & torch.isnan(y))
    lone = ~both & ~alike
    reference, candidate = _side_sums(x, fine_x), _side_sums(y, fine_y)
    counts = _numbers_of((lone | (outside & both)).sum(), lone.sum(), alike.all(), both.any())
    pair = _pair_sums(x[both], y[both], both.nonzero().flatten()) if counts[3] else _NO_PAIR
    if reference is None or candidate is None or pair is None:
        return None
    return OnePass(
        pair.moments, reference, candidate, pair.max_abs, pair.max_rel, pair.sum_abs,
        int(counts[0]), int(counts[1]), bool(counts[2]),
    )  # fmt: skip


def _numbers_of(*found: torch.Tensor) -> list[float]:
    """Scalars of the device, here; whole numbers below 2^53 stay exact."""
    return torch.stack([one.to(torch.float64) for one in found]).tolist()


def _outside(x: torch.Tensor, y: torch.Tensor, tolerances: tuple[float, float]) -> torch.Tensor:
    """Where elements are outside the tolerance; of those that are not finite it says nothing."""
    narrow = x.dtype == y.dtype == torch.float32
    kind = torch.float32 if narrow else torch.float64
    rtol, atol = (_rounded(tolerance) if narrow else tolerance for tolerance in tolerances)
    x, y = x.to(kind), y.to(kind)
    return ~((y - x).abs() <= x.abs() * rtol + atol)  # a tolerance that is NaN must not pass


def _rounded(tolerance: float) -> float:
    """The tolerance as float32 holds it."""
    return float(np.float32(min(tolerance, MOST_TOLERANCE)))


class _Pair(NamedTuple):
    """The sums of pairs of finite numbers; of a side its count, extremes, mean and squares."""

    moments: Moment
    reference: tuple[int, float, float, float, float]
    candidate: tuple[int, float, float, float, float]
    max_abs: Greatest
    max_rel: Greatest
    sum_abs: float


_NOTHING: Greatest = (-1.0, -1, 0.0, 0.0)
_NO_SIDE = (0, math.inf, -math.inf, 0.0, 0.0)
_NO_PAIR = _Pair((0, *[0.0] * 8), _NO_SIDE, _NO_SIDE, _NOTHING, _NOTHING, 0.0)  # type: ignore[arg-type]


def _pair_sums(
    x: torch.Tensor, y: torch.Tensor, places: torch.Tensor | None = None
) -> _Pair | None:
    """The sums of finite numbers, float64, which stand at `places` of the block (None: one after
    the other from its first). None where squares leave the range of float64.
    """
    n = x.numel()
    ends_x, ends_y = _ends(x), _ends(y)
    d = y - x
    mean_x, mean_y, mean_d = _mean(x, *ends_x), _mean(y, *ends_y), _mean(d, *_ends(d))
    a = d.abs()
    at_abs = a.argmax()
    top, sum_abs = a.take(at_abs), a.sum()
    at_rel = (a / x.abs().clamp(min=RELATIVE_FLOOR)).argmax()
    del a
    cx, cy, cd = x - mean_x, y - mean_y, d - mean_d
    low_x, high_x, low_y, high_y, most, *means = _numbers_of(
        *ends_x, *ends_y, top, mean_x, mean_y, mean_d
    )
    if not (_in_range(low_x, high_x) and _in_range(low_y, high_y) and _in_range(-most, most)):
        return None
    xx, yy, dd, xy, xd, sum_all = _numbers_of(
        cx.dot(cx), cy.dot(cy), cd.dot(cd), cx.dot(cy), cx.dot(cd), sum_abs
    )
    values = _numbers_of(
        *(side.take(at) for at in (at_abs, at_rel) for side in (x, y)),
        *(at if places is None else places.take(at) for at in (at_abs, at_rel)),
    )
    return _Pair(
        (n, means[0], means[1], means[2], xx, yy, dd, xy, xd),
        (n, low_x, high_x, means[0], xx), (n, low_y, high_y, means[1], yy),
        (most, int(values[4]), values[0], values[1]),
        (_relative(values[2], values[3]), int(values[5]), values[2], values[3]),
        sum_all,
    )  # fmt: skip


def _side_sums(x: torch.Tensor, fine: torch.Tensor) -> Side | None:
    """Statistics of one side; None where squares leave the range of float64."""
    finite, nan, zeros = (
        int(n) for n in _numbers_of(fine.sum(), torch.isnan(x).sum(), (x == 0).sum())
    )
    rest = nan, x.numel() - finite - nan, zeros
    if not finite:
        return (*_NO_SIDE, *rest)
    x = x[fine]
    ends = _ends(x)
    mean = _mean(x, *ends)
    centred = x - mean
    low, high, middle, squares = _numbers_of(*ends, mean, centred.dot(centred))
    return (finite, low, high, middle, squares, *rest) if _in_range(low, high) else None


def _ends(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return x.amin(), x.amax()


def _mean(x: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """The mean; of equal elements exactly their value, so that they have no variance."""
    return torch.where(low == high, low, x.mean())


def _relative(x: float, y: float) -> float:
    return abs(y - x) / max(abs(x), RELATIVE_FLOOR)


def _in_range(low: float, high: float) -> bool:
    most = max(-low, high)
    return most == 0 or _LEAST < most < _MOST
