"""Which entries of a cache would explain what is left of attention.

With e_j the exponential of the score of key j, the output y of a query keeps to

    sum_j e_j (v_j - y) = 0.

What is left of that sum is a sum over the wrong entries alone, so that all single entries, and all
runs of them, are looked at together: an entry p that holds what q does adds e_q (v_q - y) in place
of e_p (v_p - y), one that was lost nothing, one that is zero exp(0) (0 - y).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ....capture.values import Array
from .form import Material
from .scores import HeadPart, head_parts
from .trial import Trials

_MOST_KEYS = 2048  # of a sequence: all pairs of entries are looked at
_MOST_ROWS = 8  # queries that are looked at
_ALIKE = 9.0  # squared units of rounding by which two explanations may differ and count as alike
_MOST_SAID = 4  # of them
_LESS = 0.3  # of what is left that must go for an entry to be said


@dataclass(frozen=True)
class Entry:
    """The token `place` whose entries, `rows` of the keys, hold those of token `source`. `others`
    are pairs of place and source that fit as well.
    """

    place: int
    source: int
    rows: Array
    sources: Array
    others: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Interval:
    """Tokens from `first` to `last`, both of them lost; `others` are runs that fit as well."""

    first: int
    last: int
    others: tuple[tuple[int, int], ...] = ()


def wrong_entries(trials: Trials, material: Material, parts: tuple[str, ...]) -> Entry | None:
    """The entry that holds those of another token, of keys, values or both."""
    length = material.length
    if length > _MOST_KEYS:
        return None
    gain, total, count = np.zeros((length, length)), 0.0, 0
    for terms in _terms(trials, material):
        gain += terms.overwritten(parts)
        total += terms.left
        count += terms.r.size
    past = np.zeros(length, bool)
    past[material.place_k[: material.past]] = True
    gain[~past] = -np.inf
    np.fill_diagonal(gain, -np.inf)
    place, source = np.unravel_index(int(gain.argmax()), gain.shape)
    if not gain[place, source] > (1 - _LESS) * total:
        return None
    pairs = [
        (p, q)
        for p in np.flatnonzero(material.place_k == place)
        for q in np.flatnonzero(material.place_k == source)
        if material.sequence_k[p] == material.sequence_k[q]
    ]
    rows, sources = (np.array(side) for side in zip(*pairs, strict=True)) if pairs else ((), ())
    if not len(rows):
        return None
    others = _alike(gain, total, count, _width(trials, material))
    return Entry(int(place), int(source), np.asarray(rows), np.asarray(sources), others)


def lost_entries(trials: Trials, material: Material, zeroed: bool) -> Interval | None:
    """The run of tokens that all queries of this step lack, or whose entries are zero."""
    length = material.length
    if length > _MOST_KEYS:
        return None
    gram, along, total, count = np.zeros((length, length)), np.zeros(length), 0.0, 0
    for terms in _terms(trials, material):
        more, other = terms.lost(zeroed)
        gram += more
        along += other
        total += terms.left
        count += terms.r.size
    sums = np.zeros((length + 1, length + 1))
    sums[1:, 1:] = gram.cumsum(0).cumsum(1)
    steps = np.concatenate([[0.0], along.cumsum()])
    size = np.diag(sums)
    # [first, end]: all runs at once
    square = size[:, None] + size[None, :] - sums - sums.T
    gain = 2 * (steps[None, :] - steps[:, None]) - square
    past = int(material.place_k[: material.past].max()) + 1
    gain[:, past + 1 :] = -np.inf
    gain = np.where(np.triu(np.ones_like(gain, bool), 1), gain, -np.inf)
    first, end = np.unravel_index(int(gain.argmax()), gain.shape)
    if not gain[first, end] > (1 - _LESS) * total:
        return None
    alike = _alike(gain, total, count, _width(trials, material))
    others = tuple((one, other - 1) for one, other in alike)
    return Interval(int(first), int(end) - 1, others)


def _width(trials: Trials, material: Material) -> int:
    return material.v.shape[1] // trials.form.kv_heads


def _alike(gain: Array, total: float, count: int, width: int) -> tuple[tuple[int, int], ...]:
    """The pairs, but for the best, that explain as much up to rounding; some of them where there
    are many. An error of a score moves all `width` channels of a head together.
    """
    best = float(gain.max())
    allowance = _ALIKE * width * max(1.0, (total - best) / max(1, count))
    places = np.argwhere(gain >= best - allowance)
    order = np.argsort(-gain[tuple(places.T)], kind="stable")[1 : _MOST_SAID + 1]
    return tuple((int(a), int(b)) for a, b in places[order])


@dataclass(frozen=True)
class _Terms:
    """Of one key head and sequence, with n queries (heads and rows) and L tokens: `weight` `[n]`
    of the squares, `e`, `e0` `[n, L]`, `[n]` the exponentials, `r` `[n, width]` what is left,
    `v` `[L, width]`, `y` `[n, width]`.
    """

    weight: Array
    e: Array
    e0: Array
    r: Array
    v: Array
    y: Array
    seen: Array

    @property
    def left(self) -> float:
        return float((self.weight * np.square(self.r).sum(1)).sum())

    def overwritten(self, parts: tuple[str, ...]) -> Array:
        """The weighted squares that go `[L, L]` when entry p holds q's."""
        w, e, v, y, r = self.weight[:, None], self.e, self.v, self.y, self.r
        away = _distances(v, y)  # [n, L]: |v_p - y|^2
        toward = r @ v.T - (r * y).sum(1)[:, None]  # r . (v_p - y)
        seen = self.seen.astype(float)
        if parts == ("v",):
            square = (w * e * e).sum(0)[:, None] * _distances(v, v)
            line = (w * e * (r @ v.T)).sum(0)[:, None] - (w * e).T @ (r @ v.T)
            return 2 * line - square
        # The new score of p is q's where p is seen at all.
        if parts == ("k",):
            square = (w * away * e * e).sum(0)[:, None] - 2 * (w * away * e).T @ e
            square = square + (w * away * seen).T @ (e * e)
            line = (w * toward * e).sum(0)[:, None] - (w * toward * seen).T @ e
            return 2 * line - square
        terms = (e[..., None] * (v[None] - y[:, None])).transpose(1, 0, 2)  # [L, n, width]
        flat = (terms * np.sqrt(self.weight)[None, :, None]).reshape(len(terms), -1)
        gram = flat @ flat.T
        own = np.diag(gram)
        line = flat @ (r * np.sqrt(self.weight)[:, None]).reshape(-1)
        return 2 * (line[:, None] - line[None]) - (own[:, None] + own[None] - 2 * gram)

    def lost(self, zeroed: bool) -> tuple[Array, Array]:
        """Products of the tokens' terms with each other `[L, L]` and with what is left `[L]`."""
        terms = self.e[..., None] * (self.v[None] - self.y[:, None])
        if zeroed:
            terms = terms + (self.seen * self.e0[:, None])[..., None] * self.y[:, None]
        scaled = terms * np.sqrt(self.weight)[:, None, None]
        flat = scaled.transpose(1, 0, 2).reshape(len(self.v), -1)
        return flat @ flat.T, flat @ (self.r * np.sqrt(self.weight)[:, None]).reshape(-1)


