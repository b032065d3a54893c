"""Scores of attention: rotated queries times rotated keys, head by head in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ....capture.values import Array
from ..numerics.rounding import ROUNDED, on_grid
from ..rotary.frequencies import partner, relaid
from .form import Angles, Form, Material, allowed, uses_bias

_COARSE = 2.0**-12  # from this unit on, float32 is fine enough to work in
_FLIPS = 0.4  # share of a fine error by which a value falls on the other side of a coarse grid
_CHUNK = 1 << 21  # elements of scores at a time
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
    keys]` where a query may look.
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

    def masked(self) -> Array:
        """The scores with minus infinity where a query may not look. One that may look nowhere
        looks everywhere alike, as it does under a mask that adds the lowest number to all scores.
        """
        nowhere = ~self.open.any(-1, keepdims=True)
        return np.where(self.open, self.scores, np.where(nowhere, 0.0, -np.inf))


def head_parts(form: Form, material: Material, rounding: Rounding = EXACT) -> Iterator[HeadPart]:
    """All heads of all sequences that have sampled rows."""
    plain = not form.softmax_unit and not form.product_unit
    coarse = rounding.work >= _COARSE and plain
    worker = _Worker(form, rounding, np.float32 if coarse else np.float64)
    open_ = allowed(form, material)
    for rows, keys in _sequences(material):
        part = _cut(material, rows, keys)
        mask = open_[np.ix_(rows, keys)]
        for some in _key_heads(form, part):
            turned = worker.turned(part, some)
            for heads in _chunks(form, some, len(rows), len(keys)):
                yield worker.part(part, turned, mask, heads, rows, keys)


def _key_heads(form: Form, material: Material) -> Iterator[range]:
    """Key heads that are rotated together: few where there are many keys."""
    size = max(1, _TURNED * form.kv_heads // max(1, material.k.size))
    for start in range(0, form.kv_heads, size):
        yield range(start, min(start + size, form.kv_heads))


def _chunks(form: Form, key_heads: range, rows: int, keys: int) -> Iterator[Array]:
    """Heads that are worked out together: those of one key head, few where there are many rows."""
    size, looks_at = max(1, _CHUNK // max(1, rows * keys)), form.looks_at
    for kv in key_heads:
        heads = np.flatnonzero(looks_at == kv)
        for start in range(0, len(heads), size):
            yield heads[start : start + size]


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
    """Rotated queries `[rows, heads, width]` of the `heads` that look at some `key_heads`, these
    rotated `[keys, heads, width]`, and the variances that rounding gives both.
    """

    heads: Array
    key_heads: range
    q: Array
    q_variance: Array
    k: Array
    k_variance: Array


@dataclass(frozen=True)
class _Worker:
    form: Form
    rounding: Rounding
    kind: type

    def turned(self, material: Material, key_heads: range) -> _Turned:
        form = self.form
        heads = np.flatnonzero(np.isin(form.looks_at, key_heads))
        q = by_head(material.q, form.heads)[:, heads]
        k = by_head(material.k, form.kv_heads)[:, key_heads.start : key_heads.stop]
        both = (*self.rotated(material, q, "q"), *self.rotated(material, k, "k"))
        kept = (values.astype(self.kind, copy=False) for values in both)
        return _Turned(heads, key_heads, *kept)

    def part(
        self, material: Material, turned: _Turned, mask: Array, heads: Array, rows: Array,
        keys: Array,
    ) -> HeadPart:  # fmt: skip
        form = self.form
        kv = int(form.looks_at[heads[0]])
        own = np.searchsorted(turned.heads, heads)
        q, q_variance = (
            np.moveaxis(values[:, own], 1, 0) for values in (turned.q, turned.q_variance)
        )
        place = kv - turned.key_heads.start
        k, k_variance = turned.k[:, place], turned.k_variance[:, place]
        v = by_head(material.v, form.kv_heads)[:, kv].astype(self.kind)
        if form.product_unit:
            q_variance, k_variance = (
                var + _FLIPS * np.sqrt(var) * 2 * form.product_unit * np.abs(x)
                for var, x in ((q_variance, q), (k_variance, k))
            )
            q, k = on_grid(q, form.product_unit), on_grid(k, form.product_unit)
        raw = q @ k.T
        raw = self._rounded(raw)
        scores = self._scores(material, self._rounded(raw * form.scale), heads)
        scores, open_ = self._with_bias(material, scores, mask[None], heads)
        return HeadPart(heads, rows, keys, q, q_variance, k, k_variance, v, scores, open_)

    def rotated(self, material: Material, x: Array, which: str) -> tuple[Array, Array]:
        """Rotated heads `[rows, heads, width]` and the variance that rounding gives them."""
        form, angles, size = self.form, material.angles, self.form.rotated
        if angles is None or form.style == "none" or not size:
            return x, self._nothing(x)
        cos, sin = (angles.cos_q, angles.sin_q) if which == "q" else (angles.cos_k, angles.sin_k)
        cos = relaid(cos[:, :size], "half", form.style)[:, None, :]
        sin = relaid(sin[:, :size], "half", form.style)[:, None, :] * form.direction
        part = x[..., :size]
        first, second = part * cos, partner(part, form.style)
        second *= sin
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
            spread += np.square(turned)
            variance = np.zeros_like(x)
            np.multiply(spread, (ROUNDED * unit) ** 2, out=variance[..., :size])
        if size == x.shape[-1]:
            return turned, variance
        return np.concatenate([turned, x[..., size:]], axis=-1), variance

    def _nothing(self, x: Array) -> Array:
        """Zeros like `x` that take no memory."""
        return np.broadcast_to(np.zeros((), self.kind), x.shape)

    def _rounded(self, scores: Array) -> Array:
        return on_grid(scores, self.rounding.scores) if self.rounding.simulated else scores

    def _scores(self, material: Material, scores: Array, heads: Array) -> Array:
        form = self.form
        if form.softmax_unit:
            scores = on_grid(scores, form.softmax_unit)
        if form.softcap:
            scores = self._rounded(np.tanh(self._rounded(scores / form.softcap)))
            scores = self._rounded(form.softcap * scores)
        if form.slopes is not None:
            behind = material.place_q[:, None] - material.place_k[None, :]
            scores = scores - form.slopes[heads][:, None, None] * behind
        return scores

    def _with_bias(
        self, material: Material, scores: Array, open_: Array, heads: Array
    ) -> tuple[Array, Array]:
        """Scores with the finite part of a recorded mask, and where a query may look."""
        bias = material.bias
        if bias is None or not uses_bias(self.form, material):
            return scores, open_
        added = bias[None] if bias.ndim == 2 else np.moveaxis(bias[:, heads], 1, 0)
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
    keys = by_head(material.k, form.kv_heads)
    turned, _ = _Worker(form, rounding, np.float64).rotated(material, keys, "k")
    still = replace(angles, cos_k=np.ones_like(angles.cos_k), sin_k=np.zeros_like(angles.sin_k))
    return replace(material, k=turned.reshape(len(keys), -1), angles=still)


def by_head(values: Array, heads: int) -> Array:
    """`[rows, heads, width]`."""
    return values.reshape(len(values), heads, -1)
