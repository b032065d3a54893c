"""Masks in which one token, or one element, is hidden or seen that is not in the reference's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ....capture.values import Array
from ..law import Hypothesis
from .edited_masks import ALONE, LEAST_GAIN, edited_mask, mask_as_bias, token_words
from .scores import HeadPart, head_parts
from .trial import Trials


@dataclass(frozen=True)
class _Gains:
    """Weighted squares that are explained when one element `[rows, keys]` is hidden, or seen."""

    hidden: Array
    seen: Array


def single_masks(trials: Trials) -> Iterator[Hypothesis]:
    material = trials.material
    if material is None or (material.bias is not None and material.bias.ndim == 3):
        return
    gains, bias = _gains(trials), mask_as_bias(trials)
    yield from _columns(trials, gains, bias)
    yield from _elements(trials, gains, bias)


def _columns(trials: Trials, gains: _Gains, bias: Array) -> Iterator[Hypothesis]:
    """One token that no query sees, or that all see."""
    material = trials.material
    assert material is not None
    for gain, value, words in (
        (gains.hidden, -np.inf, "is hidden from all queries"),
        (gains.seen, 0.0, "is seen by all queries, including earlier ones"),
    ):
        total = gain.sum(0)
        key = int(total.argmax())
        if total[key] < LEAST_GAIN:
            continue
        own = material.sequence_q == material.sequence_k[key]
        changed = bias.copy()
        changed[own, key] = np.where(own, value, 0.0)[own]
        yield edited_mask(trials, changed, f"token {token_words(material, key)} {words}")
        if value == -np.inf:
            itself = own & (material.place_q == material.place_k[key])
            if itself.any():
                changed = changed.copy()
                changed[itself, key] = bias[itself, key]
                text = f"token {token_words(material, key)} is hidden from all queries but its own"
                yield edited_mask(trials, changed, text)


def _elements(trials: Trials, gains: _Gains, bias: Array) -> Iterator[Hypothesis]:
    """One token that one query does not see, or sees."""
    material = trials.material
    assert material is not None
    for gain, value, words in (
        (gains.hidden, -np.inf, "does not see"), (gains.seen, 0.0, "sees"),
    ):  # fmt: skip
        row, key = np.unravel_index(int(gain.argmax()), gain.shape)
        if gain[row, key] < LEAST_GAIN:
            continue
        changed = bias.copy()
        changed[row, key] = value
        query = int(material.place_q[row])
        yield edited_mask(trials, changed, f"the query of token {query} {words} token "
                      f"{token_words(material, int(key))}", 1)  # fmt: skip


def _gains(trials: Trials) -> _Gains:
    material, base = trials.material, trials.base
    assert material is not None and base is not None
    shape = (len(material.q), len(material.k))
    hidden, seen = np.zeros(shape), np.zeros(shape)
    spread = np.broadcast_to(base.spread, trials.y.shape)
    for part in head_parts(trials.form, material):
        width = part.v.shape[1]
        columns = part.heads[:, None] * width + np.arange(width)
        y = np.moveaxis(np.nan_to_num(trials.y)[part.rows][:, columns], 0, 1)
        weight = 1.0 / np.maximum(np.square(spread[part.rows][:, columns]).mean(-1).T, 1e-300)
        place = np.ix_(part.rows, part.keys)
        more = _part_gains(part, y, weight)
        hidden[place] += more.hidden
        seen[place] += more.seen
    return _Gains(hidden, seen)


def _part_gains(part: HeadPart, y: Array, weight: Array) -> _Gains:
    """With a = p / (1 - p), hiding key j moves the output o by a_j (o - v_j); with the share t that
    a hidden key would have, seeing it moves the output by t_j / (1 + t_j) (v_j - o).
    """
    scores = part.masked()
    top = scores.max(-1, keepdims=True)
    e = np.exp(scores - top)
    total = e.sum(-1, keepdims=True)
    p = e / total
    output = p @ part.v
    left = y - output
    along = left @ part.v.T - (left * output).sum(-1, keepdims=True)  # left . (v_j - o)
    size = (
        np.square(part.v).sum(-1)[None, None] - 2 * output @ part.v.T
        + np.square(output).sum(-1, keepdims=True)
    )  # fmt: skip
    gone = p / np.maximum(1.0 - p, 1e-9)
    share = np.exp(np.minimum(part.scores - top, 50.0)) / total
    come = share / (1.0 + share)
    hidden = weight[..., None] * (-2 * gone * along - np.square(gone) * size)
    seen = weight[..., None] * (2 * come * along - np.square(come) * size)
    open_ = np.broadcast_to(part.open, scores.shape)
    # A query that loses its only key looks everywhere: that is another case.
    hidden = np.where(open_ & (p < 1.0 - ALONE), hidden, 0.0)
    return _Gains(hidden.sum(0), np.where(open_, 0.0, seen).sum(0))
