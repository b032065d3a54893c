"""Numbers that went through a smaller type, and numbers that were clamped."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...capture.plurals import counted
from ...capture.values import Array
from ..measuring.mantissa import mantissa_bits
from ..model import Measurement, Symptom
from .fit import Pair, left_words

_TYPES = {1: "fp4 or int4", 2: "fp8 e5m2", 3: "fp8 e4m3", 7: "bfloat16", 10: "float16", 12: "tf32"}
_MOST_LEVELS = {7: "int4", 127: "int8"}
_FP16_MOST = 65504.0


def cast(pair: Pair, own_bits: int) -> Iterator[Symptom]:
    """The candidate's values lie on a coarser grid than its dtype and than the reference's."""
    x, y = pair.x, pair.y
    bits, before = mantissa_bits(np.abs(y)), mantissa_bits(np.abs(x))
    if bits < min(own_bits, before) and bits in _TYPES and len(np.unique(np.abs(y))) > 2:
        # Rounding at random makes errors of 2^-bits / sqrt(24) of a number, at most 2^-bits / 2.
        most = (2.0**-bits / 2) ** 2 * float(np.vdot(x, x))
        words = f"all values fit {_TYPES[bits]} ({bits} mantissa bits), the reference's do not"
        yield Symptom("cast", _grid_score(pair, most / 2), words)
        return
    yield from _levels(pair)


def _grid_score(pair: Pair, rounding: float) -> float:
    beyond = max(pair.squares - pair.noise, 1e-300)
    return min(1.0, 2 * rounding / beyond)


def _levels(pair: Pair) -> Iterator[Symptom]:
    """Whole multiples of one step: integers with a scale."""
    values = np.unique(np.abs(pair.y))
    if not 3 < len(values) <= 140 or len(np.unique(np.abs(pair.x))) < 3 * len(values):
        return
    gaps = np.diff(values)
    step = float(np.median(gaps[gaps > 0.02 * float(values[-1]) / 127]))
    whole = values / step
    off = float(np.abs(whole - np.round(whole)).max())
    top = round(float(whole[-1]))
    if off > max(0.35, 0.004 * top) or top > 128:
        yield from _few(pair, values)
        return
    name = next((word for most, word in _MOST_LEVELS.items() if top <= most + 1), "int8")
    rounding = step * step / 12 * pair.x.size
    words = f"all values are multiples of {step:.4g}, {top} of them at most: {name} with a scale"
    yield Symptom("cast", _grid_score(pair, rounding), words)


def _few(pair: Pair, values: Array) -> Iterator[Symptom]:
    """8-bit floats with a scale: few magnitudes, no even steps."""
    places = np.searchsorted(values, np.abs(pair.x).reshape(-1)).clip(1, len(values) - 1)
    gap = values[places] - values[places - 1]
    rounding = float(np.vdot(gap, gap)) / 12
    words = f"only {len(values)} different magnitudes: an 8-bit type with a scale"
    yield Symptom("cast", _grid_score(pair, rounding), words)


def clamp(pair: Pair) -> Iterator[Symptom]:
    """The reference cut off at the candidate's greatest and least value."""
    low, high = float(pair.y.min()), float(pair.y.max())
    count = int((pair.y == high).sum() + (pair.y == low).sum())
    beyond = int(((pair.x > high) | (pair.x < low)).sum())
    if count < 3 or beyond < 2 or low == high:
        return
    left = pair.left(pair.x.clip(low, high))
    words = f"cut off at {low:.5g} and {high:.5g}, {beyond} elements; {left_words(pair, left)}"
    yield Symptom("clamp", pair.score(left), words)


def overflow(result: Measurement, x: Array, y: Array) -> Iterator[Symptom]:
    """NaN or Inf on one side only; Inf exactly where float16 has no number is a cast."""
    reference, candidate = result.reference, result.candidate
    assert reference is not None and candidate is not None
    places = counted(result.nonfinite_mismatch, "place")
    words = (
        f"candidate {candidate.nan} NaN {candidate.inf} Inf, reference {reference.nan} NaN "
        f"{reference.inf} Inf; they differ at {places}"
    )
    infinite = np.isinf(y) & np.isfinite(x)
    if infinite.any() and float(np.abs(x[infinite]).min()) >= 0.99 * _FP16_MOST:
        fine = np.isfinite(y) & np.isfinite(x)
        if not fine.any() or float(np.abs(y[fine]).max()) <= _FP16_MOST:
            yield Symptom("cast", 1.0, f"Inf exactly where the reference is beyond {_FP16_MOST:g}: "
                          "float16")  # fmt: skip
    yield Symptom("nan", 1.0, words)
