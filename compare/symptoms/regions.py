"""Errors that sit in a part of a tensor: some tokens, channels, a head, above the diagonal."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...capture.values import Array
from ..limits import (
    REGION_OF_ERROR,
    REGION_OF_REFERENCE,
    REGION_PART,
    REGION_RUNS,
    REGION_SCATTERED,
)
from ..model import Symptom
from .fit import Pair


def region(pair: Pair) -> Iterator[Symptom]:
    """The smallest part that holds nearly all of the error."""
    d = pair.d
    yield from _diagonal(pair, d)
    for axis, word, places in ((1, "row", pair.rows), (0, "channel", pair.channels)):
        found = _part(pair, np.einsum("ij,ij->i" if axis else "ij,ij->j", d, d), word, places)
        if found is not None:
            yield found


def _part(pair: Pair, energy: Array, word: str, places: Array) -> Symptom | None:
    total = float(energy.sum())
    if total <= 0 or len(energy) < 3:
        return None
    order = np.argsort(-energy)
    sums = np.cumsum(energy[order])
    wanted = REGION_OF_ERROR * max(total - pair.noise, 0.5 * total)
    count = int(np.searchsorted(sums, wanted)) + 1
    if count > max(1, int(REGION_PART * len(energy))):
        return None
    # All that stand out belong to it: a gap in size ends the region.
    typical = float(np.median(energy))
    count = max(count, int((energy > max(30 * typical, 0.02 * float(energy[order[0]]))).sum()))
    if count > max(1, int(2 * REGION_PART * len(energy))):
        return None
    inside = np.sort(order[:count])
    runs = 1 + int(np.count_nonzero(np.diff(inside) > 1))
    if runs > REGION_RUNS and count > max(2, int(REGION_SCATTERED * len(energy))):
        return None
    own = np.einsum("ij,ij->i" if word == "row" else "ij,ij->j", pair.x, pair.x)
    if float(own[inside].sum()) > REGION_OF_REFERENCE * float(own.sum()):
        return None  # what is large there differs there
    beyond = max(float(energy[inside].sum()) - pair.noise * count / len(energy), 0.0)
    score = min(1.0, beyond / max(total - pair.noise, 0.5 * total))
    return Symptom("region", score, _words(pair, word, places[inside], len(energy), score))


def _words(pair: Pair, word: str, places: Array, total: int, score: float) -> str:
    share = f"{100 * score:.3g} % of the error beyond noise"
    numbers = places.tolist()
    if word == "row":
        tokens = pair.shape[-2] if len(pair.shape) > 1 else 1
        if all(number % tokens == tokens - 1 for number in numbers):
            return f"{share} in the last token"
        return f"{share} in {len(numbers)} of {total} rows (tokens): {_ranges(numbers)}"
    ranges = _ranges(numbers)
    run = numbers[-1] - numbers[0] + 1 == len(numbers)
    head = f", one head of {len(numbers)}" if run and len(numbers) in (8, 16, 32, 64, 128) else ""
    return f"{share} in {len(numbers)} of {total} channels: {ranges}{head}"


def _ranges(numbers: list[int]) -> str:
    """`3, 7..9, 12`"""
    parts: list[str] = []
    start = previous = numbers[0]
    for number in [*numbers[1:], -1]:
        if number == previous + 1:
            previous = number
            continue
        parts.append(str(start) if start == previous else f"{start}..{previous}")
        start = previous = number
    return ", ".join(parts[:8]) + (" ..." if len(parts) > 8 else "")


def _diagonal(pair: Pair, d: Array) -> Iterator[Symptom]:
    """Attention weights or scores: all of the error above, or below, the diagonal."""
    tokens, keys = (1, 1, *pair.shape)[-2:]
    if not tokens == keys == len(pair.channels) or tokens < 3:
        return
    above = pair.channels[None, :] > (pair.rows % tokens)[:, None]
    energy = d * d
    total = float(energy.sum())
    share = float(energy[above].sum()) / total if total else 0.0
    if share > REGION_OF_ERROR:
        yield Symptom("region", share, f"{100 * share:.3g} % of the error above the diagonal")
