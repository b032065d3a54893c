"""Scores of attention: rotated queries times rotated keys, head by head in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from ....capture.values import Array
from ..numerics.rounding import ROUNDED, on_grid
from ..rotary.frequencies import crossed, relaid
from .form import Angles, Form, Material, allowed, uses_bias

_COARSE = 2.0**-12  # from this unit on, float32 is fine enough to work in
_FLIPS = 0.4  # share of a fine error by which a value falls on the other side of a coarse grid
_CHUNK = 1 << 21  # elements of one key head's scores at a time
_AT_ONCE = 1 << 17  # and of several key heads': what a cache holds
_PARTS = 4  # of the rows, each with the keys that it looks at
_WORTH = 1 << 12  # scores of a head from which that costs less than all
_TURNED = 1 << 20  # elements of keys that are rotated at a time


@dataclass(frozen=True)
class Rounding:
    """Unit roundoffs: of rotated queries and keys and of the output (`work`), of the scores and of
    the probabilities. `simulated` rounds to them, else the arithmetic is exact and they only count
    in the variance.
    """

    work: float
    scores: float
    probabilities: float
    simulated: bool = False


EXACT = Rounding(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class HeadPart:
    """Query heads that look at one key head, in one sequence: `rows` and `keys` are places in the
    material. `q` `[heads, rows, width]`, `k`, `v` `[keys, width]` with the variances that rounding
    gives rotated ones; `scores` `[heads, rows, keys]` before the mask; `open` `[1 or heads, rows,
    keys]` where a query may look. Those of several key heads at a time (`head_groups`) have an axis
    for these in front: `heads` is then `[key heads, heads]`. The rows are those from the `first`
    on of `count` that the sequence has.
    """

    heads: Array
    rows: Array
    keys: Array
    q: Array
    q_variance: Array
    k: Array
    k_variance: Array
    v: Array
    scores: Array
    open: Array
    first: int
    count: int

    def masked(self) -> Array:
        """The scores with minus infinity where a query may not look. One that may look nowhere
        looks everywhere alike, as it does under a mask that adds the lowest number to all scores.
        """
        nowhere = ~self.open.any(-1, keepdims=True)
        closed = np.where(nowhere, 0.0, -np.inf).astype(self.scores.dtype)
        return np.where(self.open, self.scores, closed)

    def of_key_head(self, at: int) -> HeadPart:
        """One key head of several."""
        own = self.open[at if len(self.open) > 1 else 0]
        q, k = (self.q[at], self.q_variance[at]), (self.k[at], self.k_variance[at])
        return HeadPart(
            self.heads[at], self.rows, self.keys, *q, *k, self.v[at], self.scores[at], own,
            self.first, self.count,
        )  # fmt: skip


def head_parts(form: Form, material: Material, rounding: Rounding = EXACT) -> Iterator[HeadPart]:
    """All heads of all sequences that have sampled rows, one key head after the other."""
    for (group,) in head_groups(form, material, rounding):
        yield from (group.of_key_head(at) for at in range(len(group.heads)))


def head_groups(
    form: Form, material: Material, *ways: Rounding, key_heads: Array | None = None,
    seen_alone: bool = False,
) -> Iterator[tuple[HeadPart, ...]]:  # fmt: skip
    """The same, several key heads at a time (all, or those that are given), for each of some ways
    to round, which rotate alike. `seen_alone`: without keys that none of the rows looks at, and
    some of the rows at a time.
    """
    plain = not form.softmax_unit and not form.product_unit
    coarse = ways[0].work >= _COARSE and plain
    workers = [_Worker(form, way, np.float32 if coarse else np.float64) for way in ways]
    open_ = allowed(form, material)
    chosen = np.arange(form.kv_heads) if key_heads is None else key_heads
    for rows, keys in _sequences(material):
        part = _cut(material, rows, keys)
        mask = open_[np.ix_(rows, keys)]
        windows = [_Window(rows, keys, mask, slice(0, len(rows)), slice(0, len(keys)))]
        if seen_alone:
            windows = list(_windows(form, part, windows[0]))
        for some in _key_heads(form, part, chosen):
            turned = workers[0].turned(part, some)
            for window, heads in product(windows, _chunks(form, len(rows) * len(keys))):
                yield tuple(w.part(part, turned, window, heads) for w in workers)


def _key_heads(form: Form, material: Material, chosen: Array) -> Iterator[Array]:
    """Key heads that are worked out together: few where there are many keys."""
    keys = len(material.k)
    scores = len(material.q) * keys * (form.heads // form.kv_heads)
    width = material.k.shape[1] // form.kv_heads
    size = max(1, min(_TURNED // max(1, keys * width), _AT_ONCE // max(1, scores)))
    for start in range(0, len(chosen), size):
        yield chosen[start : start + size]


def _chunks(form: Form, scores: int) -> Iterator[slice]:
    """Which of the query heads of a key head are worked out together, by the scores that each has:
    few where there are many rows.
    """
    size, count = max(1, _CHUNK // max(1, scores)), form.heads // form.kv_heads
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


@dataclass(frozen=True)
class _Window:
    """Rows and keys of one sequence that are worked out together: their places in the material, and
    which they are of the sequence's; `mask` `[rows, keys]`.
    """

    rows: Array
    keys: Array
    mask: Array
    at: slice
    seen: slice


def _windows(form: Form, part: Material, whole: _Window) -> Iterator[_Window]:
    """Some rows after the other, each with the keys from the first to the last that they look at:
    of a causal mask little more than half is open.
    """
    rows, keys = whole.mask.shape
    bias, step = part.bias if uses_bias(form, part) else None, -(-rows // _PARTS)
    seen = whole.mask if bias is None or bias.ndim > 2 else whole.mask & np.isfinite(bias)
    by_head = bias is not None and bias.ndim > 2
    if by_head or rows * keys < _WORTH or not seen.any(1).all():  # what sees nothing sees all
        yield whole
        return
    for start in range(0, rows, step):
        at = slice(start, min(start + step, rows))
        open_ = np.flatnonzero(seen[at].any(0))
        near = slice(int(open_[0]), int(open_[-1]) + 1)
        yield _Window(whole.rows[at], whole.keys[near], whole.mask[at, near], at, near)


def _sequences(material: Material) -> Iterator[tuple[Array, Array]]:
    for number in np.unique(material.sequence_q):
        yield (
            np.flatnonzero(material.sequence_q == number),
            np.flatnonzero(material.sequence_k == number),
        )


def _cut(material: Material, rows: Array, keys: Array) -> Material:
    """One sequence of a batch."""
    if len(rows) == len(material.q) and len(keys) == len(material.k):
        return material
    bias, angles = material.bias, material.angles
    if bias is not None:
        bias = bias[rows][..., keys]
    if angles is not None:
        angles = Angles(
            angles.cos_q[rows], angles.sin_q[rows], angles.cos_k[keys], angles.sin_k[keys]
        )
    return replace(
        material, q=material.q[rows], k=material.k[keys], v=material.v[keys],
        sequence_q=material.sequence_q[rows], sequence_k=material.sequence_k[keys],
        place_q=material.place_q[rows], place_k=material.place_k[keys], bias=bias, angles=angles,
    )  # fmt: skip


@dataclass(frozen=True)
class _Turned:
    """Some key heads: rotated queries `[key heads, heads, rows, width]` of the `heads` `[key heads,
    heads]` that look at them, their rotated keys `[key heads, keys, width]`, the variances that
    rounding gives both, and their values.
    """

    heads: Array
    q: Array
    q_variance: Array
    k: Array
    k_variance: Array
    v: Array


@dataclass(frozen=True)
class _Worker:
    form: Form
    rounding: Rounding
    kind: type

    def turned(self, material: Material, key_heads: Array) -> _Turned:
        form = self.form
        heads = np.argsort(form.looks_at, kind="stable").reshape(form.kv_heads, -1)[key_heads]
        q = by_head(material.q.astype(self.kind, copy=False), form.heads)
        q = np.ascontiguousarray(np.moveaxis(q[:, heads], 0, 2))
        k, v = (
            by_head(values.astype(self.kind, copy=False), form.kv_heads).swapaxes(0, 1)[key_heads]
            for values in (material.k, material.v)
        )
        return _Turned(heads, *self.rotated(material, q, "q"), *self.rotated(material, k, "k"), v)

    def part(
        self, material: Material, turned: _Turned, window: _Window, some: slice
    ) -> HeadPart:  # fmt: skip
        """`some` of the query heads of every key head."""
        form, at, seen = self.form, window.at, window.seen
        heads = turned.heads[:, some]
        q, q_variance = turned.q[:, some, at], turned.q_variance[:, some, at]
        k, k_variance, v = (t[:, seen] for t in (turned.k, turned.k_variance, turned.v))
        if form.product_unit:
            q_variance, k_variance = (
                var + _FLIPS * np.sqrt(var) * 2 * form.product_unit * np.abs(x)
                for var, x in ((q_variance, q), (k_variance, k))
            )
            q, k = on_grid(q, form.product_unit), on_grid(k, form.product_unit)
        raw = self._rounded(times(q, k.swapaxes(-1, -2)))
        raw *= form.scale
        scores = self._scores(material, self._rounded(raw), heads, window)
        scores, open_ = self._with_bias(material, scores, heads, window)
        return HeadPart(
            heads, window.rows, window.keys, q, q_variance, k, k_variance, v, scores, open_,
            at.start, len(material.q),
        )  # fmt: skip

    def rotated(self, material: Material, x: Array, which: str) -> tuple[Array, Array]:
        """Rotated heads `[heads, rows, width]` and the variance that rounding gives them."""
        form, angles, size = self.form, material.angles, self.form.rotated
        if angles is None or form.style == "none" or not size:
            return x, self._nothing(x)
        cos, sin = (angles.cos_q, angles.sin_q) if which == "q" else (angles.cos_k, angles.sin_k)
        cos = relaid(cos[:, :size], "half", form.style).astype(x.dtype)
        sin = (relaid(sin[:, :size], "half", form.style) * form.direction).astype(x.dtype)
        part = x[..., :size]
        first, second = part * cos, crossed(part, sin, form.style)
        unit = self.rounding.work
        if self.rounding.simulated:
            first, second = on_grid(first, unit), on_grid(second, unit)
        turned = first + second
        if self.rounding.simulated:
            turned = on_grid(turned, unit)
        variance = self._nothing(x)
        if unit and not self.rounding.simulated:  # else nothing is asked of the variance
            spread = np.square(first, out=first)
            spread += np.square(second, out=second)
            if not material.recorded_angles:  # their own rounding is not known
                spread *= 2
            spread += np.square(turned, out=second)
            spread *= (ROUNDED * unit) ** 2
            variance = spread
            if size < x.shape[-1]:
                variance = np.zeros_like(x)
                variance[..., :size] = spread
        if size == x.shape[-1]:
            return turned, variance
        return np.concatenate([turned, x[..., size:]], axis=-1), variance

    def _nothing(self, x: Array) -> Array:
        """Zeros like `x` that take no memory."""
        return np.broadcast_to(np.zeros((), self.kind), x.shape)

    def _rounded(self, scores: Array) -> Array:
        return on_grid(scores, self.rounding.scores) if self.rounding.simulated else scores

    def _scores(
        self, material: Material, scores: Array, heads: Array, window: _Window
    ) -> Array:  # fmt: skip
        form = self.form
        if form.softmax_unit:
            scores = on_grid(scores, form.softmax_unit)
        if form.softcap:
            scores = self._rounded(np.tanh(self._rounded(scores / form.softcap)))
            scores = self._rounded(form.softcap * scores)
        if form.slopes is not None:
            places = material.place_q[window.at], material.place_k[window.seen]
            behind = places[0][:, None] - places[1][None, :]
            scores = scores - form.slopes[heads][..., None, None] * behind
        return scores

    def _with_bias(
        self, material: Material, scores: Array, heads: Array, window: _Window
    ) -> tuple[Array, Array]:
        """Scores with the finite part of a recorded mask, and where a query may look."""
        bias, open_ = material.bias, window.mask[None, None]
        if bias is None or not uses_bias(self.form, material):
            return scores, open_
        bias = bias[window.at][..., window.seen]
        added = bias[None, None] if bias.ndim == 2 else np.moveaxis(bias[:, heads], 0, 2)
        seen = np.isfinite(added)
        finite = np.where(seen, added, 0.0)
        if finite.any():
            scores = scores + finite.astype(scores.dtype)
        return scores, open_ & seen


def rotated_keys(form: Form, material: Material, unit: float) -> Material:
    """The same attention with keys that have been rotated, as a cache holds them, on the grid of
    `unit` where that is coarse; their tables leave them as they are.
    """
    angles = material.angles
    if angles is None or form.style == "none" or not form.rotated:
        return material
    rounding = Rounding(unit, unit, unit, simulated=unit >= _COARSE)
    keys = by_head(material.k, form.kv_heads).swapaxes(0, 1)
    turned = _Worker(form, rounding, np.float64).rotated(material, keys, "k")[0].swapaxes(0, 1)
    still = replace(angles, cos_k=np.ones_like(angles.cos_k), sin_k=np.zeros_like(angles.sin_k))
    return replace(material, k=turned.reshape(len(turned), -1), angles=still)


def by_head(values: Array, heads: int) -> Array:
    """`[rows, heads, width]`."""
    return values.reshape(len(values), heads, -1)


def times(a: Array, b: Array) -> Array:
    """The product of `[..., heads, rows, n]` and `[..., n, m]`: each `b` with all rows at once."""
    *front, heads, rows, size = a.shape
    return (a.reshape(*front, heads * rows, size) @ b).reshape(*front, heads, rows, b.shape[-1])