def _distances(a: Array, b: Array) -> Array:
    """Squared distances `[b, a]`."""
    return np.square(b).sum(1)[:, None] + np.square(a).sum(1)[None] - 2 * b @ a.T


def _terms(trials: Trials, material: Material) -> Iterator[_Terms]:
    base = trials.base
    assert base is not None
    spread = np.broadcast_to(base.spread, trials.y.shape)
    chosen = np.argsort(-material.place_q, kind="stable")[:_MOST_ROWS]
    for part in head_parts(trials.form, material):
        rows = np.flatnonzero(np.isin(part.rows, chosen))
        if len(rows):
            yield _of_part(part, rows, trials.y, spread, material)


def _of_part(part: HeadPart, rows: Array, y: Array, spread: Array, material: Material) -> _Terms:
    length, width = material.length, part.v.shape[1]
    columns = part.heads[:, None] * width + np.arange(width)
    taken = part.rows[rows]
    scores = part.masked()[:, rows]
    top = scores.max(-1, keepdims=True)
    e = np.exp(scores - top).astype(np.float64)
    y = np.moveaxis(np.nan_to_num(y)[taken][:, columns], 0, 1).reshape(-1, width)
    s = np.moveaxis(spread[taken][:, columns], 0, 1).reshape(-1, width)
    count = len(y)
    # An error of the output counts sum_j e_j times in what is left.
    weight = 1.0 / np.maximum(np.square(s).mean(1) * np.square(e.sum(-1).reshape(-1)), 1e-300)
    places = material.place_k[part.keys]
    all_e, all_v = np.zeros((count, length)), np.zeros((length, width))
    seen = np.zeros((count, length), bool)
    all_e[:, places] = e.reshape(count, -1)
    all_v[places] = part.v
    open_ = np.broadcast_to(part.open, part.scores.shape)[:, rows]
    seen[:, places] = open_.reshape(count, -1)
    e0 = np.exp(np.clip(-top[..., 0], -700, 700)).reshape(-1).astype(np.float64)
    r = all_e @ all_v - all_e.sum(1)[:, None] * y
    return _Terms(weight, all_e, e0, r, all_v, y, seen)
