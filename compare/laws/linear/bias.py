"""What can be wrong with the bias of a projection."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ....capture.values import Array
from ..law import Hypothesis, Prediction
from ..names import measured_words, number_words
from .bench import Bench
from .other_weights import neighbours, other_bias

# Times that a bias may be added: on every rank of 2, 4 or 8, or with another sign.
_TIMES = (2.0, 4.0, 8.0, -1.0, 0.5)
_SURE = 8.0  # standard errors that such a number may be off the fitted one
_PARTS = (2, 4, 8)  # equal parts of the channels of which only some got their bias


def biases(bench: Bench) -> Iterator[Hypothesis]:
    """A bias that is missing, added several times, another one's, or added to some channels."""
    if bench.bias is None or not bench.bias.any():
        yield from _foreign(bench)
        return
    bias, bare = bench.bias, bench.base.value - bench.bias
    factor, error = _factor(bench, bias, bare)
    for times in (0.0, *_TIMES):
        if abs(times - factor) <= _SURE * error:
            yield _times(bench, bare + times * bias, times, error, 0)
    yield from _partly(bench, bias, bare)
    yield from _foreign(bench)
    if np.isfinite(factor):
        yield _times(bench, bare + factor * bias, factor, error, 1)


def _times(bench: Bench, value: Array, times: float, error: float, fitted: int) -> Hypothesis:
    """The bias with a factor, that of a plain number or a fitted one."""
    text = f"the bias{bench.where} is added {number_words(times)} times"
    candidate = f"x {measured_words(times, error)}"
    if times == 0:
        text, candidate = f"the bias{bench.where} is not added", "not added"
    return _with(bench, value, text, candidate, fitted, number_words(error))


def _with(
    bench: Bench, value: Array, text: str, candidate: str, fitted: int = 0, error: str = ""
) -> Hypothesis:
    ours = "none" if bench.bias is None else "added once"
    return Hypothesis(
        "bias", text, lambda: Prediction(value, bench.base.spread), "bias", ours, candidate, error,
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


def _factor(bench: Bench, bias: Array, bare: Array) -> tuple[float, float]:
    """How many times the bias is added, by least squares, and the standard error: from how the
    channels disagree, since each has a rounding of its own in every row. NaN where it is hidden.
    """
    weight = 1.0 / np.maximum(np.square(bench.spread), 1e-300)
    weight = np.where(np.isfinite(bench.case.output), weight, 0.0)
    total = float((weight * np.square(bias)).sum())
    if total <= 0:
        return np.nan, np.inf
    left = bench.recorded - bare
    factor = float((weight * bias * left).sum()) / total
    scores = (weight * bias * (left - factor * bias)).sum(0)
    alone = total**-0.5 * bench.noise**0.5  # of rounding that is independent
    error = float(np.sqrt(np.square(scores).sum())) / total
    return factor, float(np.hypot(error, alone))
