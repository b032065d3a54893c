"""A weight that differs by a matrix of low rank, as an adapter that is merged on one side only.

What is left, R = X (V U)^T with V U of rank r, has rank r too; with every row and channel divided
by its rounding, the further singular values are those of noise. Only with at least 3 r rows is it
anything but a coincidence, and only where the error is spread over rows and channels.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...capture.arrays import Array
from .law import Hypothesis, Prediction
from .linear_bench import Bench

_ROWS_A_RANK = 3  # rows of the sample for each rank
_GAP = 4.0  # how far the last singular value of the difference stands above the first of the noise
_ABOVE = 3.0  # times the noise's usual largest singular value
_SPREAD_OVER = 6.0  # rows, and channels, that a component has its energy in
_CONSTANT = (
    0.05  # of the error's energy that may be left when the mean of each channel is taken off
)


def low_rank(bench: Bench) -> Iterator[Hypothesis]:
    """The difference of lowest rank that leaves nothing but noise."""
    scale = 1.0 / np.maximum(bench.spread, 1e-300)
    left = np.where(np.isfinite(bench.case.output), bench.case.output - bench.base.value, 0.0)
    if np.square(left - left.mean(0)).sum() <= _CONSTANT * np.square(left).sum():
        return  # a bias
    u, s, v = np.linalg.svd(left * scale, full_matrices=False)
    rank = rank_of(s, *left.shape)
    if rank is None or not _spread_out(u[:, :rank], v[:rank]):
        return
    part = ((u[:, :rank] * s[:rank]) @ v[:rank]) / scale
    share = float(np.square(s[:rank]).sum() / max(float(np.square(s).sum()), 1e-300))
    text = (
        f"the weight{bench.where} differs by a matrix of rank {rank}, as an adapter that is merged "
        "on one side only"
    )
    rows, out = left.shape
    yield Hypothesis(
        "low-rank", text, lambda: Prediction(bench.base.value + part, bench.base.spread), "rank",
        "0", str(rank), f"{100 * share:.4g} % of the error", rank * (rows + out - rank),
    )  # fmt: skip


def rank_of(s: Array, rows: int, out: int) -> int | None:
    """The rank below which singular values stand out of the noise; None where none does."""
    most = min(rows, out) // _ROWS_A_RANK
    for rank in range(1, most + 1):
        rest = s[rank:]
        noise = float(np.sqrt(np.square(rest).sum() / ((rows - rank) * (out - rank))))
        largest = noise * (rows**0.5 + out**0.5)
        if s[rank] <= _ABOVE * largest and s[rank - 1] >= max(_ABOVE * largest, _GAP * s[rank]):
            return rank
    return None


def _spread_out(u: Array, v: Array) -> bool:
    """False for an error of a few rows or channels: others explain that better."""
    over_rows = 1.0 / np.square(np.square(u).mean(1) / np.square(u).mean(1).sum()).sum()
    over_channels = 1.0 / np.square(np.square(v).mean(0) / np.square(v).mean(0).sum()).sum()
    return bool(min(over_rows, over_channels) >= _SPREAD_OVER)
