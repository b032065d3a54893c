"""Weights or activations of a projection that were quantised, recognised by kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ....capture.values import Array
from ..law import Hypothesis, Prediction
from ..numerics.rounding import on_grid
from . import quantisers
from .bench import Bench, Probe
from .noise import made_by_weight
from .quantisers import Quantiser
from .unnamed_schemes import left_on, unnamed

_KINDS = "kinds"  # under which they are kept with the bench
_GLANCE_CHANNELS = 5  # of a probe, for a glance at all kinds
_GLANCE_ROWS = 6  # rows of activations that a kind must do well on before all are multiplied
# Sizes of a kind's own error, in that of the error that is seen, outside of which it is not what
# was done: what leaves 0.6 is from 0.4 to 1.6 times as large, and one channel tells it roughly.
_LIKE_SIZED = (0.25, 2.5)
_FIRST_CHANNELS, _FIRST_ROWS = 24, 24  # for the first look at those that may do at a glance
_BEST = 4  # kinds that are looked at again, in their variants
_MOST_LEFT = 0.6  # of the error, that a kind may leave
_MOST_LEFT_GLANCE = 0.9  # at a glance: a kind that is not there leaves more than it finds
_MOST_LEFT_FIRST = 0.8  # at the first look, where ties weigh more
_NAMED = 0.1  # of the error that a kind with a name leaves where no other needs to be looked for
_SAID = 3  # kinds that are said, no more than 1.5 times worse than the best
_WHOLE = 0.1  # share of the error up to which a kind may be exact, but for ties
_EXACT = 16.0  # units of rounding up to which nothing is left of a kind's error
_SCALES = (("float16", 2.0**-11), ("bfloat16", 2.0**-8))
_TIE = 2.0**-20  # how near, relatively, a number is to the middle of two codes to be a tie
_BLOCK_ROWS = 256  # rows of a block that are rounded at a time


@dataclass(frozen=True)
class Kind:
    """A way of rounding. Dequantised numbers are rounded once more, to the units of the grids that
    products are made on, 0 for not at all. `left` is the share of the probe's error that it leaves.
    """

    weight: Quantiser | None = None
    x: Quantiser | None = None
    weight_unit: float = 0.0
    x_unit: float = 0.0
    left: float = np.inf

    @property
    def words(self) -> str:
        """`activations in int8 by token, weights in int4 in groups of 64`."""
        found = []
        if self.x is not None:
            grouping = quantisers.grouping_words(self.x.size, "token")
            found.append(f"activations in {self.x.kind} {grouping} {self.x.more}".rstrip())
        if self.weight is not None:
            found.append(f"weights in {self.weight.words}")
        return ", ".join(found)

    def of_weight(self, values: Array, span: Array | None) -> tuple[Array, Array]:
        """Rows of the weight rounded, and the squares of what ties may add to each number."""
        return _rounded(values, self.weight, span, self.weight_unit)

    def of_x(self, bench: Bench) -> tuple[Array, Array]:
        """The sample's inputs rounded, and the squares of what ties may add."""
        span = None if self.x is None else bench.tensor_span(self.x)
        return _rounded(bench.x, self.x, span, self.x_unit)


def quantised(bench: Bench) -> Iterator[Hypothesis]:
    """Kinds of quantisers, held against a few channels first. Where the details of one differ, what
    it leaves counts as its own uncertainty.
    """
    for kind in kinds_of(bench):
        if kind.left <= _WHOLE or kind.left * bench.probe.before <= _EXACT:
            yield Hypothesis(
                "quantised", f"{kind.words}{bench.where}", partial(predicted, bench, kind, 0.0),
                "bits", "as stored", kind.words,
            )  # fmt: skip
        if kind.left * bench.probe.before > _EXACT:
            share = f"explains {100 * (1 - kind.left**2):.4g} % of the error"
            yield Hypothesis(
                "quantised", f"{kind.words}{bench.where} ({share})",
                partial(predicted, bench, kind, kind.left), "bits", "as stored", kind.words,
                f"{100 * kind.left:.2g} % is left", 1,
            )  # fmt: skip


def kinds_of(bench: Bench) -> list[Kind]:
    """The kinds that take most of the probe's error away, the best first; looked for once."""
    if _KINDS not in bench.kept:
        bench.kept[_KINDS] = _kinds_of(bench)
    return bench.kept[_KINDS]


def _kinds_of(bench: Bench) -> list[Kind]:
    probe = bench.probe
    if probe.before <= 0 or not np.isfinite(probe.before):
        return []
    part = _part(probe, _FIRST_CHANNELS)
    likely = at_a_glance(bench)
    first = [replace(kind, left=_first_look(bench, part, kind)) for kind in likely]
    first.sort(key=lambda kind: kind.left)
    near = [kind for kind in first[:_BEST] if kind.left <= _MOST_LEFT_FIRST]
    found = _looked_at(bench, near)
    if not found or found[0].left > _NAMED:
        found = sorted([*found, *_unnamed(bench, part)], key=lambda kind: kind.left)
    return [kind for kind in found if kind.left <= 1.5 * found[0].left][:_SAID]


