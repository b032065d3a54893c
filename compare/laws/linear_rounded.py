"""Weights, activations or products of a projection in fewer bits than the reference's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ...capture.arrays import Array
from . import quantisers
from .generic import on_coarse_grid
from .law import Hypothesis, Prediction
from .linear_bench import Bench, Probe
from .quantisers import Quantiser
from .rounding import on_grid, rounded_away, truncated

_FIRST_CHANNELS, _FIRST_ROWS = 24, 24  # of a probe, for the first look at all kinds
_BEST = 4  # kinds that are looked at again with rounded scales
_WHOLE = 0.1  # share of the error up to which a kind may be exact, but for ties
_EXACT = 16.0  # units of rounding up to which nothing is left of a kind's error
_GRIDS = (("bfloat16", 2.0**-8), ("TF32 or float16", 2.0**-11))
_SCALES = (("float16", 2.0**-11), ("bfloat16", 2.0**-8))
_TIE = 2.0**-20  # how near, relatively, a number is to the middle of two codes to be a tie
_PRODUCTS = 0.3  # of the error that coarse factors may leave and still be what was computed with
_BLOCK_ROWS = 256  # rows of a block that are rounded at a time

Rounding = Callable[[Array, float], Array]


@dataclass(frozen=True)
class Factors:
    """How the factors of products are rounded before they are multiplied; None for not at all."""

    words: str
    name: str  # of the grid
    grid: float
    of_x: Rounding | None
    of_weight: Rounding | None

    def x(self, bench: Bench) -> Array:
        return bench.x if self.of_x is None else self.of_x(bench.x, self.grid)

    def weight(self, _: int, block: Array) -> Array:
        return block if self.of_weight is None else self.of_weight(block, self.grid)

    def probed(self, bench: Bench) -> Array:
        return self.x(bench) @ self.weight(0, bench.probe.weight).T + bench.probe.bias


def factors_of(unit: float) -> Iterator[Factors]:
    """What products inside records of this unit roundoff may be made of."""
    for name, grid in _GRIDS:
        if grid < 4 * unit:
            continue
        yield Factors(f"both factors are rounded to {name}", name, grid, on_grid, on_grid)
        words = f"both factors are rounded to {name} (halves away from 0)"
        yield Factors(words, name, grid, rounded_away, rounded_away)
        yield Factors(f"both factors are cut off to {name}", name, grid, truncated, truncated)
        yield Factors(f"the input is rounded to {name}", name, grid, on_grid, None)
        yield Factors(f"the weight is rounded to {name}", name, grid, None, on_grid)


def product_grid(bench: Bench) -> str | None:
    """The name of the grid that both factors are rounded to, where nothing else explains more."""
    found = [(bench.probe.left(f.probed(bench)), f) for f in factors_of(bench.case.units["output"])]
    left, best = min(found, key=lambda pair: pair[0], default=(np.inf, None))
    if best is None or not left <= _PRODUCTS * bench.probe.before:
        return None
    return best.name


def precision(bench: Bench) -> Iterator[Hypothesis]:
    """Products of coarse factors inside a finer record; the output may be on the grid too."""
    unit = bench.case.units["output"]
    for factors in factors_of(unit):
        words = f"{factors.words}{bench.where} before the product"
        if bench.tried(lambda _, f=factors: f.probed(bench)):
            yield Hypothesis(
                "precision", words, lambda f=factors: _product(bench, f), "factors", "as recorded",
                factors.name,
            )  # fmt: skip
        if bench.tried(lambda _, f=factors: on_grid(f.probed(bench), f.grid)):
            yield Hypothesis(
                "precision", f"{words}, and so is the output",
                lambda f=factors: on_coarse_grid(
                    _product(bench, f), partial(on_grid, unit=f.grid), unit
                ),
                "factors", "as recorded", factors.name,
            )  # fmt: skip


def _product(bench: Bench, factors: Factors) -> Prediction:
    return bench.product(bias=bench.bias, x=factors.x(bench), change=factors.weight)


# Weights and activations of few bits


@dataclass(frozen=True)
class Kind:
    """A way of rounding that explains the probe; `left` is the share of its error that is left."""

    words: str
    x: Quantiser | None
    weight: Quantiser | None
    left: float


def quantised(bench: Bench) -> Iterator[Hypothesis]:
    """Kinds of quantisers, held against a few channels first. Where the details of one differ, what
    it leaves counts as its own uncertainty.
    """
    for kind in kinds_of(bench):
        if kind.left <= _WHOLE:
            yield Hypothesis(
                "quantised", f"{kind.words}{bench.where}", partial(_rounded, bench, kind, 0.0),
                "bits", "as stored", kind.words,
            )  # fmt: skip
        if kind.left * bench.probe.before > _EXACT:
            share = f"explains {100 * (1 - kind.left**2):.4g} % of the error"
            yield Hypothesis(
                "quantised", f"{kind.words}{bench.where} ({share})",
                partial(_rounded, bench, kind, kind.left), "bits", "as stored", kind.words,
                f"{100 * kind.left:.2g} % is left", 1,
            )  # fmt: skip


def kinds_of(bench: Bench) -> list[Kind]:
    """The kinds that take most of the probe's error away, the best first."""
    probe = _part(bench.probe)
    if probe.before <= 0 or not np.isfinite(probe.before):
        return []
    span = bench.weight_span
    best = _best_weights(bench, probe, span)
    best += _best_activations(bench, probe, span)
    found = [kind for kind in best if np.isfinite(kind.left) and kind.left <= 0.6]
    found.sort(key=lambda kind: kind.left)
    return [kind for kind in found if kind.left <= 1.5 * found[0].left][:3]


