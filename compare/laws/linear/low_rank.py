"""A weight that differs by a matrix of low rank, as an adapter that is merged on one side only.

The rows of the error's spectrum (see `spectrum`) then have that rank, and the further singular
values are those of noise; or the error itself has that rank, and what is left is as small as the
usual rounding, although a change of full rank would show in many more directions of the input.
Only with at least 3 r rows is it anything but a coincidence, and only where the error is spread
over rows and channels.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ....capture.values import Array
from ..law import Hypothesis, Prediction
from .bench import Bench
from .spectrum import Spectrum, spectrum

_ROWS_A_RANK = 3  # rows of the sample for each rank
_DIRECTIONS_A_RANK = 2  # and directions that the rounding does not hide
_GAP = 4.0  # how far the last singular value of the difference stands above the first of the noise
_CHASM = 30.0  # as far, that it does not matter what the noise is like
_ABOVE = 3.0  # times the noise's usual largest singular value
_USUAL = 1.5  # times that, which what is left of a difference may have
_SPREAD_OVER = 6.0  # rows, and channels, that the difference has its energy in
_CONSTANT = 0.05  # of the error's energy that is left of a bias, with the mean of each channel gone


def low_rank(bench: Bench) -> Iterator[Hypothesis]:
    """The difference of lowest rank that leaves nothing but noise."""
    left = bench.residual
    if np.square(left - left.mean(0)).sum() <= _CONSTANT * np.square(left).sum():
        return
    found = spectrum(left, bench.x, bench.spread, bench.noise)
    if found is None:
        return
    rank = rank_of(np.linalg.svd(found.z, compute_uv=False), *found.z.shape)
    if rank is None:
        rank = rank_above(found, bench.noise)
    if rank is None or len(left) < _ROWS_A_RANK * rank:
        return
    scaled = _projected(found, rank)
    if not _spread_out(scaled):
        return
    part = scaled / found.scale
    text = (
        f"the weight{bench.where} differs by a matrix of rank {rank}, as an adapter that is merged "
        "on one side only"
    )
    yield Hypothesis(
        "low-rank", text, lambda: Prediction(bench.base.value + part, bench.base.spread), "rank",
        "0", str(rank), "", rank * (sum(left.shape) - rank),
    )  # fmt: skip


def _projected(found: Spectrum, rank: int) -> Array:
    """The part of the residual in the `rank` combinations of channels that hold most of it. All
    directions have the same ones: they are seen best with the directions of equal weight, or with
    those of little error weighed less.
    """
    best, least = found.residual, np.inf
    for power in (0.0, 0.5, 1.0):
        weighed = found.z * (found.sizes[:, None] / found.sizes.max()) ** power
        v = np.linalg.svd(weighed, full_matrices=False)[2][:rank]
        part = found.residual @ v.T @ v
        left = float(np.square(found.residual - part).sum())
        if left < least:
            best, least = part, left
    return best


def rank_of(s: Array, rows: int, out: int) -> int | None:
    """The rank below which singular values stand out of the noise; None where none does."""
    most = min(rows, out) // _DIRECTIONS_A_RANK
    for rank in range(1, most + 1):
        rest = s[rank:]
        noise = float(np.sqrt(np.square(rest).sum() / ((rows - rank) * (out - rank))))
        largest = noise * (rows**0.5 + out**0.5)
        even = s[rank] <= _ABOVE * largest or s[rank - 1] >= _CHASM * s[rank]
        if even and s[rank - 1] >= max(_ABOVE * largest, _GAP * s[rank]):
            return rank
    return None


def rank_above(found: Spectrum, noise: float) -> int | None:
    """How many singular values of the error stand above those of the usual rounding, `noise` being
    its square in units of the spread; None where that may be all that can be seen of a difference
    of full rank. (What rounds unlike the rest, as a massive activation does, makes the spectrum
    uneven, and counts little here.)
    """
    rows, out = found.residual.shape
    s = np.linalg.svd(found.residual, compute_uv=False)
    largest = noise**0.5 * (rows**0.5 + out**0.5)
    rank = int(np.count_nonzero(s > _USUAL * largest))
    if not 0 < rank <= len(found.sizes) // _ROWS_A_RANK or rank == len(s):
        return None
    return rank if s[rank - 1] >= max(_ABOVE * largest, _GAP * s[rank]) else None


def _spread_out(part: Array) -> bool:
    """False for an error of a few rows or channels: others explain that better."""
    squares = np.square(part)
    return min(_count(squares.sum(1)), _count(squares.sum(0))) >= _SPREAD_OVER


def _count(energies: Array) -> float:
    """How many numbers of equal size would be as unequal as these (participation ratio)."""
    return float(energies.sum() ** 2 / max(float(np.square(energies).sum()), 1e-300))
