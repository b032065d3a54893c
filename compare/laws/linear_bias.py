"""What can be wrong with the bias of a projection."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...capture.arrays import Array
from .law import Hypothesis, Prediction
from .linear_bench import Bench
from .linear_other import neighbours, other_bias
from .names import number_words

# Times that a bias may be added: on every rank of 2, 4 or 8, or with another sign.
_TIMES = (2.0, 4.0, 8.0, -1.0, 0.5)
_PARTS = (2, 4, 8)  # equal parts of the channels of which only some got their bias


def biases(bench: Bench) -> Iterator[Hypothesis]:
    """A bias that is missing, added several times, another one's, or added to some channels."""
    if bench.bias is None or not bench.bias.any():
        yield from _foreign(bench)
        return
    bias, bare = bench.bias, bench.base.value - bench.bias
    yield _with(bench, bare, f"the bias{bench.where} is not added", "not added")
    for times in _TIMES:
        text = f"the bias{bench.where} is added {number_words(times)} times"
        yield _with(bench, bare + times * bias, text, f"x {number_words(times)}")
    yield from _partly(bench, bias, bare)
    yield from _foreign(bench)
    yield from _factor(bench, bias, bare)


def _with(bench: Bench, value: Array, text: str, candidate: str, fitted: int = 0) -> Hypothesis:
    ours = "none" if bench.bias is None else "added once"
    return Hypothesis(
        "bias", text, lambda: Prediction(value, bench.base.spread), "bias", ours, candidate, "",
        fitted,
    )  # fmt: skip


def _partly(bench: Bench, bias: Array, bare: Array) -> Iterator[Hypothesis]:
    """The bias added to some equal parts of the channels only."""
    weight = 1.0 / np.maximum(np.square(bench.spread), 1e-300)
    left = bench.recorded - bare
    without = (weight * np.square(left)).sum(0)
    with_it = (weight * np.square(left - bias)).sum(0)
    width = len(bias)
    for parts in dict.fromkeys((*_PARTS, bench.heads)):
        if parts < 2 or width % parts or width == parts:
            continue
        size = width // parts
        missing = without.reshape(parts, size).sum(1) < with_it.reshape(parts, size).sum(1)
        if not missing.any() or missing.all():
            continue
        added = np.where(np.repeat(missing, size), 0.0, bias)
        words = ", ".join(f"{n * size}..{(n + 1) * size - 1}" for n in np.flatnonzero(missing)[:4])
        text = f"the bias{bench.where} is not added to the output channels {words}"
        yield _with(bench, bare + added, text, f"not added to {words}")
        return


def _foreign(bench: Bench) -> Iterator[Hypothesis]:
    """The bias of another projection or layer, with the own weight."""
    own = bench.bias if bench.bias is not None else np.zeros(bench.base.value.shape[1])
    bare = bench.base.value - own
    channels = bench.probe.channels
    for module in neighbours(bench):
        bias = other_bias(bench, module)
        if bias is None or not bench.tried(lambda p, b=bias: p.base + (b - own)[channels]):
            continue
        text = f"the bias of {module} is added{bench.where}"
        yield _with(bench, bare + bias, text, module)


def _factor(bench: Bench, bias: Array, bare: Array) -> Iterator[Hypothesis]:
    """The bias with a factor that is fitted."""
    weight = 1.0 / np.maximum(np.square(bench.spread), 1e-300)
    total = float((weight * np.square(bias)).sum())
    if total <= 0:
        return
    factor = float((weight * bias * (bench.recorded - bare)).sum()) / total
    if not np.isfinite(factor):
        return
    text = f"the bias{bench.where} is added {number_words(factor)} times"
    yield _with(bench, bare + factor * bias, text, f"x {number_words(factor)}", 1)