def _best_weights(bench: Bench, probe: Probe, span: Array) -> list[Kind]:
    inner = probe.weight.shape[1]
    tried = [q for q in quantisers.weight_quantisers() if q.fits(inner)]
    ranked = sorted(tried, key=lambda q: _left(bench, probe, None, q, span))[:_BEST]
    again = [*ranked, *(other for q in ranked for other in _with_scales(q))]
    return [
        Kind(f"weights in {q.words}", None, q, _left(bench, bench.probe, None, q, span))
        for q in again
    ]


def _best_activations(bench: Bench, probe: Probe, span: Array) -> list[Kind]:
    """Activations alone, and with weights of eight bits."""
    inner = probe.weight.shape[1]
    found: list[Kind] = []
    weights: list[Quantiser | None] = [None, *_eight_bits(inner)]
    for q in quantisers.activation_quantisers():
        if not q.fits(inner):
            continue
        x = q(bench.x, bench.tensor_span(q))
        for weight in weights:
            left = _left(bench, probe, x, weight, span)
            if left > 0.6:
                continue
            words = f"activations in {q.kind} {_by_token(q)}"
            words += "" if weight is None else f", weights in {weight.words}"
            left = _left(bench, bench.probe, x, weight, span)
            found.append(Kind(words, q, weight, left))
    return found


def _by_token(quantiser: Quantiser) -> str:
    words = quantisers.grouping_words(quantiser.size, "token")
    return f"{words} {quantiser.more}".strip()


def _eight_bits(inner: int) -> list[Quantiser]:
    return [
        q for q in quantisers.weight_quantisers()
        if q.bits == 8 and q.size in (0, -1, 128) and q.fits(inner) and "full" not in q.more
    ]  # fmt: skip


def _part(probe: Probe) -> Probe:
    """A smaller probe: the rows and channels of the greatest errors."""
    r = np.square(probe.residual / np.maximum(probe.spread, 1e-300))
    rows = np.sort(np.argsort(r.sum(1))[::-1][:_FIRST_ROWS])
    some = np.sort(np.argsort(r.sum(0))[::-1][:_FIRST_CHANNELS])
    grid = np.ix_(rows, some)
    return replace(
        probe, channels=probe.channels[some], rows=probe.rows[rows], x=probe.x[rows],
        y=probe.y[grid], base=probe.base[grid], spread=probe.spread[grid], fine=probe.fine[grid],
        weight=probe.weight[some], bias=probe.bias[some],
    )  # fmt: skip


def _left(
    bench: Bench, probe: Probe, x: Array | None, weight: Quantiser | None, span: Array
) -> float:
    """The share of a probe's error that a kind leaves."""
    matrix = probe.weight if weight is None else weight(probe.weight, span)
    if weight is not None and bench.unit:
        matrix = on_grid(matrix, bench.unit)
    rows = probe.x if x is None else x[probe.rows]
    value = rows @ matrix.T + probe.bias
    left = probe.left(value) / probe.before
    return left if np.isfinite(left) else np.inf


def _with_scales(quantiser: Quantiser) -> Iterator[Quantiser]:
    """The same with scales that are rounded themselves."""
    for name, unit in _SCALES:
        codec = quantisers.with_scale_unit(quantiser.codec, unit)
        if codec is not None:
            more = f"{quantiser.more} with scales in {name}".strip()
            yield replace(quantiser, codec=codec, more=more)


def _rounded(bench: Bench, kind: Kind, left: float) -> Prediction:
    """The product with rounded factors. Numbers next to the middle of two codes may be rounded
    either way, which adds to the spread, as does the share of the kind's error that is left.
    """
    span = bench.weight_span if kind.weight is not None and kind.weight.size < 0 else None
    share = left**2
    x, moved_x = bench.x, np.zeros(bench.x.shape)
    if kind.x is not None:
        x, ties = _with_ties(bench.x, kind.x, bench.tensor_span(kind.x))
        moved_x = ties + share * np.square(x - bench.x)
    more = np.zeros(bench.base.value.shape)  # squares to be added to the spread's
    squares = np.square(bench.x)

    def change(first: int, block: Array) -> Array:
        done = block
        for at in range(0, len(block), _BLOCK_ROWS):
            part = slice(at, at + _BLOCK_ROWS)
            own = block[part].astype(np.float64)
            if kind.weight is not None:
                rounded, moved = _with_ties(own, kind.weight, span)
                rounded = on_grid(rounded, bench.unit) if bench.unit else rounded
                moved += share * np.square(rounded - own)
                done = done.astype(np.float64) if done is block else done
                done[part] = rounded
                more[:, first + at : first + at + len(own)] += squares @ moved.T
            if kind.x is not None:
                more[:, first + at : first + at + len(own)] += moved_x @ np.square(own).T
        return done

    found = bench.product(bias=bench.bias, x=x, change=change)
    return Prediction(found.value, np.sqrt(np.square(found.spread) + more))


def _with_ties(values: Array, quantiser: Quantiser, span: Array | None) -> tuple[Array, Array]:
    """Values rounded, and the square of the step of those that are as near to another code."""
    done = quantiser(values, span)
    up, down = (quantiser(values, span, nudge) for nudge in (_TIE, -_TIE))
    return done, np.maximum(np.square(up - done), np.square(down - done))
