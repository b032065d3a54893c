"""Symptoms that need other records: swapped, stale, and terms that were not added."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...capture.values import Array
from ..limits import LEAST_SCORE, LEAST_TERM, MIXED_UP, STANDARD_ERRORS
from ..model import Symptom
from .fit import Pair, left_words


@dataclass(frozen=True, slots=True)
class Other:
    """Another record of the same shape: its label, whether it is a peer (the same module's in
    another layer, step or call), and the same sample of both sides.
    """

    label: str
    is_peer: bool
    x: Array
    y: Array


def mixed_up(pair: Pair, others: list[Other]) -> Iterator[Symptom]:
    """The candidate has what belongs to another record: of a peer (stale) or of any (swapped)."""
    best: Symptom | None = None
    for other in others:
        if np.array_equal(other.x, pair.x):
            continue
        own, theirs = pair.left(other.x), pair.left(other.y)
        left = min(own, theirs)
        # Neighbours are alike by nature: nearer to one than the reference's two are is a mix-up.
        apart = float(np.vdot(pair.x - other.x, pair.x - other.x))
        if left > MIXED_UP * apart:
            continue
        score = 1.0 - left / max(pair.squares, 1e-300)
        if score < LEAST_SCORE or (best is not None and score <= best.score):
            continue
        copied = theirs < own  # the same buffer, written for both
        name = "stale" if other.is_peer or copied else "swapped"
        how = "equals" if left == 0 else "is nearly"
        whose = "the candidate's own" if copied else "the reference's"
        back = ""
        if not other.is_peer and _alike(other.y, pair.x, other.x):
            back = ", and that one has the values that belong here"
        words = f"{how} {whose} {other.label}{back}; {left_words(pair, left)}"
        best = Symptom(name, score, words)
    if best is not None:
        yield best


def _alike(y: Array, x: Array, own: Array) -> bool:
    """Whether `y` is nearer to `x` than half of what it is to its own reference."""
    return float(np.linalg.norm(y - x)) < 0.5 * float(np.linalg.norm(y - own))


def missing_term(pair: Pair, terms: list[Other]) -> Iterator[Symptom]:
    """d = -a t with t one of the records that this one was made from."""
    d = pair.d
    best: Symptom | None = None
    for term in terms:
        squares = float(np.vdot(term.x, term.x))
        if squares == 0 or np.array_equal(term.x, pair.x):
            continue
        part = float(np.vdot(term.x, d)) / squares
        left = pair.left(pair.x + part * term.x)
        error = (left / max(1, d.size - 1) / squares) ** 0.5
        score = pair.score(left)
        known = best is not None and score <= best.score
        if known or abs(part) <= max(STANDARD_ERRORS * error, LEAST_TERM):
            continue
        amount = {-1.0: "all", -0.5: "half", 1.0: "one time too many:"}.get(round(2 * part) / 2)
        what = f"{amount} of " if amount else f"{-part:.3g} times "
        if part > 0:
            what = f"{part:.3g} times too much of "
        words = f"{what}{term.label}{' is missing' if part < 0 else ''} (+- {error:.1g}); "
        best = Symptom("missing-term", score, words + left_words(pair, left))
    if best is not None:
        yield best
