"""Weights that were rounded by a scheme without a name: equal steps in groups that share a scale.

How large the error is says about how many steps a group of each size would have: with the step d a
rounded weight has the variance d^2 / 12. Near that, numbers of steps are tried one by one. Which
group size and number it is, is then no guess: a wrong one leaves as much as it takes away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from ....capture.values import Array
from . import quantisers
from .bench import Bench, Probe
from .quantisers import Quantiser

_SMALLEST, _LARGEST = 16, 512  # weights of a group, besides whole rows and the whole tensor
_FEWEST, _MOST = 1.0, 130.0  # steps from 0 to the greatest weight
_NEAR = 1.3  # times the number of steps that the error's size speaks for
_NEAR_OF_TENSOR = 4.0  # below it: most weights may be less than half a step, and err by less
_APART, _FINE, _FINEST = 0.25, 0.02, 0.002  # of a step, between numbers that are tried in turn
_LOOKED_AT = 3  # schemes that are looked at again
_WHOLE = 0.05  # how near a number of half steps, and what it leaves, is to a whole one's
_SCALE_UNIT = 2.0**-8  # the scale may have been rounded to bfloat16: `quantised` tries that
_CLIPPED = 3  # highest codes that a clipped scheme may lack
_SIMPLE = 0.1  # of the error that a symmetric scheme leaves where no other needs to be looked for
_AT_FIRST = 0.9  # of the error that a scheme may leave at first

# Of a quantiser what it leaves of the error of some channels.
Left = Callable[[Quantiser], float]


@dataclass(frozen=True)
class _Scheme:
    """A group size and what makes its codec of a number of steps from 0, or from the least."""

    size: int
    symmetric: bool
    steps: float
    left: float = np.inf


def unnamed(bench: Bench, left_of: Left) -> Iterator[Quantiser]:
    """The schemes that leave least of the probe's error, each with the best number of steps."""
    tried = [
        _best(_Scheme(size, symmetric, steps), left_of)
        for size in sizes(bench.weight.shape[1])
        for symmetric in (True, False)
        for steps in [_expected(bench, bench.probe, size, symmetric)]
        if _FEWEST <= steps <= _MOST
    ]
    # From the least weight on, steps may happen to meet those from 0: of two the simpler is taken.
    simple = {scheme.size for scheme in tried if scheme.symmetric and scheme.left <= _SIMPLE}
    tried = [scheme for scheme in tried if scheme.symmetric or scheme.size not in simple]
    tried.sort(key=lambda scheme: scheme.left)
    for scheme in tried[:_LOOKED_AT]:
        if scheme.left <= _AT_FIRST:
            yield _refined(scheme, left_of)


