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
from functools import partial

import numpy as np
from numpy.typing import DTypeLike

from ....capture.values import Array
from ..law import Prediction
from ..numerics.rounding import ROUNDED, on_grid
from .form import Form, Material, bias_fits
from .scores import EXACT, HeadPart, Rounding, head_parts

_FINE = 2.0**-24  # what kernels accumulate in
QUERY_DRAWS = 8
_SUMS = 3  # roundings of a score in float32: partial sums, the sum, the factor
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
    for part in head_parts(form, material, rounding):
        p = probabilities(form, part)
        raw = p / p.max(-1, keepdims=True)
        off += (
            (on_grid(p, unit) - p).sum(),
            ((on_grid(raw, unit) - raw) / raw.sum(-1)[..., None]).sum(),
        )
        count += p.shape[0] * p.shape[1]
    return float(np.abs(off).max()) / max(1, count)


def _likelier(form: Form, material: Material, ways: tuple[Rounding, ...], y: Array) -> Rounding:
    lefts: list[Array] = []
    for way in ways:
        value = attend(form, material, replace(way, simulated=True)).value
        lefts.append(np.square(np.where(np.isfinite(y), y - value, 0.0)).sum(1))
    # A row counts as much as any other, whatever its size.
    total = [float(np.log(left + 1e-300).sum()) for left in lefts]
    return ways[int(np.argmin(total))]


def attend(
    form: Form, material: Material, rounding: Rounding = EXACT, with_variance: bool = False
) -> Attended:
    """The output of the sampled rows."""
    rows, width = len(material.q), material.v.shape[1] // form.kv_heads
    value = np.zeros((rows, form.heads, width))
    variance = np.zeros_like(value) if with_variance else None
    signs = Signs()
    for part in head_parts(form, material, rounding):
        p = probabilities(form, part)
        if rounding.simulated:
            p = on_grid(p, rounding.probabilities)
        output = p @ part.v
        place = np.ix_(part.rows, part.heads)
        value[place] = np.moveaxis(output, 0, 1)
        if variance is not None:
            moved = _variance(form, rounding, part, p, output, signs)
            variance[place] = np.moveaxis(moved, 0, 1)
    flat = None if variance is None else variance.reshape(rows, -1)
    return Attended(value.reshape(rows, -1), flat)


def probabilities(form: Form, part: HeadPart) -> Array:
    """The softmax of the scores `[heads, rows, keys]`; a sink takes its share and gives nothing."""
    scores = part.masked()
    top = scores.max(-1, keepdims=True)
    own = None if form.sinks is None else form.sinks[part.heads][:, None, None]
    if own is not None:
        top = np.maximum(top, own)
    e = np.exp(scores - top)
    total = e.sum(-1, keepdims=True)
    if own is not None:
        total = total + np.exp(own - top)
    p = e / total
    return on_grid(p, form.softmax_unit) if form.softmax_unit else p


def score_variance(form: Form, rounding: Rounding, part: HeadPart) -> tuple[Array, Array | float]:
    """Of the error of scores `[heads, rows, keys]`, that of the queries not counted; and the slope
    of the soft cap there.
    """
    slope: Array | float = 1.0
    scores = np.where(part.open, part.scores, 0.0)
    if form.softcap:
        slope = 1.0 - np.square(np.clip(scores / form.softcap, -1, 1))
    squares, unit = np.square(part.q), (ROUNDED * rounding.scores) ** 2
    by_key = squares @ (part.k_variance + unit * np.square(part.k)).T * form.scale**2
    by_key = by_key * np.square(slope) + _SUMS * unit * np.square(scores)
    if form.softcap:  # three more roundings, one of them before the tangent
        by_key += unit * np.square(scores) * (1 + np.square(slope))
    return by_key, slope


def _variance(
    form: Form, rounding: Rounding, part: HeadPart, p: Array, output: Array, signs: Signs
) -> Array:
    """Of the error `[heads, rows, width]`."""
    by_key, slope = score_variance(form, rounding, part)
    weight, vv = np.square(p) * by_key, np.square(part.v)
    total = weight @ vv - 2 * output * (weight @ part.v)
    total += np.square(output) * weight.sum(-1, keepdims=True)
    total = np.maximum(total, 0.0)  # a difference of large numbers
    total += (ROUNDED * rounding.probabilities) ** 2 * (np.square(p) @ vv)
    if form.softmax_unit:
        scores = np.where(part.open, part.scores, 0.0)
        moved = _FLIPS * rounding.scores * 2 * form.softmax_unit
        total += (np.square(p) * moved * (1 + np.square(scores))) @ vv
    return total + _of_queries(form, part, p * slope, signs)


def _of_queries(form: Form, part: HeadPart, p: Array, signs: Signs) -> Array:
    """The part of the queries' own rounding: it moves the scores of all keys together."""
    total = np.zeros((*p.shape[:2], part.v.shape[1]))
    for moved in moved_by_queries(form, part, p, signs):
        total += np.square(moved @ part.v)
    return total / QUERY_DRAWS


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
    for drawn in signs.of_shape(spread.shape, spread.dtype):
        moved = (spread * drawn) @ part.k.T
        yield p * (moved - (p * moved).sum(-1, keepdims=True))
