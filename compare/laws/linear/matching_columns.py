"""Which input channels of a projection were exchanged, from what it gave.

With at least as many outputs as inputs, the input that a recorded output belongs to is found by
least squares, x' = argmin |y - x' W^T|, and its channels are looked up among those of x.

With fewer outputs, Y = sum_j x_p(j) w_j^T is a sum of products of a channel of the input with a
column of the weight, and which ones is read off Y as a signal is in noise: the likelihood ratio of
each product against all others as Gaussian noise (`_likelihoods`). What is sure is taken off, which
leaves less noise for the rest. Where nothing is sure, an exchange of two channels a and b leaves an
error of rank one, (x_b - x_a)(w_a - w_b)^T, and the pairs are taken one by one.
"""

from __future__ import annotations

import numpy as np

from ....capture.values import Array
from ..numerics.rounding import on_grid
from .bench import Bench, Probe
from .spectrum import separable

_MOST_SOLVED = 2048  # input channels up to which the input is solved for
_FEWEST_ROWS = 8  # rows from which channels are told apart by how they go
_ROUNDS = 8  # times that the channels still in doubt are solved for
_MARGIN = 0.25  # of correlation, from which a channel is beyond doubt
# Input and output channels of which products are looked for (75 MB a table), and how many times.
_MOST_DECODED, _MOST_OUTPUTS, _DECODINGS = 3072, 2048, 24
_SURE = 4.0  # logarithm of how much likelier a product is than any other of its channel or column
_EXCHANGES = 8  # pairs that are looked for one by one
_CANDIDATES = 96  # channels that pairs are made of
_TAKEN = 0.3  # of the remaining error that a pair must take away


def column_order(bench: Bench) -> Array | None:
    """The order of the input channels, `x' = x[:, order]`; None where none was found."""
    out, inner = bench.weight.shape
    if len(bench.x) >= _FEWEST_ROWS and inner <= min(out, _MOST_SOLVED):
        solved = _solved(bench)
        if solved is not None:
            return solved
    if out < inner <= _MOST_DECODED and out <= _MOST_OUTPUTS:
        order = _decoded(bench)
        if order is not None:
            return order
    return exchanged(bench.probe)


def _solved(bench: Bench) -> Array | None:
    """The order from x' by least squares, damped by the rounding of y. Channels that are found
    beyond doubt are taken as known, and the others are solved for again, which their noise is the
    less for the fewer they are.
    """
    weight = bench.weight.read().astype(np.float64)
    if bench.unit:
        weight = on_grid(weight, bench.unit)
    y = bench.recorded - (0.0 if bench.bias is None else bench.bias)
    gram, back = weight.T @ weight, y @ weight
    noise = float(np.square(bench.spread).mean()) * bench.noise
    damping = noise / max(float(np.square(bench.x).mean()), 1e-300)
    order = np.arange(len(gram))
    open_ = np.arange(len(gram))  # columns of the weight whose input channel is not known yet
    free = np.arange(len(gram))  # input channels that are not taken yet
    for _ in range(_ROUNDS):
        fixed = np.setdiff1d(np.arange(len(gram)), open_)
        right = back[:, open_] - bench.x[:, order[fixed]] @ gram[np.ix_(fixed, open_)]
        left = gram[np.ix_(open_, open_)] + damping * np.eye(len(open_))
        try:
            x = np.linalg.solve(left, right.T).T
        except np.linalg.LinAlgError:
            return None
        if not np.isfinite(x).all():
            return None
        place, sure = _assigned(x, bench.x[:, free])
        order[open_] = free[place]
        if sure.all() or not sure.any():
            break
        open_, free = open_[~sure], np.delete(free, place[sure])
    plain = np.array_equal(order, np.arange(len(order)))
    return None if plain or len(np.unique(order)) < len(order) else order


