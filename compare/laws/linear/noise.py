"""Errors of a projection that no exact change explains, but that are of the kind rounding makes.

With R what is left by the reference's weight, rows alike in x are alike in R where the *weight* was
rounded (R = X D^T: the products of rows of R go as those of X), channels alike in W are alike in R
where the *input* was, and neither where every output has an error of its own. That grows with the
size of the output where products are added up in a narrow arithmetic, since partial sums are as
large as what they end at, and does not where the weights' errors were made to cancel for such
inputs (GPTQ).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ....capture.values import Array
from ..law import Hypothesis, Prediction
from ..names import number_words
from . import quantisers
from .bench import Bench, Probe
from .low_rank import rank_of
from .spectrum import separable, spectrum

_COHERENT = 0.6  # share of the likeness among rows (channels) that the error must have
_INCOHERENT = 0.3
_SURE = 4.0  # standard errors
_MOST = 0.6  # of the output: larger errors are no rounding
_UNBIASED = 0.15  # of the relative error: rounding hardly changes the common factor
_FEWEST_ROWS = 6
_FLAT = 0.5  # of the participation ratio that the singular values of noise have
# Times the squared error of small outputs that large ones have in narrow sums: 2.8 to 5.6 where
# bfloat16 sums were rounded every 16 products, at most 1.8 for weights rounded by GPTQ.
GROWS = 2.2
_BITS = (2, 3, 4, 5, 6, 8)
_SIZES = (16, 32, 64, 128, 0)


@dataclass(frozen=True)
class Noise:
    """What an error is like: `relative` to the output, made of the `weight`, the `input`, or of
    sums; `growth` is how much larger it is (squared) where the output is large.
    """

    relative: float
    of: str
    growth: float


def noise_of(probe: Probe, usual: float) -> Noise | None:
    """None where the error is not like noise: a common factor, few rows, few channels, low rank,
    or nothing that can be told apart. `usual` is the square of a usual error in units of rounding.
    """
    if len(probe.x) < _FEWEST_ROWS or not probe.fine.all():
        return None
    scale = separable(probe.spread)
    left, value = probe.residual * scale, (probe.base - probe.bias) * scale
    rr, vv = float(np.square(left).sum()), float(np.square(value).sum())
    if not 0 < rr <= _MOST**2 * vv:
        return None
    relative, gain = (rr / vv) ** 0.5, float((left * value).sum()) / vv
    if abs(gain) > _UNBIASED * relative + relative**2:
        return None
    left = left - gain * value
    of = _made_of(left, probe.x * scale.mean(1)[:, None], probe.weight * scale.mean(0)[:, None])
    if of is None or not _noisy(probe, left, of, usual):
        return None
    return Noise(relative, of, _growth(left, value))


def made_by_weight(probe: Probe) -> bool:
    """Whether the error, besides a common factor, goes as the inputs do: a change of the weight,
    whatever it is like.
    """
    if len(probe.x) < _FEWEST_ROWS or not probe.fine.all():
        return False
    scale = separable(probe.spread)
    left, value = probe.residual * scale, (probe.base - probe.bias) * scale
    left = left - float((left * value).sum()) / max(float(np.square(value).sum()), 1e-300) * value
    return _sure(*_coherence(left, probe.x * scale.mean(1)[:, None]))


def _made_of(left: Array, x: Array, weight: Array) -> str | None:
    of_weight, of_input = _coherence(left, x), _coherence(left.T, weight)
    if _sure(*of_weight) and of_input[0] < _COHERENT:
        return "weight"
    if _sure(*of_input) and of_weight[0] < _COHERENT:
        return "input"
    return "sums" if max(of_weight[0], of_input[0]) < _INCOHERENT else None


def _sure(coherence: float, error: float) -> bool:
    return coherence >= _COHERENT and coherence >= _SURE * error


def _coherence(errors: Array, vectors: Array) -> tuple[float, float]:
    """How the cosines among rows of errors go with those among vectors: 1 where errors are random
    products with them, 0 where they are independent; and the standard error.
    """
    k, c = (a @ a.T for a in (_unit_rows(errors), _unit_rows(vectors)))
    np.fill_diagonal(k, 0.0)
    np.fill_diagonal(c, 0.0)
    total = float(np.square(c).sum())
    if total <= 1e-12:
        return 0.0, np.inf
    return float((k * c).sum() / total), (2.0 / (errors.shape[1] * total)) ** 0.5


def _unit_rows(values: Array) -> Array:
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-300)


def _noisy(probe: Probe, left: Array, of: str, usual: float) -> bool:
    """Whether the error has no structure besides: its singular values are those of noise."""
    if of == "weight":
        seen = spectrum(probe.residual, probe.x, probe.spread, usual)
        return seen is not None and _flat(np.linalg.svd(seen.z, compute_uv=False), *seen.z.shape)
    rows = _unit_rows(_unit_rows(left).T).T
    s = np.linalg.svd(rows, compute_uv=False)
    if of == "input":
        return rank_of(s, *left.shape) is None
    return _flat(s, *left.shape)


def _flat(s: Array, rows: int, out: int) -> bool:
    """Whether singular values are those of noise: their squares are then as unequal as those of
    random matrices are, (sum s^2)^2 / sum s^4 = rows / (1 + rows / out).
    """
    squares = np.square(s)
    count = float(squares.sum() ** 2 / max(float(np.square(squares).sum()), 1e-300))
    return count >= _FLAT * rows / (1 + rows / out) and rank_of(s, rows, out) is None


def _growth(left: Array, value: Array) -> float:
    """The mean squared error of large outputs over that of small ones, of the same rows and
    channels.
    """
    rr, vv = (
        a / np.maximum(np.outer(a.mean(1), a.mean(0)) / max(float(a.mean()), 1e-300), 1e-300)
        for a in (np.square(left), np.square(value))
    )
    large, small = rr[vv > 1.0], rr[vv < 0.25]
    if min(large.size, small.size) < 50:
        return 1.0
    return float(large.mean() / max(float(small.mean()), 1e-300))


def rounding_noise(bench: Bench) -> Iterator[Hypothesis]:
    """Weights or activations of about so many bits, or narrow accumulation, by size and likeness
    alone.
    """
    noise = noise_of(bench.probe, bench.noise)
    if noise is None:
        return
    size = f"{100 * noise.relative:.2g} %"
    if noise.of == "weight":
        yield from _of_weights(bench, size)
    elif noise.of == "input":
        text = (
            f"the input{bench.where} differs by noise that amounts to {size} of the output, as "
            "if it were rounded before the product"
        )
        yield _noise(bench, "quantised", text, "input", size)
    elif noise.growth >= GROWS:
        text = (
            f"the products{bench.where} are accumulated in lower precision: every output has an "
            f"independent error of {size}"
        )
        yield _noise(bench, "precision", text, "accumulation", size)
    else:
        text = (
            f"every output{bench.where} has an independent error of {size}, as if the weight were "
            "rounded so that its errors cancel for such inputs (GPTQ)"
        )
        yield _noise(bench, "quantised", text, "bits", size)


def _of_weights(bench: Bench, size: str) -> Iterator[Hypothesis]:
    bits = bits_of(bench.probe.weight, bench.probe, bench.weight_span)
    if bits is None:
        return
    words = f"{bits[0]:.1f} .. {bits[1]:.1f} bits"
    text = (
        f"the weight{bench.where} differs by noise that amounts to {size} of the output, as from "
        f"rounding to about {number_words(round(sum(bits) / 2))} bits"
    )
    yield _noise(bench, "quantised", text, "bits", words)


def _noise(bench: Bench, name: str, text: str, parameter: str, words: str) -> Hypothesis:
    return Hypothesis(
        name, text, lambda: noisier(bench), parameter, "as recorded", words, words, 1, by_size=True
    )


def noisier(bench: Bench) -> Prediction:
    """The same with the rounding of every row and channel as large as its error is, and a common
    factor that it made.
    """
    spread = np.maximum(bench.spread, 1e-300)
    bias = 0.0 if bench.bias is None else bench.bias
    value = bench.base.value - bias
    factor = _factor(bench.recorded - bias, value, spread)
    squares = np.square(bench.recorded - value * factor - bias) / np.square(spread)
    rows, channels = squares.mean(1, keepdims=True), squares.mean(0)
    times = np.sqrt(rows * channels / max(float(squares.mean()), 1e-300))
    spread = spread * np.maximum(1.0, times)
    return Prediction(value * _factor(bench.recorded - bias, value, spread) + bias, spread)


def _factor(recorded: Array, value: Array, spread: Array) -> float:
    """The least-squares factor of a value, weighed by its errors."""
    weight = 1.0 / np.square(spread)
    return float((weight * value * recorded).sum() / (weight * value * value).sum())


def bits_of(weight: Array, probe: Probe, span: Array) -> tuple[float, float] | None:
    """Between how many bits a weight has that leaves an error of the probe's size: the fewer with
    small groups, the more with one scale a row.
    """
    scale = 1.0 / np.maximum(probe.spread, 1e-300)
    seen = float(np.sqrt(np.square(probe.residual * scale).sum()))
    squares, weighed = np.square(probe.x), np.square(scale)
    found: list[float] = []
    for size in _SIZES:
        errors: dict[int, float] = {}
        for bits in _BITS:
            codec = quantisers.Symmetric(bits, 2 ** (bits - 1) - 1)
            one = quantisers.Quantiser(f"int{bits}", size, codec)
            if not one.fits(weight.shape[1]):
                break
            moved = np.square(one(weight, span) - weight)
            errors[bits] = float(np.sqrt(((squares @ moved.T) * weighed).sum()))
        if len(errors) == len(_BITS):
            found.append(_interpolated(errors, seen))
    if not found:
        return None
    low, high = min(found), max(found)
    if high < _BITS[0] - 0.5 or low > _BITS[-1] + 1.5:
        return None
    return low, high


def _interpolated(errors: dict[int, float], seen: float) -> float:
    """The number of bits at which the error would be as seen: its logarithm is linear in it."""
    bits = np.array(sorted(errors))
    logs = np.log([max(errors[b], 1e-300) for b in bits])
    slope, at = np.polyfit(logs, bits, 1)
    return float(slope * np.log(max(seen, 1e-300)) + at)
