"""Errors of a part along one axis, the rest of which agrees: from one token on, one row of a batch,
one layer of a stack, whole heads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...capture.values import Array
from ..limits import AGREEING_PART, LEAST_HEAD
from ..model import Symptom
from .fit import Pair


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of the view: its number, what one index of it is called, and how many there are."""

    number: int
    word: str
    size: int


def part_of_axis(pair: Pair) -> Iterator[Symptom]:
    """An axis of which some indices are wrong and all others agree."""
    total = pair.squares
    if total <= 0:
        return
    for axis, places in _axes(pair):
        wrong = _wrong(pair, axis, places)
        if wrong is None:
            continue
        channels = axis.number == len(pair.shape) - 1
        words = whole_heads(axis, wrong) if channels else _indices(axis, wrong)
        if words:
            inside = np.isin(places, wrong)
            d = pair.d if inside.ndim == 1 and len(inside) == len(pair.rows) else pair.d.T
            share = float((d[inside] ** 2).sum()) / total
            yield Symptom("region", min(1.0, share), f"{words}; {100 * share:.3g} % of the error")


def _axes(pair: Pair) -> Iterator[tuple[Axis, Array]]:
    """Every axis of more than one index, and for each row (or channel) of the sample its index."""
    outer, last = pair.shape[:-1], len(pair.shape) - 1
    if outer:
        for number, places in enumerate(np.unravel_index(pair.rows, outer)):
            if outer[number] > 1:
                yield Axis(number, _word(number, len(pair.shape)), outer[number]), places
    if len(pair.shape) and pair.shape[-1] > 1:
        yield Axis(last, "channel", pair.shape[-1]), pair.channels


def _word(number: int, axes: int) -> str:
    if number == axes - 2:
        return "token"
    return "row of the batch" if axes == 3 else f"index of axis {number}"


def _wrong(pair: Pair, axis: Axis, places: Array) -> Array | None:
    """The wrong indices, where a gap separates them from those that agree; None without."""
    along = "ij,ij->j" if axis.number == len(pair.shape) - 1 else "ij,ij->i"
    known, inverse = np.unique(places, return_inverse=True)
    if len(known) < 2:
        return None
    dd = np.bincount(inverse, np.einsum(along, pair.d, pair.d))
    xx = np.bincount(inverse, np.einsum(along, pair.x, pair.x))
    # A massive activation makes no index agree; one that is bitwise equal is no gap from rounding.
    typical = max(float(np.median(xx)), 1e-300)
    error = np.sqrt(dd / np.clip(xx, 0.25 * typical, 4.0 * typical))
    order = np.sort(error)
    noise = (pair.noise / max(float(xx.sum()), 1e-300)) ** 0.5
    steps = order[1:] / np.maximum(order[:-1], max(noise, 1e-12 * order[-1]))
    at = int(steps.argmax())
    if steps[at] < AGREEING_PART:
        return None
    return known[error > order[at]]


def _indices(axis: Axis, wrong: Array) -> str:
    """Where along an axis the wrong indices are, in words."""
    first, last, count = int(wrong[0]), int(wrong[-1]), len(wrong)
    together = last - first + 1 == count
    if count == 1:
        if axis.word == "token" and last == axis.size - 1:
            return "in the last token"
        return f"in {_one(axis, first)} of {axis.size}"
    if together and first > 0 and last == axis.size - 1:
        return f"from {_one(axis, first)} on; what precedes it agrees"
    if together and first == 0 and last < axis.size - 1:
        return f"up to {_one(axis, last)}; what follows agrees"
    return ""


def _one(axis: Axis, index: int) -> str:
    return {"token": f"token {index}", "row of the batch": f"row {index} of the batch"}.get(
        axis.word, f"index {index} of axis {axis.number}"
    )


def whole_heads(axis: Axis, wrong: Array) -> str:
    """Whole blocks of channels of equal width, as heads are: the widest that fit."""
    breaks = np.flatnonzero(np.diff(wrong) != 1) + 1
    runs = np.split(wrong, breaks)
    head = axis.size
    for run in runs:
        head = math.gcd(head, math.gcd(int(run[0]), len(run)))
    heads = axis.size // head
    if head < LEAST_HEAD or heads < 2:
        return ""
    numbers = sorted({int(index) // head for index in wrong})
    listed = ", ".join(map(str, numbers[:8])) + (" ..." if len(numbers) > 8 else "")
    one = "head" if len(numbers) == 1 else "heads"
    return (
        f"in {one} {listed} of {heads}, {head} channels each "
        f"({int(wrong[0])}..{int(wrong[-1])}); the others agree"
    )
