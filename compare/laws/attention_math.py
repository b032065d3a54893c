"""Attention worked out for sampled queries, and how far rounding moves it.

The error that rounding makes is followed to first order, for every row and head by itself: clean
sharp rows have a hundred times the relative error of others. With probabilities p_j, values v_j and
the output o = sum_j p_j v_j, an error e_j of a score moves the output by

    sum_j p_j e_j (v_j - o).

Errors that are independent from key to key (rounding of keys and of scores) add up in closed form;
those of the query move all scores together and are drawn a few times.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ...capture.arrays import Array
from .attention_form import Angles, Form, Material, allowed
from .law import Prediction
from .rotary import partner, relaid
from .rounding import ROUNDED, on_grid

_FINE = 2.0**-24  # what kernels accumulate in
_COARSE = 2.0**-12  # from this unit on, float32 is fine enough to work in
_QUERY_DRAWS = 8
_CHUNK = 1 << 21  # elements of scores at a time
_SUMS = 3  # roundings of a score in float32: partial sums, the sum, the factor


@dataclass(frozen=True)
class Rounding:
    """Unit roundoffs: of rotated queries and keys and of the output (`work`), of the scores and of
    the probabilities.
    """

    work: float
    scores: float
    probabilities: float


EXACT = Rounding(0.0, 0.0, 0.0)


@dataclass
class Attended:
    """The output `[rows, heads x width]` and the variance of its error, before the output's own
    rounding.
    """

    value: Array
    variance: Array | None


def roundings(units: Mapping[str, float]) -> tuple[Rounding, ...]:
    """How a side may round in between. In a narrow dtype, plain code rounds the scores to it, a
    fused kernel keeps them in float32.
    """
    work = units["output"]
    if work <= _FINE:
        return (Rounding(work, work, work),)
    return (Rounding(work, _FINE, work), Rounding(work, work, work))


def predicted(form: Form, material: Material, units: Mapping[str, float], y: Array) -> Prediction:
    """What attention gives, and the spread of its error. Which way a side rounds is told from its
    record `y`: what really rounds the scores is reproduced better by rounding them.
    """
    ways = roundings(units)
    chosen = ways[0]
    if len(ways) > 1:
        chosen = _likelier(form, material, ways, y)
    found = attend(form, material, chosen, with_variance=True)
    assert found.variance is not None
    own = np.square(ROUNDED * units["output"] * found.value)
    return Prediction(found.value, np.sqrt(found.variance + own))


def _likelier(form: Form, material: Material, ways: tuple[Rounding, ...], y: Array) -> Rounding:
    lefts: list[Array] = []
    for way in ways:
        value = attend(form, material, way, simulated=True).value
        lefts.append(np.square(np.where(np.isfinite(y), y - value, 0.0)).sum(1))
    # A row counts as much as any other, whatever its size.
    total = [float(np.log(left + 1e-300).sum()) for left in lefts]
    return ways[int(np.argmin(total))]


def attend(
    form: Form, material: Material, rounding: Rounding,
    with_variance: bool = False, simulated: bool = False,
) -> Attended:  # fmt: skip
    """The output of the sampled rows. `simulated` rounds in between as `rounding` says, else the
    arithmetic is exact and rounding only counts in the variance.
    """
    kind = np.float32 if rounding.work >= _COARSE and not form.softmax_unit else np.float64
    work = _Worker(form, material, rounding, with_variance, simulated, kind)
    return work.run()


@dataclass
class _Worker:
    form: Form
    material: Material
    rounding: Rounding
    with_variance: bool
    simulated: bool
    kind: type

    def run(self) -> Attended:
        form, material = self.form, self.material
        rows = len(material.q)
        value_width = material.v.shape[1] // form.kv_heads
        value = np.zeros((rows, form.heads, value_width))
        variance = np.zeros_like(value) if self.with_variance else None
        open_ = allowed(form, material)
        for of_rows, of_keys in _sequences(material):
            part = _cut(material, of_rows, of_keys)
            mask = open_[np.ix_(of_rows, of_keys)]
            for heads in self._chunks(len(of_rows), len(of_keys)):
                got = _Heads(self, part, mask, heads).run()
                place = np.ix_(of_rows, np.array(heads))
                value[place] = got.value
                if variance is not None and got.variance is not None:
                    variance[place] = got.variance
        return Attended(
            value.reshape(rows, -1), None if variance is None else variance.reshape(rows, -1)
        )

    def _chunks(self, rows: int, keys: int) -> Iterator[list[int]]:
        """Heads that are worked out together: those of one key head, few where there are many."""
        size = max(1, _CHUNK // max(1, rows * keys))
        for kv in range(self.form.kv_heads):
            heads = [h for h in range(self.form.heads) if self.form.kv_head(h) == kv]
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


@dataclass
class _Heads:
    """Some query heads that look at one key head, in one sequence."""

    worker: _Worker
    material: Material
    open: Array  # [rows, keys]
    heads: list[int]

    def run(self) -> Attended:
        w, form, rounding = self.worker, self.worker.form, self.worker.rounding
        kv = form.kv_head(self.heads[0])
        q, q_variance = self._rotated(_by_head(self.material.q, form.heads)[:, self.heads], "q")
        k, k_variance = self._rotated(_by_head(self.material.k, form.kv_heads)[:, [kv]], "k")
        q, q_variance = (np.moveaxis(a, 1, 0).astype(w.kind) for a in (q, q_variance))
        k, k_variance = k[:, 0].astype(w.kind), k_variance[:, 0].astype(w.kind)
        v = _by_head(self.material.v, form.kv_heads)[:, kv].astype(w.kind)
        raw = q @ k.T
        if w.simulated:
            raw = on_grid(raw, rounding.scores)
        scores = self._capped(raw * form.scale)
        if w.simulated:
            scores = on_grid(scores, rounding.scores)
        p = self._softmax(scores)
        if form.softmax_unit:
            p = on_grid(p, form.softmax_unit)
        if w.simulated:
            p = on_grid(p, rounding.probabilities)
        value = p @ v
        variance = None
        if w.with_variance:
            variance = self._variance(q, q_variance, k, k_variance, v, scores, p, value)
            variance = np.moveaxis(variance, 0, 1)
        return Attended(np.moveaxis(value, 0, 1), variance)

    def _rotated(self, x: Array, which: str) -> tuple[Array, Array]:
        """Rotated heads `[rows, heads, width]` and the variance that rounding gives them."""
        w, form = self.worker, self.worker.form
        angles, size = self.material.angles, form.rotated
        if angles is None or form.style == "none" or not size:
            return x, np.zeros_like(x)
        cos, sin = (angles.cos_q, angles.sin_q) if which == "q" else (angles.cos_k, angles.sin_k)
        cos = relaid(cos[:, :size], "half", form.style)[:, None, :]
        sin = relaid(sin[:, :size], "half", form.style)[:, None, :] * form.direction
        part = x[..., :size]
        first, second = part * cos, partner(part, form.style) * sin
        unit = w.rounding.work
        if w.simulated:
            first, second = on_grid(first, unit), on_grid(second, unit)
        turned = first + second
        if w.simulated:
            turned = on_grid(turned, unit)
        spread = np.square(first) + np.square(second) + np.square(turned)
        if not self.material.recorded_angles:
            spread = spread + np.square(first) + np.square(second)
        variance = np.zeros_like(x)
        variance[..., :size] = spread * (ROUNDED * unit) ** 2
        if size == x.shape[-1]:
            return turned, variance
        return np.concatenate([turned, x[..., size:]], axis=-1), variance

    def _capped(self, scores: Array) -> Array:
        form, bias = self.worker.form, self.material.bias
        if form.softmax_unit:
            scores = on_grid(scores, form.softmax_unit)
        if form.softcap:
            scores = form.softcap * np.tanh(scores / form.softcap)
        if form.slopes is not None:
            behind = self.material.place_q[:, None] - self.material.place_k[None, :]
            scores = scores - form.slopes[self.heads][:, None, None] * behind
        if form.mask == "recorded" and bias is not None:
            added = bias[None] if bias.ndim == 2 else np.moveaxis(bias[:, self.heads], 1, 0)
            scores = scores + added.astype(scores.dtype)
        return np.where(self.open[None], scores, -np.inf)

    def _softmax(self, scores: Array) -> Array:
        sinks = self.worker.form.sinks
        top = scores.max(-1, keepdims=True)
        if sinks is not None:
            own = sinks[self.heads][:, None, None]
            top = np.maximum(top, own)
        top = np.where(np.isfinite(top), top, 0.0)
        e = np.exp(scores - top)
        total = e.sum(-1, keepdims=True)
        if sinks is not None:
            total = total + np.exp(sinks[self.heads][:, None, None] - top)
        return e / np.maximum(total, 1e-300 if e.dtype == np.float64 else 1e-37)

    def _variance(
        self, q: Array, q_variance: Array, k: Array, k_variance: Array, v: Array,
        scores: Array, p: Array, value: Array,
    ) -> Array:  # fmt: skip
        form, rounding = self.worker.form, self.worker.rounding
        slope = 1.0
        finite = np.where(np.isfinite(scores), scores, 0.0)
        if form.softcap:
            slope = 1.0 - np.square(np.clip(finite / form.softcap, -1, 1))
        unit = (ROUNDED * rounding.scores) ** 2
        squares = np.square(q)
        by_key = squares @ k_variance.T * form.scale**2
        by_key = by_key + unit * (
            _SUMS * np.square(finite) + squares @ np.square(k).T * form.scale**2
        )
        weight = np.square(p * slope) * by_key
        vv = np.square(v)
        total = weight @ vv - 2 * value * (weight @ v)
        total += np.square(value) * weight.sum(-1, keepdims=True)
        total = np.maximum(total, 0.0)
        total += (ROUNDED * rounding.probabilities) ** 2 * (np.square(p) @ vv)
        if form.softmax_unit:
            total += _flipped(p, v, finite, form.softmax_unit, rounding.scores)
        return total + self._of_query(q_variance, k, v, p * slope, form.scale)

    def _of_query(self, variance: Array, k: Array, v: Array, p: Array, scale: float) -> Array:
        """The part of the queries' own rounding: it moves the scores of all keys together."""
        if not variance.any():
            return np.zeros((*p.shape[:2], v.shape[1]))
        random = np.random.default_rng(0)
        spread = np.sqrt(variance) * scale
        total = np.zeros((*p.shape[:2], v.shape[1]))
        for _ in range(_QUERY_DRAWS):
            drawn = spread * random.choice((-1.0, 1.0), spread.shape).astype(spread.dtype)
            moved = drawn @ k.T
            moved = p * (moved - (p * moved).sum(-1, keepdims=True))
            total += np.square(moved @ v)
        return total / _QUERY_DRAWS


def _flipped(p: Array, v: Array, scores: Array, unit: float, fine: float) -> Array:
    """What scores and probabilities make that fall on the other side of a coarse grid."""
    moved = 0.4 * fine * 2 * unit * np.square(scores)
    weight = np.square(p) * (moved + 0.4 * fine * 2 * unit)
    return weight @ np.square(v)


def _by_head(values: Array, heads: int) -> Array:
    """`[rows, heads, width]`."""
    return values.reshape(len(values), heads, -1)
