"""Heads or channels of an output in another order than the law has them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...capture.values import Array
from .law import Hypothesis, Prediction

_NO_WORSE = 0.02  # of correlation that a channel in its own place may have less than elsewhere
_LIKE = 0.98  # correlation from which two channels are the same one
MOST_CHANNELS = 8192  # channels whose order is looked for
_ROWS_ROLLED = 8  # rows that tell by how many places all channels are moved
_FAR = 4.0  # times the median ratio of the channels from which one is looked at, of very many


def permuted(prediction: Prediction, y: Array, groups: int) -> Iterator[Hypothesis]:
    """Heads, or channels, in another order: each is found by what it correlates with."""
    value, order = prediction.value, None
    if groups > 1 and value.shape[1] % groups == 0:
        order = order_of(_by_group(value, groups), _by_group(y, groups))
        if order is not None:
            yield _reordered(
                "head-order", "head", prediction, _channels(order, value.shape[1]), order
            )
    by_heads = order
    wide = value.shape[1] > MOST_CHANNELS
    if len(value) >= 8:
        order = _order_of_wrong(prediction, y) if wide else order_of(value, y)
        if order is not None and not _same(order, by_heads):
            yield _reordered("row-order", "output channel", prediction, order, order)
    if wide:
        yield from _rolled(prediction, y)


def _order_of_wrong(prediction: Prediction, y: Array) -> Array | None:
    """The order of the channels that are far off, of too many to look at all; None where too many
    are.
    """
    squares = np.square(y - prediction.value).sum(0)
    spread = np.broadcast_to(np.square(prediction.spread), y.shape).sum(0)
    ratio = np.sqrt(squares / np.maximum(spread, 1e-300))
    wrong = np.flatnonzero(ratio > _FAR * max(float(np.median(ratio)), 1.0))
    if not 2 <= len(wrong) <= MOST_CHANNELS:
        return None
    order = np.arange(y.shape[1])
    found = order_of(prediction.value[:, wrong], y[:, wrong])
    if found is None:
        return None
    order[wrong] = wrong[found]
    return order


def _rolled(prediction: Prediction, y: Array) -> Iterator[Hypothesis]:
    """All channels moved by as many places, around the end (of a vocabulary, say): what the product
    of the Fourier transforms, their cyclic correlation, is greatest at.
    """
    value = prediction.value
    a, b = (np.fft.rfft(values[:_ROWS_ROLLED], axis=1) for values in (value, y))
    like = np.fft.irfft((a.conj() * b).sum(0), value.shape[1])
    by = int(like.argmax())
    if by == 0:
        return
    spread = np.broadcast_to(prediction.spread, value.shape)
    by -= value.shape[1] if by > value.shape[1] // 2 else 0
    yield Hypothesis(
        "row-order", f"every output channel is {abs(by)} {'after' if by > 0 else 'before'} its "
        "place (rolled, so that the ends wrap around)",
        lambda: Prediction(np.roll(value, by, axis=1), np.roll(spread, by, axis=1)),
        "shift", "0", f"{by:+d}",
    )  # fmt: skip


def _reordered(
    name: str, what: str, prediction: Prediction, channels: Array, order: Array
) -> Hypothesis:
    moved = np.flatnonzero(order != np.arange(len(order)))
    shown = ", ".join(map(str, order[:8])) + (", ..." if len(order) > 8 else "")
    spread = np.broadcast_to(prediction.spread, prediction.value.shape)
    return Hypothesis(
        name, f"{len(moved)} of {len(order)} {what}s are in a different order ({shown})",
        lambda: Prediction(prediction.value[:, channels], spread[:, channels]),
        "order", "0, 1, 2, ...", shown,
    )  # fmt: skip


def _same(order: Array, by_heads: Array | None) -> bool:
    """Whether an order of channels is one of whole heads."""
    return by_heads is not None and np.array_equal(order, _channels(by_heads, len(order)))


def _by_group(values: Array, groups: int) -> Array:
    """`[rows x channels of a group, groups]`."""
    return values.reshape(len(values), groups, -1).transpose(0, 2, 1).reshape(-1, groups)


def _channels(order: Array, width: int) -> Array:
    size = width // len(order)
    return (order[:, None] * size + np.arange(size)).reshape(-1)


def order_of(value: Array, y: Array) -> Array | None:
    """For every column of `y` the column of `value` that it is like; None where they are in order
    already, or where it is not a permutation.
    """
    a = value - value.mean(0)
    b = y - y.mean(0)
    a = a / np.maximum(np.linalg.norm(a, axis=0), 1e-300)
    b = b / np.maximum(np.linalg.norm(b, axis=0), 1e-300)
    own = np.einsum("ij,ij->j", a, b)
    if (own >= 1.0 - _NO_WORSE).all():
        return None  # no other can be better by enough
    like = b.T @ a
    best = like.argmax(1)
    best = np.where(own >= like.max(1) - _NO_WORSE, np.arange(len(own)), best)
    if np.array_equal(best, np.arange(len(best))) or len(np.unique(best)) != len(best):
        return None
    moved = best != np.arange(len(best))
    return best if (like[moved, best[moved]] >= _LIKE).mean() > 0.9 else None
