"""Whether a weight is another one, rounded to few bits: told from one that is wrong.

First the known kinds (`quantisers`) are tried, which say exactly what the rounded numbers are; then
whether the numbers of every group stand on even steps, and each is the step nearest to the other
side's number, as in schemes that search for their scales (the K quants of ggml).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ....capture.values import Array
from .quantisers import Quantiser, weight_quantisers

_GLANCE_ROWS = 4  # that every kind is tried on
_GROUPS = 64  # that are looked at for even steps
_SIZES = (16, 32, 64, 128, 256)
_MOST_STEPS = 255  # eight bits
_ON_STEP = 0.05  # of a step: how far dequantised numbers, rounded to 16 bits, may be from it
_NEAREST = 0.6  # of a step: what a number is rounded by; a searched scale may be a little off
_MATCHING = 0.97  # share of the numbers, or groups, that must be so: ties, and extremes cut off
_MATCHING_ROW = 0.9
_SHIFT = 0.2  # of the squared relative error: few steps have that much of a common factor
_LEFT = 0.02  # of the squared difference that a known kind may leave


class QuantisedCopies:
    """Recognises rounded weights, one after the other; kinds that were found are tried first."""

    def __init__(self) -> None:
        self._known: list[Quantiser] = []

    def words(self, x: Array, y: Array, units: tuple[float, float], whole: bool) -> str | None:
        """How `y` is `x` rounded, or the other way round, both float64 `[rows, inner]` with all of
        a row; None where it is neither. `units` are half the spacing of 1.0 in the dtypes of both;
        `whole`: these are all rows, so that a scale by tensor can be known.
        """
        for exact, coarse, unit, side in (
            (x, y, units[1], "the reference's"), (y, x, units[0], "the candidate's"),
        ):  # fmt: skip
            kind = self._kind(exact, coarse, unit, whole) or _even_steps(exact, coarse)
            if kind is not None:
                rounded = "quantised" if side == "the reference's" else "which is quantised here"
                return f"{side} values, {rounded}: {kind}"
        return None

    def _kind(self, exact: Array, coarse: Array, unit: float, whole: bool) -> str | None:
        few = slice(None) if whole and len(exact) <= _GLANCE_ROWS else slice(0, _GLANCE_ROWS)
        for quantiser in self._candidates(exact.shape[1], whole):
            rows = slice(None) if quantiser.size < 0 else few
            if not _explains(quantiser, exact[rows], coarse[rows], unit):
                continue
            if _explains(quantiser, exact, coarse, unit):
                if quantiser not in self._known:
                    self._known.insert(0, quantiser)
                return quantiser.words
        return None

    def _candidates(self, inner: int, whole: bool) -> Iterator[Quantiser]:
        others = (q for q in weight_quantisers() if q not in self._known)
        kinds: Iterable[Quantiser] = (*self._known, *others)
        return (q for q in kinds if q.fits(inner) and (whole or q.size >= 0))


def _explains(quantiser: Quantiser, exact: Array, coarse: Array, unit: float) -> bool:
    """Whether rounding gives these numbers, but for ties and their own rounding."""
    with np.errstate(all="ignore"):
        made = quantiser(exact)
        left, all_of_it = np.square(coarse - made), np.square(coarse - exact)
        near = np.abs(coarse - made) <= 4 * unit * np.abs(made) + 1e-30
        rounding = float(np.square(unit * made).sum())
    total = float(all_of_it.sum())
    most = _LEFT * total + rounding
    worst = float(near.mean(axis=1).min())  # a single row may be wrong
    return bool(
        total > 0 and float(left.sum()) <= most and float(near.mean()) >= _MATCHING
        and worst >= _MATCHING_ROW
    )  # fmt: skip


def _even_steps(exact: Array, coarse: Array) -> str | None:
    """`4 bits in groups of 32`, for the smallest group whose numbers stand on even steps. Rounding
    to the nearest step has no common factor.
    """
    if not _is_centred(exact, coarse):
        return None
    for size in _SIZES:
        if exact.shape[1] % size:
            continue
        left, right = exact.reshape(-1, size), coarse.reshape(-1, size)
        picked = np.unique(np.linspace(0, len(left) - 1, _GROUPS).astype(int))
        steps = [_steps_of(left[i], right[i]) for i in picked]
        found = [count for count in steps if count]
        worst = int(np.abs(left - right).max(axis=1).argmax())
        if not _steps_of(left[worst], right[worst]):
            continue
        if len(found) >= _MATCHING * len(steps) and max(found) > 1:
            bits = int(np.ceil(np.log2(max(found) + 1)))
            return f"even steps of {bits} bits in groups of {size}"
    return None


def _is_centred(exact: Array, coarse: Array) -> bool:
    """Whether the exact numbers are on average what they were rounded to, within the uncertainty
    of that average and what rounding to so few steps may shift it by.
    """
    energy = float(np.vdot(coarse, coarse))
    if not 0 < energy < np.inf:
        return False
    slope = float(np.vdot(exact, coarse)) / energy
    left = float(np.square(exact - slope * coarse).sum()) / energy
    return abs(slope - 1.0) <= 4.0 * np.sqrt(left / coarse.size) + _SHIFT * left


def _steps_of(exact: Array, coarse: Array) -> int:
    """How many even steps a group of numbers spans, each the nearest to the exact number; 0 where
    that is not so.
    """
    low, high = coarse.min(), coarse.max()
    if not np.isfinite(low) or not np.isfinite(high) or high <= low:
        return int(high == low and bool((exact == low).all()))
    counts = np.arange(1, _MOST_STEPS + 1)[:, None]
    places = (coarse - low)[None] / (high - low) * counts
    off = np.abs(places - np.rint(places)).max(axis=1)
    fitting = np.flatnonzero(off <= _ON_STEP)
    # Among so many counts of steps one fits a few distinct numbers by chance.
    if not len(fitting) or np.unique(coarse).size < 3:
        return 0
    count = int(counts[fitting[0], 0])
    step = (high - low) / count
    near = np.abs(exact - coarse) <= _NEAREST * step
    return count if near.mean() >= _MATCHING - 1 / len(exact) else 0
