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
    squares = 0.0
    for name, term in terms.items():
        squares = squares + np.square(units[name] * term)
        value = term if value is None else value + term
        squares = squares + (np.square(unit * value) if value is not term else 0.0)
    assert value is not None
    return Prediction(value, ROUNDED * np.sqrt(squares), dict(terms))