def _decoded(bench: Bench) -> Array | None:
    """The order from the products that Y is the sum of; None where too few of them are sure."""
    scale = separable(bench.spread)
    rows, columns = scale.mean(1, keepdims=True), scale.mean(0) / scale.mean()
    weight = bench.rows_of(bench.weight, np.arange(bench.weight.shape[0])) * columns[:, None]
    x = bench.x * rows
    left = (bench.recorded - (0.0 if bench.bias is None else bench.bias)) * rows * columns
    inner = x.shape[1]
    order = np.arange(inner)
    open_, free = np.arange(inner), np.arange(inner)  # columns and channels not taken yet
    for _ in range(_DECODINGS):
        likely = _likelihoods(x[:, free], weight[:, open_], left, bench.noise)
        if likely is None:
            return None
        place, sure = likely.argmax(0), _sure(likely)
        if not sure.any() and len(np.unique(place)) == len(place):
            sure[:] = True  # of few that are left each is the others' noise: none is ever sure
        if not sure.any():
            break
        found = free[place[sure]]
        order[open_[sure]] = found
        left = left - x[:, found] @ weight[:, open_[sure]].T
        open_, free = open_[~sure], np.delete(free, place[sure])
        if not len(open_):
            break
    # Channels that hardly count are left in their order.
    order[np.sort(open_)] = np.sort(free)
    plain = np.array_equal(order, np.arange(inner))
    return None if plain or len(open_) > inner // 2 else order


def _likelihoods(x: Array, weight: Array, left: Array, noise: float) -> Array | None:
    """`[channels of x, columns of the weight]`: the logarithm of how much likelier `left` is with
    their product in it. With U and V the directions of x x^T and w w^T, and a and b their sizes,
    all other products have the variance a_r b_c / n in direction r, c, and rounding has `noise`:

        L_ij = sum_rc m_rc (x_ri y_rc w_cj - x_ri^2 w_cj^2 / 2),  m = 1 / (a b / n + noise)
    """
    try:
        a, u = np.linalg.eigh(x @ x.T)
        b, v = np.linalg.eigh(weight @ weight.T)
    except np.linalg.LinAlgError:
        return None
    m = 1.0 / (np.outer(np.maximum(a, 0.0), np.maximum(b, 0.0)) / x.shape[1] + noise)
    x, weight, left = u.T @ x, v.T @ weight, u.T @ left @ v
    found = x.T @ ((m * left) @ weight) - 0.5 * np.square(x).T @ (m @ np.square(weight))
    return found if np.isfinite(found).all() else None


def _sure(likely: Array) -> Array:
    """For each column of the weight whether its channel is sure: likelier by far than any other,
    and than that channel in any other place.
    """
    if likely.shape[0] == 1:
        return np.ones(1, bool)
    place, at = likely.argmax(0), np.arange(likely.shape[1])
    best = likely[place, at]
    by_column = np.partition(likely, -2, axis=0)[-2]
    by_channel = np.partition(likely, -2, axis=1)[:, -2]
    mutual = likely.argmax(1)[place] == at
    return mutual & (best - np.maximum(by_column, by_channel[place]) >= _SURE) & (best >= _SURE)


def _assigned(found: Array, known: Array) -> tuple[Array, Array]:
    """For every column of `found` a column of `known` of its own, the most alike first, and
    whether it is beyond doubt: much more alike than any other.
    """
    a, b = _unit_columns(found), _unit_columns(known)
    like = a.T @ b
    best = np.sort(like, axis=1)[:, ::-1]
    margin = best[:, 0] - (best[:, 1] if like.shape[1] > 1 else 0.0)
    place = np.full(len(like), -1)
    taken = np.zeros(like.shape[1], bool)
    for at in np.argsort(-margin):
        choice = int(np.where(taken, -np.inf, like[at]).argmax())
        place[at] = choice
        taken[choice] = True
    return place, (margin >= _MARGIN) & (place == like.argmax(1))


def _unit_columns(values: Array) -> Array:
    centred = values - values.mean(0)
    return centred / np.maximum(np.linalg.norm(centred, axis=0), 1e-300)


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