def sizes(inner: int) -> list[int]:
    """What a row of this length may be parted into, with whole rows (0) and the tensor (-1)."""
    most = min(_LARGEST, inner // 2)
    parts = [size for size in range(_SMALLEST, most + 1) if inner % size == 0 and not size % 2]
    return [*parts, 0, -1]


def _expected(bench: Bench, probe: Probe, size: int, symmetric: bool) -> float:
    """How many steps would leave an error of the size that is seen: from 0 to the greatest weight,
    or from the least to the greatest.
    """
    weight = probe.weight
    if size < 0:
        low, high = (np.full((len(weight), 1), value) for value in bench.weight_span)
    else:
        groups = weight.reshape(len(weight), -1, size or weight.shape[1])
        low, high = groups.min(-1), groups.max(-1)
    span = np.maximum(np.abs(low), np.abs(high)) if symmetric else high - low
    squares = np.square(probe.x).reshape(len(probe.x), span.shape[1], -1).sum(-1)
    scale = np.square(1.0 / np.maximum(probe.spread, 1e-300))
    steps = float(((squares @ np.square(span).T) * scale).sum())
    seen = float((np.square(probe.residual) * scale).sum())
    return (steps / (12.0 * max(seen, 1e-300))) ** 0.5


def _best(scheme: _Scheme, left_of: Left) -> _Scheme:
    """The number of steps near the expected one that leaves least."""
    apart = _APART if scheme.symmetric else 1.0
    near = _NEAR if scheme.size >= 0 else _NEAR_OF_TENSOR
    low, high = scheme.steps / near, scheme.steps * _NEAR
    first = max(1, int(np.floor(low / apart)))
    found = [
        _Scheme(scheme.size, scheme.symmetric, number * apart)
        for number in range(first, int(np.ceil(high / apart)) + 1)
    ]
    return min(
        (_Scheme(s.size, s.symmetric, s.steps, left_of(_quantiser(s))) for s in found),
        key=lambda s: s.left,
    )


def _refined(scheme: _Scheme, left_of: Left) -> Quantiser:
    if not scheme.symmetric:
        both = [_quantiser(scheme, whole) for whole in (False, True)]
        return min(both, key=left_of)
    left = _left_with(scheme, left_of)
    plain = min(_around(quantisers.Steps(scheme.steps), _APART, _FINE), key=left)
    halves = replace(plain, steps=round(2 * plain.steps) / 2)
    close = abs(plain.steps - halves.steps) <= max(_WHOLE, plain.steps * _SCALE_UNIT)
    if close and left(halves) <= left(plain) + _WHOLE:
        return _named(scheme.size, halves)
    top = int(np.floor(plain.steps + 0.5))
    clipped = [
        replace(plain, top=top - less, lower=lower)
        for less in range(min(_CLIPPED, top - 1) + 1)
        for lower in (False, True)
    ]
    best = min((plain, *clipped), key=left)
    finest = min(_around(best, _FINE, _FINEST), key=left)
    return _named(scheme.size, finest)


def _around(codec: quantisers.Steps, far: float, apart: float) -> list[quantisers.Steps]:
    """The same with numbers of steps up to `far` from its own, `apart` from each other."""
    moved = codec.steps + np.arange(-far, far + apart / 2, apart)
    return [replace(codec, steps=float(steps)) for steps in moved if steps >= _APART]


def _left_with(scheme: _Scheme, left_of: Left) -> Callable[[quantisers.Steps], float]:
    return lambda codec: left_of(_named(scheme.size, codec))


def _quantiser(scheme: _Scheme, whole: bool = False) -> Quantiser:
    if scheme.symmetric:
        return _named(scheme.size, quantisers.Steps(scheme.steps))
    count = round(scheme.steps) + 1
    more = "with zero points" if whole else "with offsets"
    codec = quantisers.StepsBetween(count - 1, whole)
    return Quantiser(f"{count} levels", scheme.size, codec, more, float(np.log2(count)))


def _named(size: int, codec: quantisers.Steps) -> Quantiser:
    """Whole and half numbers of steps reach the greatest weight; others are cut off before."""
    top = codec.top if codec.top is not None else int(np.floor(codec.steps + 0.5))
    count = 2 * top + 1 + codec.lower
    kind = f"{count} levels" if codec.lower else f"{count} symmetric levels"
    cut = codec.steps > top + 0.5 or 2 * codec.steps != round(2 * codec.steps)
    reach = top / codec.steps
    more = f"that reach {reach:.3g} of the greatest weight" if cut else ""
    return Quantiser(kind, size, codec, more, float(np.log2(count)))


def left_on(part: Probe, bench: Bench, share: Callable[[Probe, Array], float]) -> Left:
    """What a quantiser leaves of the error of a part of the probe; each is worked out once."""
    known: dict[Quantiser, float] = {}

    def left(quantiser: Quantiser) -> float:
        if quantiser not in known:
            rounded = bench.loaded(quantiser(part.weight, bench.tensor_span_of_weight(quantiser)))
            known[quantiser] = share(part, part.x @ rounded.T)
        return known[quantiser]

    return left
