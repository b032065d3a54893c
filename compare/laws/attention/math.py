"""Attention worked out for sampled queries, and how far rounding moves it.

The error that rounding makes is followed to first order, for every row and head by itself: clean
sharp rows have a hundred times the relative error of others. With probabilities p_j, values v_j and
the output o = sum_j p_j v_j, an error e_j of a score moves the output by

    sum_j p_j e_j (v_j - o).

Errors that are independent from key to key (rounding of keys and of scores) add up in closed form;
those of the query move all scores together and are drawn a few times.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod

import numpy as np
from numpy.typing import DTypeLike

from ....capture.values import Array
from ..law import Prediction
from ..numerics.rounding import ROUNDED, on_grid
from .form import Form, Material, bias_fits
from .scores import EXACT, HeadPart, Rounding, head_groups, times

_FINE = 2.0**-24  # what kernels accumulate in
QUERY_DRAWS = 8
_SUMS = 3  # roundings of a score in float32: partial sums, the sum, the factor
_QUARTER = 4  # one key head in so many is asked first which way a side rounds
_FEW_ROWS = 8  # whose scatter says nothing
_SURE = 4.0  # standard errors from which nothing more is asked
_FLOAT32 = 2.0**-22  # what sums in float32 lose, relative to their terms
_LITTLE = 1e-3  # of a variance, which may be lost
_FLIPS = 0.4  # share of a fine error by which a value falls on the other side of a coarse grid


@dataclass(frozen=True)
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


def predicted(
    form: Form, material: Material, units: Mapping[str, float], y: Array
) -> Prediction | None:
    """What attention gives, and the spread of its error. Which way a side rounds is told from its
    record `y`: what really rounds the scores is reproduced better by rounding them. None where the
    form gives another width than `y` has, or a recorded bias is of another number of heads.
    """
    if form.heads * (material.v.shape[1] // form.kv_heads) != y.shape[1]:
        return None
    if not bias_fits(form, material):
        return None
    ways = roundings(units)
    if material.recorded_scores:
        ways = ways[-1:]
    chosen = ways[0] if len(ways) == 1 else _likelier(form, material, ways, y)
    found = attend(form, material, chosen, with_variance=True)
    assert found.variance is not None
    own = np.square(ROUNDED * units["output"] * found.value)
    shared = None
    if chosen.probabilities > _FINE:
        shared = partial(rounded_alike, form, material, chosen)
    return Prediction(found.value, np.sqrt(found.variance + own), shared=shared)


def rounded_alike(form: Form, material: Material, rounding: Rounding) -> float:
    """How far off 1 the sum of a row's probabilities is in the mean once they are rounded: where
    queries look at all keys alike, all are rounded the same way. The greater of two ways: rounded
    as they are, or before their sum divides them, as fused kernels do.
    """
    unit, off, count = rounding.probabilities, np.zeros(2), 0
    for (part,) in head_groups(form, material, rounding, seen_alone=True):
        p = probabilities(form, part)
        raw = p / p.max(-1, keepdims=True)
        off += (
            (on_grid(p, unit) - p).sum(),
            ((on_grid(raw, unit) - raw) / raw.sum(-1)[..., None]).sum(),
        )
        count += prod(p.shape[:-1])
    return float(np.abs(off).max()) / max(1, count)


def _likelier(form: Form, material: Material, ways: tuple[Rounding, ...], y: Array) -> Rounding:
    """The way that leaves less: of a quarter of the key heads where that leaves no doubt."""
    simulated = [replace(way, simulated=True) for way in ways]
    few = max(2, form.kv_heads // _QUARTER)
    if few < form.kv_heads and len(y) >= _FEW_ROWS:
        some = np.linspace(0, form.kv_heads - 1, few).astype(np.int64)
        left = _logs_left(form, material, simulated, y, some)
        first, second = np.argsort(left.sum(1))[:2]
        apart = left[second] - left[first]
        if apart.mean() > _SURE * apart.std() / len(apart) ** 0.5:
            return ways[first]
    left = _logs_left(form, material, simulated, y, np.arange(form.kv_heads))
    return ways[int(left.sum(1).argmin())]


def _logs_left(
    form: Form, material: Material, ways: Sequence[Rounding], y: Array, key_heads: Array
) -> Array:
    """`[ways, rows]`: logarithms of the squares that each way leaves of a row, which counts as much
    as any other, whatever its size.
    """
    left = np.zeros((len(ways), len(y)))
    by_head = np.where(np.isfinite(y), y, np.nan).reshape(len(y), form.heads, -1)
    for parts in head_groups(form, material, *ways, key_heads=key_heads, seen_alone=True):
        own = by_head[np.ix_(parts[0].rows, parts[0].heads.reshape(-1))]
        for at, (way, part) in enumerate(zip(ways, parts, strict=True)):
            apart = np.square(own - _by_row(_output(form, part, way)[1]))
            left[at, part.rows] += np.nan_to_num(apart).sum((1, 2))
    return np.log(left + 1e-300)


def attend(
    form: Form, material: Material, rounding: Rounding = EXACT, with_variance: bool = False
) -> Attended:
    """The output of the sampled rows."""
    rows, width = len(material.q), material.v.shape[1] // form.kv_heads
    value = np.zeros((rows, form.heads, width))
    variance = np.zeros_like(value) if with_variance else None
    signs = Signs()
    for (part,) in head_groups(form, material, rounding, seen_alone=True):
        p, output = _output(form, part, rounding)
        place = np.ix_(part.rows, part.heads.reshape(-1))
        value[place] = _by_row(output)
        if variance is not None:
            variance[place] = _by_row(_variance(form, rounding, part, p, output, signs))
    flat = None if variance is None else variance.reshape(rows, -1)
    return Attended(value.reshape(rows, -1), flat)


def _output(form: Form, part: HeadPart, rounding: Rounding) -> tuple[Array, Array]:
    """The probabilities, and what they make of the values: `[..., heads, rows, width]`."""
    p = probabilities(form, part)
    if rounding.simulated:
        p = on_grid(p, rounding.probabilities)
    return p, times(p, part.v)


def _by_row(values: Array) -> Array:
    """`[rows, heads, width]` of `[key heads, heads, rows, width]`."""
    return np.moveaxis(values.reshape(-1, *values.shape[2:]), 0, 1)


def probabilities(form: Form, part: HeadPart) -> Array:
    """The softmax of the scores `[..., heads, rows, keys]`; a sink takes its share and gives
    nothing.
    """
    scores = part.masked()
    top = scores.max(-1, keepdims=True)
    own = None if form.sinks is None else form.sinks[part.heads][..., None, None]
    if own is not None:
        own = own.astype(scores.dtype)
        top = np.maximum(top, own)
    scores -= top
    p = np.exp(scores, out=scores)
    total = p.sum(-1, keepdims=True)
    if own is not None:
        total += np.exp(own - top)
    p /= total
    return on_grid(p, form.softmax_unit) if form.softmax_unit else p


def score_variance(form: Form, rounding: Rounding, part: HeadPart) -> tuple[Array, Array | float]:
    """Of the error of scores `[..., heads, rows, keys]`, that of the queries not counted; and the
    slope of the soft cap there.
    """
    slope: Array | float = 1.0
    scores = np.where(part.open, part.scores, np.zeros((), part.scores.dtype))
    if form.softcap:
        slope = 1.0 - np.square(np.clip(scores / form.softcap, -1, 1))
    squares, unit = np.square(part.q), (ROUNDED * rounding.scores) ** 2
    by_key = times(squares, (part.k_variance + unit * np.square(part.k)).swapaxes(-1, -2))
    by_key *= form.scale**2
    if form.softcap:
        by_key *= np.square(slope)
    by_key += _SUMS * unit * np.square(scores)
    if form.softcap:  # three more roundings, one of them before the tangent
        by_key += unit * np.square(scores) * (1 + np.square(slope))
    return by_key, slope


def _variance(
    form: Form, rounding: Rounding, part: HeadPart, p: Array, output: Array, signs: Signs
) -> Array:
    """Of the error `[..., heads, rows, width]`."""
    by_key, slope = score_variance(form, rounding, part)
    own, squares = (ROUNDED * rounding.probabilities) ** 2, np.square(p)
    total = _of_keys(part, squares, by_key, output, own)
    if form.softmax_unit:
        scores = np.where(part.open, part.scores, 0.0)
        moved = _FLIPS * rounding.scores * 2 * form.softmax_unit
        own = own + moved * (1 + np.square(scores))
    total += times(squares * own, np.square(part.v))
    return total + _of_queries(form, part, p * slope if form.softcap else p, signs)


def _of_keys(part: HeadPart, squares: Array, by_key: Array, output: Array, own: float) -> Array:
    """The part of errors `by_key` of the scores. Its sums are differences of large numbers: in
    float32 only where what is lost is little beside the probabilities' `own` rounding.
    """
    v, kind = part.v, squares.dtype
    if float(by_key.max(initial=0.0)) * _FLOAT32 > _LITTLE * own:
        kind = np.dtype(np.float64)
    weight = np.multiply(squares, by_key, dtype=kind)
    v, output = v.astype(kind, copy=False), output.astype(kind, copy=False)
    total = times(weight, np.square(v))
    total -= 2 * output * times(weight, v)
    total += np.square(output) * weight.sum(-1, keepdims=True)
    return np.maximum(total, 0.0, out=total)


def _of_queries(form: Form, part: HeadPart, p: Array, signs: Signs) -> Array:
    """The part of the queries' own rounding: it moves the scores of all keys together."""
    total = np.zeros((*p.shape[:-1], part.v.shape[-1]), p.dtype)
    for moved in moved_by_queries(form, part, p, signs):
        error = times(moved, part.v)
        total += np.square(error, out=error)
    total /= QUERY_DRAWS
    return total


