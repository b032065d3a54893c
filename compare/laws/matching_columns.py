"""Which input channels of a projection were exchanged, from what it gave.

With at least as many outputs as inputs, the input that a recorded output belongs to is found by
least squares, x' = argmin |y - x' W^T|, and its channels are looked up among those of x. With fewer
outputs, an exchange of two channels a and b leaves an error of rank one, (x_b - x_a)(w_a - w_b)^T,
and the pairs are taken one by one.
"""

from __future__ import annotations

import numpy as np

from ...capture.arrays import Array
from .generic import order_of
from .linear_bench import Bench, Probe

_MOST_SOLVED = 2048  # input channels up to which the input is solved for
_EXCHANGES = 8  # pairs that are looked for one by one
_CANDIDATES = 96  # channels that pairs are made of
_TAKEN = 0.3  # of the remaining error that a pair must take away


def column_order(bench: Bench) -> Array | None:
    """The order of the input channels, `x' = x[:, order]`; None where none was found."""
    out, inner = bench.weight.shape
    if len(bench.x) >= 8 and inner <= min(out, _MOST_SOLVED):
        solved = _solved(bench)
        if solved is not None:
            return solved
    return exchanged(bench.probe)


def _solved(bench: Bench) -> Array | None:
    weight = bench.weight.read().astype(np.float64)
    bias = 0.0 if bench.bias is None else bench.bias
    gram = weight.T @ weight
    gram[np.diag_indices_from(gram)] += 1e-9 * float(np.trace(gram)) / len(gram)
    try:
        x = np.linalg.solve(gram, ((bench.recorded - bias) @ weight).T).T
    except np.linalg.LinAlgError:
        return None
    return order_of(bench.x, x) if np.isfinite(x).all() else None


def exchanged(probe: Probe) -> Array | None:
    """Pairs of channels whose exchange takes the error away, one after the other."""
    order = np.arange(probe.x.shape[1])
    left = probe.residual
    scale = 1.0 / np.maximum(probe.spread, 1e-300)
    for _ in range(_EXCHANGES):
        u, _, v = np.linalg.svd(left * scale, full_matrices=False)
        pair = _best_pair(probe, order, left, scale, u[:, 0], v[0])
        if pair is None:
            break
        order[[pair[0], pair[1]]] = order[[pair[1], pair[0]]]
        left = probe.y - (probe.x[:, order] @ probe.weight.T + probe.bias)
        left = np.where(probe.fine, left, 0.0)
    return None if np.array_equal(order, np.arange(len(order))) else order


def _best_pair(
    probe: Probe, order: Array, left: Array, scale: Array, u: Array, v: Array
) -> tuple[int, int] | None:
    """The two channels whose exchange leaves least, of those that the error is like."""
    x = probe.x[:, order]
    like_x = np.abs(_correlations(x, u / scale.mean(1)))
    like_w = np.abs(_correlations(probe.weight, v / scale.mean(0)))
    some = np.union1d(
        np.argsort(like_x)[::-1][:_CANDIDATES], np.argsort(like_w)[::-1][:_CANDIDATES]
    )
    before = float(np.square(left * scale).sum())
    squares = np.square(scale)
    weight = probe.weight[:, some]
    best, found = (1 - _TAKEN) * before, None
    for a in range(len(some) - 1):
        dx = x[:, some[a + 1 :]] - x[:, some[a]][:, None]
        dw = weight[:, a][:, None] - weight[:, a + 1 :]
        # |left - dx dw^T|^2 = |left|^2 - 2 dx^T left dw + dx^2 dw^2, weighed by 1 / s^2
        cross = np.einsum("rk,rk->k", dx, (left * squares) @ dw)
        own = np.einsum("rk,rk->k", np.square(dx), squares @ np.square(dw))
        after = before - 2 * cross + own
        at = int(after.argmin())
        if after[at] < best:
            best, found = float(after[at]), (int(some[a]), int(some[a + 1 + at]))
    return found


def _correlations(columns: Array, of: Array) -> Array:
    size = np.maximum(np.linalg.norm(columns, axis=0), 1e-300)
    return (of @ columns) / size
