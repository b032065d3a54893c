"""Factors of a projection's input channels: a scaling that was not undone, or applied twice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ....capture.values import Array
from ..law import Hypothesis
from ..names import number_words
from .bench import Bench, Probe

_MOST_SOLVED = 4096  # input channels whose factors are solved for together
_FEW = 16  # input channels of which a few may have a factor of their own
_TAKEN = 0.3  # of the error that is left, which one more channel must take away
_WIDE = 1.5  # times as many equations as unknowns


def column_factors(bench: Bench) -> Iterator[Hypothesis]:
    """A factor on a few input channels, else one on each."""
    few = _few(bench.probe)
    if few is not None:
        channels, factors = few
        yield _with(bench, _all(bench, channels, factors), channels, factors, len(channels))
        return
    factors = _solved(bench.probe)
    if factors is not None:
        yield _with(bench, factors, np.arange(len(factors)), factors, len(factors))


def _with(
    bench: Bench, factors: Array, channels: Array, shown: Array, fitted: int
) -> Hypothesis:  # fmt: skip
    if len(channels) == 1:
        words = f"input channel {channels[0]} is scaled by {number_words(shown[0])}"
    elif len(channels) <= _FEW:
        said = ", ".join(
            f"{c} x {number_words(f)}" for c, f in zip(channels[:4], shown[:4], strict=True)
        )
        words = f"{len(channels)} input channels are scaled ({said})"
    else:
        low, high = np.percentile(shown, [5, 95])
        words = (
            "every input channel is scaled by its own factor "
            f"({number_words(low)} .. {number_words(high)})"
        )
    return Hypothesis(
        "scale", f"{words}{bench.where}",
        lambda: bench.product(bias=bench.bias, x=bench.x * factors),
        "factor of input channels", "1", ", ".join(map(number_words, shown[:4])), "", fitted,
    )  # fmt: skip


def _all(bench: Bench, channels: Array, factors: Array) -> Array:
    every = np.ones(bench.x.shape[1])
    every[channels] = factors
    return every


def _few(probe: Probe) -> tuple[Array, Array] | None:
    """Channels that take the error away, found one by one: the best x_j w_j^T each time, then all
    chosen ones by least squares.
    """
    scale = 1.0 / np.maximum(probe.spread, 1e-300)
    squares = np.square(scale)
    target = probe.residual * scale
    sizes = np.einsum(
        "rj,rj->j", np.square(probe.x), squares @ np.square(probe.weight), optimize=True
    )
    chosen: list[int] = []
    left, factors = target, np.empty(0)
    before = float(np.square(target).sum())
    for _ in range(_FEW):
        like = np.einsum("rj,rj->j", probe.x, (left * scale) @ probe.weight, optimize=True)
        gain = np.square(like) / np.maximum(sizes, 1e-300)
        gain[chosen] = 0.0
        at = int(gain.argmax())
        rest = float(np.square(left).sum())
        if not np.isfinite(gain[at]) or gain[at] < _TAKEN * rest:
            break
        chosen.append(at)
        columns = np.stack(
            [((probe.x[:, j, None] * probe.weight[None, :, j]) * scale).ravel() for j in chosen], 1
        )
        factors = np.linalg.lstsq(columns, target.ravel(), rcond=None)[0]
        left = target - (columns @ factors).reshape(target.shape)
    if not chosen or float(np.square(left).sum()) > 0.36 * before:
        return None
    return np.array(chosen), 1.0 + factors


def _solved(probe: Probe) -> Array | None:
    """A factor for each input channel by least squares: with a_j = factor - 1 and weights 1 / s^2,

    sum_jk (X^T X)_jk (W^T W)_jk a_k = (X^T R W)_jj.
    """
    inner = probe.x.shape[1]
    if inner > _MOST_SOLVED or probe.y.size < _WIDE * inner:
        return None
    row = 1.0 / np.maximum(np.median(probe.spread, axis=1), 1e-300)
    column = 1.0 / np.maximum(np.median(probe.spread * row[:, None], axis=0), 1e-300)
    x, w = probe.x * row[:, None], probe.weight * column[:, None]
    left = probe.residual * row[:, None] * column
    gram = (x.T @ x) * (w.T @ w)
    gram[np.diag_indices_from(gram)] += 1e-9 * float(np.trace(gram)) / inner
    try:
        found = np.linalg.solve(gram, np.einsum("rj,rj->j", x, left @ w, optimize=True))
    except np.linalg.LinAlgError:
        return None
    if not np.isfinite(found).all():
        return None
    factors = 1.0 + found
    value = (probe.x * factors) @ probe.weight.T + probe.bias
    return factors if probe.promising(value, 0.5) else None