def at_a_glance(bench: Bench) -> list[Kind]:
    """The kinds that do well on a few channels."""
    found = [*_weights(bench, bench.probe), *_activations(bench, bench.probe)]
    return [kind for kind in found if kind.left <= _MOST_LEFT_GLANCE]


def _looked_at(bench: Bench, kinds: Sequence[Kind]) -> list[Kind]:
    """The variants of kinds that take most of the probe's error away, the best first."""
    variants = [v for kind in kinds for v in _variants(bench, kind)]
    found = [replace(kind, left=_left(bench, bench.probe, kind)) for kind in variants]
    return sorted((k for k in found if k.left <= _MOST_LEFT), key=lambda kind: kind.left)


def _unnamed(bench: Bench, part: Probe) -> list[Kind]:
    """Schemes that have no name, where the error is made by the weight."""
    if not made_by_weight(bench.probe):
        return []
    left = left_on(part, bench, _share_left)
    return _looked_at(bench, [Kind(q, None, bench.unit) for q in unnamed(bench, left)])


def _weights(bench: Bench, probe: Probe) -> Iterator[Kind]:
    """The quantisers of weights that may do, with what each leaves of a few channels."""
    part = _part(probe, _GLANCE_CHANNELS)
    middle = _middle(part)
    for quantiser in quantisers.weight_quantisers():
        if not quantiser.fits(part.weight.shape[1]):
            continue
        if like_sized(middle, _rounded_weight(bench, middle, quantiser)):
            matrix = _rounded_weight(bench, part, quantiser)
            yield Kind(
                quantiser, None, bench.unit, left=_share_left(part, part.x @ matrix.T)
            )  # fmt: skip


