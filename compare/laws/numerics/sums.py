"""Sums of recorded quantities."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ....capture.values import Array
from ..law import Prediction
from .rounding import ROUNDED


def summed(terms: Mapping[str, Array], units: Mapping[str, float], unit: float) -> Prediction:
    """The sum of terms in their order, with the rounding of every term and partial sum."""
    value: Array | None = None
    squares: Array | None = None
    for name, term in terms.items():
        rounded = np.square(units[name] * term)
        if value is None or squares is None:
            value, squares = term, rounded
            continue
        squares += rounded
        value = value + term
        np.multiply(value, unit, out=rounded)
        squares += np.square(rounded, out=rounded)
    assert value is not None and squares is not None
    np.sqrt(squares, out=squares)
    squares *= ROUNDED
    return Prediction(value, squares, dict(terms))
