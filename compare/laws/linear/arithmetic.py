"""The arithmetic that a projection shows: of products, of weights, of activations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ..law import Prediction
from .bench import Bench
from .noise import GROWS, Noise, bits_of, noise_of, noisier
from .precision import best_factors, product
from .quantised import kinds_of, predicted

_MOST_LEFT = 0.5  # of the error, that a kind of rounding may leave and still be called by its name
_PLAINER = 1.1  # times the error of the best kind that one with fewer words may leave


@dataclass(frozen=True)
class Shown:
    """An arithmetic in words, and what the projection gives in it."""

    words: str
    predict: Callable[[], Prediction]


def arithmetic_of(bench: Bench) -> Shown | None:
    """None where the error is not like that of any arithmetic."""
    factors = best_factors(bench)
    if factors is not None:
        return Shown(f"products in {factors.name}", partial(product, bench, factors))
    kinds = [kind for kind in kinds_of(bench) if kind.left <= _MOST_LEFT]
    if kinds:
        near = [kind for kind in kinds if kind.left <= _PLAINER * kinds[0].left]
        kind = min(near, key=lambda kind: len(kind.words))
        return Shown(kind.words, partial(predicted, bench, kind, kind.left))
    noise = noise_of(bench.probe, bench.noise)
    words = None if noise is None else _noise_words(bench, noise)
    return None if words is None else Shown(words, partial(noisier, bench))


def _noise_words(bench: Bench, noise: Noise) -> str | None:
    if noise.of == "weight":
        bits = bits_of(bench.probe.weight, bench.probe, bench.weight_span)
        return None if bits is None else f"weights rounded to about {round(sum(bits) / 2)} bits"
    if noise.of == "input":
        return "activations rounded before products"
    if noise.growth >= GROWS:
        return "products accumulated in lower precision"
    return "weights rounded so that their errors cancel"
