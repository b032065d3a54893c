"""What can be wrong with a residual sum: a term missing, weighed in another way, or taken from
another place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np

from ....capture.values import Array
from ..law import Case, Hypothesis, Prediction, Scene, Site, read_source
from ..names import number_words
from ..numerics.quantities import Key
from ..numerics.rounding import HIDDEN

_PLAIN = (0.0, 0.5, 2.0, -1.0)
_NEAR = 3.0  # standard errors within which a fitted factor is a plain one
# A product below the spacing of the sum's grid is mostly rounded away with it: measured, factors
# are then off by up to 0.23 of what one element's rounding is worth.
_LOST = 0.25
_LAYER = re.compile(r"(?<=layers\.)\d+")
_NEIGHBOURS = (-1, 1, -2)


def residual_hypotheses(
    scene: Scene, site: Site, factors: Mapping[str, float], base: Prediction, case: Case
) -> Iterator[Hypothesis]:
    """Changes of one term at a time."""
    for name in factors:
        yield from _other_factor(name, factors, base, case)
    for name, factor in factors.items():
        for other in case.inputs:
            if other not in factors and case.inputs[other].shape == case.output.shape:
                text = f"the sum has {_words(other)} where the reference has {_words(name)}"
                value = factor * case.inputs[other]
                yield _replaced("residual", text, base, name, value, _words(other))
        yield from _stale(scene, site, name, factor, base, case)


def _other_factor(
    name: str, factors: Mapping[str, float], base: Prediction, case: Case
) -> Iterator[Hypothesis]:
    found = fitted_factor(name, base, case)
    if found is None:
        return
    factor, error = found
    ours, own = number_words(factors[name]), factors[name]
    for plain in _PLAIN:
        if abs(plain - factor * own) <= max(_NEAR * error, 1e-4):
            text = factor_text(name, number_words(plain), ours)
            if plain == 0:
                text = f"{_words(name)} is not added"
            yield _scaled(text, base, name, plain / own, ours, number_words(plain), 0)
            return
    theirs = f"{factor * own:.6g}"
    text = factor_text(name, theirs, ours)
    yield _scaled(text, base, name, factor, ours, theirs, 1, number_words(error * abs(own)))


def factor_text(name: str, theirs: str, ours: str) -> str:
    """The sentence for a term with another factor."""
    return f"{_words(name)} is added with a factor of {theirs} where the reference has {ours}"


def fitted_factor(name: str, base: Prediction, case: Case) -> tuple[float, float] | None:
    """By how much a term is to be multiplied for the sum to fit, and the standard error: the
    median over rows of their least-squares factors, weighed by the predicted rounding. The error
    is from how rows scatter, and what rounding of the product hides from all of them alike.
    """
    term = base.terms[name]
    fine = np.isfinite(case.output) & np.isfinite(base.value)
    left = np.where(fine, case.output - (base.value - term), 0.0)
    squares = np.square(np.broadcast_to(base.spread, term.shape))
    weight = fine / np.maximum(squares, max(float(squares.max()) * 1e-12, 1e-300))
    xx = (weight * term * term).sum(1)
    usable = xx > 0
    if not usable.any():
        return None
    by_row = (weight * term * left)[usable].sum(1) / xx[usable]
    factor = float(np.median(by_row))
    scatter = 1.4826 * float(np.median(np.abs(by_row - factor)))
    scattered = 1.25 * scatter / len(by_row) ** 0.5
    hidden = HIDDEN * case.units["output"] * max(1.0, abs(factor))
    one_element = float(np.median(np.sqrt(np.count_nonzero(fine, axis=1)[usable] / xx[usable])))
    lost = _LOST * one_element if abs(factor) < one_element else 0.0
    return factor, float(np.sqrt(scattered**2 + hidden**2 + lost**2))


def _scaled(
    text: str, base: Prediction, name: str, factor: float, ours: str, theirs: str, count: int,
    error: str = "",
) -> Hypothesis:  # fmt: skip
    return Hypothesis(
        "residual", text, partial(exchanged, base, name, factor * base.terms[name]),
        f"factor of {_words(name)}", ours, theirs, error, count,
    )  # fmt: skip


def _replaced(
    cause: str, text: str, base: Prediction, name: str, value: Array, theirs: str
) -> Hypothesis:
    return Hypothesis(
        cause, text, partial(exchanged, base, name, value), "term", _words(name), theirs
    )


def exchanged(base: Prediction, name: str, value: Array) -> Prediction:
    """The sum with another value for one of its terms."""
    terms = {**base.terms, name: value}
    total = base.value - base.terms[name] + value
    return Prediction(total, base.spread, terms)


def _stale(
    scene: Scene, site: Site, name: str, factor: float, base: Prediction, case: Case
) -> Iterator[Hypothesis]:
    """The same quantity of a layer nearby."""
    (key,) = site.source(name)
    number = _LAYER.search(key.module)
    if number is None:
        return
    count = scene.tables.rows(scene.candidate.known[site.target])
    for step in _NEIGHBOURS:
        layer = int(number[0]) + step
        if layer < 0:
            continue
        other = Key(_LAYER.sub(str(layer), key.module, 1), key.slot, key.step, key.call)
        found = read_source(scene, scene.candidate, (other,), case.rows, count)
        if found is None or found[0].shape != case.output.shape:
            continue
        text = f"the sum has {other.label} where the reference has {key.label}"
        yield _replaced("stale", text, base, name, factor * found[0], other.label)


def _words(name: str) -> str:
    return name.partition(" ")[2]