class Signs:
    """Random signs of queries' errors: the same for all parts of one shape, drawn once."""

    def __init__(self) -> None:
        self._drawn: dict[tuple[int, ...], list[Array]] = {}

    def of_shape(self, shape: tuple[int, ...], dtype: DTypeLike) -> list[Array]:
        """`QUERY_DRAWS` tables of -1 and 1."""
        if shape not in self._drawn:
            random = np.random.default_rng(0)
            draws = (random.choice((-1.0, 1.0), shape) for _ in range(QUERY_DRAWS))
            self._drawn[shape] = [draw.astype(dtype) for draw in draws]
        return self._drawn[shape]


def moved_by_queries(
    form: Form, part: HeadPart, p: Array, signs: Signs
) -> Iterator[Array]:  # fmt: skip
    """How far rounding of queries moves the probabilities `p`, `QUERY_DRAWS` times."""
    if not part.q_variance.any():
        return
    spread = np.sqrt(part.q_variance) * form.scale
    keys = np.ascontiguousarray(part.k.swapaxes(-1, -2))
    shape = (spread.shape[-3], part.count, spread.shape[-1])
    rows = slice(part.first, part.first + len(part.rows))
    for drawn in signs.of_shape(shape, spread.dtype):
        moved = times(spread * drawn[:, rows], keys)
        moved -= np.einsum("...k,...k->...", p, moved)[..., None]
        moved *= p
        yield moved