def _middle(part: Probe) -> Probe:
    """The channel of a part whose error is in the middle."""
    r = np.square(part.residual / np.maximum(part.spread, 1e-300)).sum(0)
    return part.some(np.arange(len(part.x)), np.argsort(r)[len(r) // 2 : len(r) // 2 + 1])


def like_sized(part: Probe, matrix: Array) -> bool:
    """Whether the error that another weight makes is about as large as the one that is seen."""
    made, seen = part.x @ (matrix - part.weight).T, part.residual
    scale = np.where(part.fine, 1.0 / np.maximum(part.spread, 1e-300), 0.0)
    made, seen = (float(np.square(r * scale).sum()) ** 0.5 for r in (made, seen))
    least, most = _LIKE_SIZED
    return least * seen <= made <= most * seen


def _rounded_weight(bench: Bench, part: Probe, quantiser: Quantiser) -> Array:
    """A part's rows of the weight, rounded, as the loader then has them."""
    return _on(quantiser(part.weight, bench.tensor_span_of_weight(quantiser)), bench.unit)


def _activations(bench: Bench, probe: Probe) -> Iterator[Kind]:
    """The quantisers of activations that may do, alone and with weights of eight bits."""
    part = _part(probe, _GLANCE_CHANNELS)
    rows = np.unique(np.linspace(0, len(part.x) - 1, _GLANCE_ROWS).astype(int))
    few = part.some(rows, np.arange(len(part.channels)))
    inner = part.weight.shape[1]
    weights: list[tuple[Quantiser | None, Array]] = [(None, part.weight)]
    for quantiser in quantisers.weight_quantisers():
        if quantiser.bits == 8 and quantiser.size in (0, -1, 128) and quantiser.fits(inner):
            weights.append((quantiser, _rounded_weight(bench, part, quantiser)))
    stacked = np.concatenate([matrix for _, matrix in weights]).T

    def left_of(look: Probe, x: Array) -> list[float]:
        return _shares_left(look, (x @ stacked).reshape(len(x), len(weights), -1))

    for quantiser in quantisers.activation_quantisers():
        if not quantiser.fits(inner):
            continue
        x = _quantised_rows(bench, part, quantiser)
        if min(left_of(few, x[rows])) >= 1.0:
            continue
        for (weight, _), left in zip(weights, left_of(part, x), strict=True):
            yield Kind(weight, quantiser, bench.unit if weight else 0.0, left=left)


def _first_look(bench: Bench, part: Probe, kind: Kind) -> float:
    """The share of its error that the middle channel of a part keeps."""
    x, matrix = part.x, part.weight
    if kind.x is not None:
        x = _quantised_rows(bench, part, kind.x)
    if kind.weight is not None:
        span = bench.tensor_span_of_weight(kind.weight)
        matrix = _on(kind.weight(matrix, span), kind.weight_unit)
    return _share_left(part, x @ matrix.T)


def _quantised_rows(bench: Bench, part: Probe, quantiser: Quantiser) -> Array:
    """The inputs of a part, rounded. Where one scale serves the whole tensor, it is that of all
    rows.
    """
    span = bench.tensor_span(quantiser)
    if quantiser.size < 0 and span is None:
        return quantiser(bench.x)[part.rows]
    return quantiser(part.x, span)


def _variants(bench: Bench, kind: Kind) -> Iterator[Kind]:
    """A kind with rounded scales, and with or without another rounding to the record's grid."""
    yield kind
    if kind.weight is not None and kind.x is None:
        for name, unit in _SCALES:
            codec = quantisers.with_scale_unit(kind.weight.codec, unit)
            if codec is not None:
                more = f"{kind.weight.more} with scales in {name}".strip()
                yield replace(kind, weight=replace(kind.weight, codec=codec, more=more))
    unit = bench.case.units["output"]
    if unit <= 2.0**-20:
        return
    if kind.weight is not None:
        yield replace(kind, weight_unit=0.0 if kind.weight_unit else unit)
    if kind.x is not None:
        yield replace(kind, x_unit=unit)
        if kind.weight is not None:
            yield replace(kind, x_unit=unit, weight_unit=unit)


def _part(probe: Probe, channels: int) -> Probe:
    """A smaller probe: the rows and channels of the greatest errors."""
    r = np.square(probe.residual / np.maximum(probe.spread, 1e-300))
    rows = np.sort(np.argsort(r.sum(1))[::-1][:_FIRST_ROWS])
    return probe.some(rows, np.sort(np.argsort(r.sum(0))[::-1][:channels]))


def _share_left(part: Probe, product: Array) -> float:
    """The share of its error that the middle channel keeps: ties spoil single channels."""
    return _shares_left(part, product[:, None, :])[0]


def _shares_left(part: Probe, products: Array) -> list[float]:
    """The same of several products `[rows, products, channels]`."""
    inverse = np.where(part.fine, 1.0 / np.maximum(part.spread, 1e-300), 0.0)
    left = np.where(part.fine, part.y - part.bias, 0.0)[:, None, :] - products
    left = np.where(part.fine[:, None, :], left, 0.0) * inverse[:, None, :]
    after = np.square(left).sum(0)
    before = np.square(part.residual * inverse).sum(0)
    shares = np.median(np.sqrt(after / np.maximum(before, 1e-300)), axis=-1)
    return np.where(np.isfinite(shares), shares, np.inf).tolist()


def _left(bench: Bench, probe: Probe, kind: Kind) -> float:
    """The share of a probe's error that a kind leaves, elements with ties weighed less."""
    span = None if kind.weight is None else bench.tensor_span_of_weight(kind.weight)
    matrix, ties = kind.of_weight(probe.weight, span)
    x, ties_x = kind.of_x(bench)
    squares = np.square(probe.spread) + np.square(x) @ ties.T + ties_x @ np.square(matrix).T
    weight = np.where(probe.fine, 1.0 / np.maximum(squares, 1e-300), 0.0)
    left = np.where(probe.fine, probe.y - x @ matrix.T - probe.bias, 0.0)
    before = float((weight * np.square(probe.residual)).sum())
    share = float(np.sqrt((weight * np.square(left)).sum() / max(before, 1e-300)))
    return share if np.isfinite(share) else np.inf


def predicted(bench: Bench, kind: Kind, left: float) -> Prediction:
    """The product with rounded factors. What ties may add counts as spread, as does the share of
    the kind's error that is left.
    """
    span = None if kind.weight is None else bench.tensor_span_of_weight(kind.weight)
    x, moved_x = kind.of_x(bench)
    moved_x = moved_x + left**2 * np.square(x - bench.x)
    more = np.zeros(bench.base.value.shape)  # squares to be added to the spread's
    squares = np.square(bench.x)

    def change(first: int, block: Array) -> Array:
        done = np.empty(block.shape)
        for at in range(0, len(block), _BLOCK_ROWS):
            part = slice(at, at + _BLOCK_ROWS)
            own = block[part].astype(np.float64)
            done[part], moved = kind.of_weight(own, span)
            moved = moved + left**2 * np.square(done[part] - own)
            columns = slice(first + at, first + at + len(own))
            more[:, columns] += squares @ moved.T + moved_x @ np.square(own).T
        return done

    found = bench.product(bias=bench.bias, x=x, change=change)
    return Prediction(found.value, np.sqrt(np.square(found.spread) + more))


def _rounded(
    values: Array, quantiser: Quantiser | None, span: Array | None, unit: float
) -> tuple[Array, Array]:
    """Values rounded, and the square of the step of those that are as near to another code."""
    ties = np.zeros(values.shape)
    if quantiser is None:
        return values, ties
    done = quantiser(values, span)
    for nudge in (_TIE, -_TIE):
        for least in (False, True):
            np.maximum(ties, np.square(quantiser(values, span, nudge, least) - done), out=ties)
    return _on(done, unit), ties


def _on(values: Array, unit: float) -> Array:
    return on_grid(values, unit) if unit else values
