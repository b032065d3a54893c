"""Weights, activations or products of a projection in fewer bits than the reference's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ...capture.arrays import Array
from . import quantisers
from .law import Hypothesis, Prediction
from .linear_bench import Bench, Probe
from .quantisers import Quantiser
from .rounding import on_grid, truncated

_FIRST_CHANNELS, _FIRST_ROWS = 24, 24  # of a probe, for the first look at all kinds
_BEST = 4  # kinds that are looked at again with rounded scales
_EXACT = 16.0  # units of rounding up to which nothing is left of a kind's error
_GRIDS = (("bfloat16", 2.0**-8), ("TF32 or float16", 2.0**-11))
_SCALES = (("float16", 2.0**-11), ("bfloat16", 2.0**-8))
_BLOCK_ROWS = 256  # rows of a block that are rounded at a time


def precision(bench: Bench) -> Iterator[Hypothesis]:
    """Products of coarse factors inside a finer record; the output may be on the grid too."""
    unit = bench.case.units["output"]
    for name, grid in _GRIDS:
        if grid < 4 * unit:
            continue
        for words, of_x, of_w in (
            (f"both factors of the products{bench.where} are rounded to {name}", on_grid, on_grid),
            (f"both factors of the products{bench.where} are cut off to {name}",
             truncated, truncated),
            (f"the input{bench.where} is rounded to {name}", on_grid, None),
            (f"the weight{bench.where} is rounded to {name}", None, on_grid),
        ):  # fmt: skip
            yield from _coarse(bench, words, name, grid, of_x, of_w)


Rounding = Callable[[Array, float], Array]


def _coarse(
    bench: Bench, words: str, name: str, grid: float, of_x: Rounding | None, of_w: Rounding | None
) -> Iterator[Hypothesis]:
    x = bench.x if of_x is None else of_x(bench.x, grid)
    change = None if of_w is None else (lambda _, block: of_w(block, grid))

    def probed(probe: Probe) -> Array:
        weight = probe.weight if of_w is None else of_w(probe.weight, grid)
        return x @ weight.T + probe.bias

    if bench.tried(probed):
        yield Hypothesis(
            "precision", words, lambda: bench.product(bias=bench.bias, x=x, change=change),
            "factors", "as recorded", name,
        )  # fmt: skip
    if bench.tried(lambda probe: on_grid(probed(probe), grid)):
        yield Hypothesis(
            "precision", f"{words}, and the output",
            lambda: _on_grid(bench.product(bias=bench.bias, x=x, change=change), grid),
            "factors", "as recorded", name,
        )  # fmt: skip


def _on_grid(prediction: Prediction, grid: float) -> Prediction:
    """Rounded once more; next to a boundary either neighbour may be meant."""
    value = on_grid(prediction.value, grid)
    step = 2 * grid * np.abs(value)
    spread = np.sqrt(np.square(prediction.spread) + 0.4 * prediction.spread * step)
    return Prediction(value, spread)


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
        left = kind.left * bench.probe.before
        exact = left <= _EXACT
        share = 100 * (1 - kind.left**2)
        words = kind.words if exact else f"{kind.words} (explains {share:.3g} % of the error)"
        yield Hypothesis(
            "quantised", f"{words}{bench.where}", partial(_rounded, bench, kind, exact),
            "bits", "as stored", kind.words, "" if exact else f"{100 * kind.left:.2g} % is left",
            0 if exact else 1,
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
        x = _activations(bench, q)
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


def _activations(bench: Bench, quantiser: Quantiser) -> Array:
    """The sample's inputs rounded. A scale by tensor is that of all rows, where they are read."""
    return quantiser(bench.x, bench.input_span if quantiser.size < 0 else None)


def _rounded(bench: Bench, kind: Kind, exact: bool) -> Prediction:
    """The product with rounded factors; what the probe says is left adds to its uncertainty."""
    span = bench.weight_span if kind.weight is not None and kind.weight.size < 0 else None
    out, inner = bench.weight.shape
    by_input, by_channel = np.zeros(inner), np.zeros(out)
    mean_square = np.square(bench.x).mean(0)

    def change(first: int, block: Array) -> Array:
        if kind.weight is None:
            return block
        done = np.empty(block.shape)
        for at in range(0, len(block), _BLOCK_ROWS):
            part = slice(at, at + _BLOCK_ROWS)
            done[part] = kind.weight(block[part].astype(np.float64), span)
        done = on_grid(done, bench.unit) if bench.unit else done
        moved = np.square(done - block)
        by_input[:] += moved.sum(0)
        by_channel[first : first + len(block)] = moved @ mean_square
        return done

    x = bench.x if kind.x is None else _activations(bench, kind.x)
    found = bench.product(bias=bench.bias, x=x, change=change)
    if exact:
        return found
    if kind.weight is None:
        moved = float(np.square(found.value - bench.base.value).mean())
        shape = np.square(bench.spread)
        more = shape * (moved / max(float(shape.mean()), 1e-300))
    else:
        row = np.square(bench.x) @ by_input
        more = row[:, None] * (by_channel / max(float(by_channel.sum()), 1e-300))[None, :]
    return Prediction(found.value, np.sqrt(np.square(found.spread) + kind.left**2 * more))
