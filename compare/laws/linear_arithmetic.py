"""The arithmetic that a projection shows, in words: of products, of weights, of activations."""

from __future__ import annotations

from .linear_bench import Bench
from .linear_noise import GROWS, Noise, bits_of, noise_of
from .linear_precision import product_grid
from .linear_quantised import kinds_of

_MOST_LEFT = 0.5  # of the error, that a kind of rounding may leave and still be called by its name


def arithmetic_words(bench: Bench) -> str | None:
    """None where the error is not like that of any arithmetic."""
    grid = product_grid(bench)
    if grid is not None:
        return f"products in {grid}"
    kinds = kinds_of(bench)
    if kinds and kinds[0].left <= _MOST_LEFT:
        return kinds[0].words
    noise = noise_of(bench.probe, bench.noise)
    return None if noise is None else _noise_words(bench, noise)


def _noise_words(bench: Bench, noise: Noise) -> str | None:
    if noise.of == "weight":
        bits = bits_of(bench.probe.weight, bench.probe, bench.weight_span)
        return None if bits is None else f"weights rounded to about {round(sum(bits) / 2)} bits"
    if noise.of == "input":
        return "activations rounded before products"
    if noise.growth >= GROWS:
        return "products added up in a narrower arithmetic"
    return "weights rounded with their errors made to cancel"
