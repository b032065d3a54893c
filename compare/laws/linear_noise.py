"""Errors of a projection that no exact change explains, but that are of the kind rounding makes.

With R what is left by the reference's weight, rows alike in x are alike in R where the *weight* was
rounded (R = X D^T: the products of rows of R go as those of X), channels alike in W are alike in R
where the *input* was, and neither where every output has an error of its own (narrow accumulation).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...capture.arrays import Array
from . import quantisers
from .law import Hypothesis, Prediction
from .linear_bench import Bench, Probe
from .linear_low_rank import rank_of
from .linear_spectrum import separable, spectrum
from .names import number_words

_COHERENT = 0.6  # share of the likeness among rows (channels) that the error must have
_INCOHERENT = 0.3
_MOST = 0.6  # of the output: larger errors are no rounding
_UNBIASED = 0.15  # of the relative error: rounding hardly changes the common factor
_FEWEST_ROWS = 6
_FLAT = 0.5  # of the participation ratio that the singular values of noise have
_TIMES = 1.35  # beyond the extremes of a number of bits that its error may be
_BITS = (2, 3, 4, 5, 6, 8)
_SIZES = (16, 32, 64, 128, 0)


@dataclass(frozen=True)
class Noise:
    """What an error is like: relative to the output (root mean square, rows alike weighed), and
    how far rows, and channels, that should be alike are.
    """

    relative: float
    of_weight: float
    of_input: float
    of_weight_error: float
    of_input_error: float


def noise_of(probe: Probe, usual: float) -> Noise | None:
    """None where the error is not like noise: a common factor, few rows, few channels, low rank.
    `usual` is the square of a usual error in units of rounding.
    """
    if len(probe.x) < _FEWEST_ROWS or not probe.fine.all():
        return None
    scale = separable(probe.spread)
    left, value = probe.residual * scale, (probe.base - probe.bias) * scale
    rr, vv = float(np.square(left).sum()), float(np.square(value).sum())
    if not 0 < rr <= _MOST**2 * vv:
        return None
    relative = (rr / vv) ** 0.5
    if abs(float((left * value).sum())) / vv > _UNBIASED * relative + relative**2:
        return None
    seen = spectrum(probe.residual, probe.x, probe.spread, usual)
    if seen is None:
        return None
    if not _flat(np.linalg.svd(seen.z, compute_uv=False), *seen.z.shape):
        return None
    weight, weight_error = _coherence(left, probe.x * scale.mean(1, keepdims=True))
    inputs, input_error = _coherence(left.T, probe.weight * scale.mean(0)[:, None])
    return Noise(relative, weight, inputs, weight_error, input_error)


def _flat(s: Array, rows: int, out: int) -> bool:
    """Whether singular values are those of noise: their squares are then as unequal as those of
    random matrices are, (sum s^2)^2 / sum s^4 = rows / (1 + rows / out).
    """
    squares = np.square(s)
    count = float(squares.sum() ** 2 / max(float(np.square(squares).sum()), 1e-300))
    return count >= _FLAT * rows / (1 + rows / out) and rank_of(s, rows, out) is None


def _coherence(errors: Array, vectors: Array) -> tuple[float, float]:
    """How the cosines among rows of errors go with those among vectors: 1 where errors are random
    products with them, 0 where they are independent; and the standard error.
    """
    a = errors / np.maximum(np.linalg.norm(errors, axis=1, keepdims=True), 1e-300)
    b = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-300)
    k, c = a @ a.T, b @ b.T
    np.fill_diagonal(k, 0.0)
    np.fill_diagonal(c, 0.0)
    total = float(np.square(c).sum())
    if total <= 1e-12:
        return 0.0, np.inf
    return float((k * c).sum() / total), (2.0 / (errors.shape[1] * total)) ** 0.5


def rounding_noise(bench: Bench) -> Iterator[Hypothesis]:
    """Weights or activations of about so many bits, or narrow accumulation, by size and likeness
    alone.
    """
    noise = noise_of(bench.probe, bench.noise)
    if noise is None:
        return
    of = coherent_with(noise)
    if of == "weight":
        yield from _of_weights(bench, noise)
    elif of == "input":
        yield from _of_inputs(bench, noise)
    elif of == "neither":
        yield from _of_products(bench, noise)


def coherent_with(noise: Noise) -> str | None:
    """Where the error comes from: `weight`, `input`, `neither`; None where that cannot be told."""
    if _sure(noise.of_weight, noise.of_weight_error) and noise.of_input < _COHERENT:
        return "weight"
    if _sure(noise.of_input, noise.of_input_error) and noise.of_weight < _COHERENT:
        return "input"
    return "neither" if max(noise.of_weight, noise.of_input) < _INCOHERENT else None


def _sure(coherence: float, error: float) -> bool:
    return coherence >= _COHERENT and coherence >= 4 * error


def _of_weights(bench: Bench, noise: Noise) -> Iterator[Hypothesis]:
    probe = bench.probe
    bits = bits_of(probe.weight, probe, bench.weight_span)
    if bits is None:
        return
    words = f"{bits[0]:.1f} .. {bits[1]:.1f}"
    text = (
        f"the weight{bench.where} is rounded to about {number_words(round(sum(bits) / 2))} bits "
        f"(its error is {100 * noise.relative:.2g} % of the output; no known quantiser gives it)"
    )
    yield Hypothesis(
        "quantised", text, lambda: _noisier(bench), "bits", "as stored", words, words, 1
    )


def _of_inputs(bench: Bench, noise: Noise) -> Iterator[Hypothesis]:
    text = (
        f"the input{bench.where} is rounded before the product (its error is "
        f"{100 * noise.relative:.2g} % of the output; no known quantiser gives it)"
    )
    yield Hypothesis(
        "quantised", text, lambda: _noisier(bench), "input", "as recorded",
        f"{100 * noise.relative:.2g} % noise", "", 1,
    )  # fmt: skip


def _of_products(bench: Bench, noise: Noise) -> Iterator[Hypothesis]:
    text = (
        f"the products{bench.where} are added up in a narrower arithmetic: every output has an "
        f"error of its own of {100 * noise.relative:.2g} %"
    )
    yield Hypothesis(
        "precision", text, lambda: _noisier(bench), "accumulation", "as in its peers",
        f"{100 * noise.relative:.2g} %", "", 1,
    )  # fmt: skip


def _noisier(bench: Bench) -> Prediction:
    """The same with the rounding as large as the error is, and a common factor that it made."""
    weight = 1.0 / np.square(np.maximum(bench.spread, 1e-300))
    bias = 0.0 if bench.bias is None else bench.bias
    value = bench.base.value - bias
    factor = 1.0 + float((weight * value * bench.residual).sum() / (weight * value * value).sum())
    value = value * factor + bias
    times = np.sqrt(np.median((weight * np.square(bench.recorded - value)).mean(1)))
    return Prediction(value, bench.spread * max(1.0, float(times)))


def bits_of(weight: Array, probe: Probe, span: Array) -> tuple[float, float] | None:
    """Between how many bits a weight has that leaves an error of the probe's size: the fewer with
    small groups, the more with one scale a row.
    """
    scale = 1.0 / np.maximum(probe.spread, 1e-300)
    seen = float(np.sqrt(np.square(probe.residual * scale).sum()))
    squares, weighed = np.square(probe.x), np.square(scale)
    found: list[tuple[float, float]] = []
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
    low, high = min(f[0] for f in found), max(f[0] for f in found)
    if high < _BITS[0] - 0.5 or low > _BITS[-1] + 1.5:
        return None
    return low, high


def _interpolated(errors: dict[int, float], seen: float) -> tuple[float, float]:
    """The number of bits at which the error would be as seen: its logarithm is linear in it."""
    bits = np.array(sorted(errors))
    logs = np.log([max(errors[b], 1e-300) for b in bits])
    slope, at = np.polyfit(logs, bits, 1)
    return float(slope * np.log(max(seen, 1e-300)) + at), 0.0
