"""A norm as the reference has it, what it gives, and its epsilon from records."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ....capture.values import Array
from ..law import Case, Prediction
from ..names import number_words
from ..numerics.rounding import STILL, Jitter, spread_of

Kind = Literal["rms", "layer", "none"]
USUAL_EPS = (1e-5, 1e-6, 1e-8, 1e-12, 0.0)
KINDS: dict[Kind, str] = {"rms": "RMS norm", "layer": "layer norm", "none": "no norm"}
_DRAWS = 2
SURE = 4.0  # standard errors that an epsilon must be off by to be another one


@dataclass(frozen=True)
class Norm:
    """The parameters of a norm; `weight` is what the normalised input is multiplied with (a stored
    weight plus `offset`), None for one; `eps_error` the standard error of a fitted epsilon.
    """

    kind: Kind
    eps: float
    weight: Array | None = None
    bias: Array | None = None
    offset: float = 0.0
    eps_error: float = 0.0
    precise: bool = True

    def apply(self, x: Array, units: Mapping[str, float], jitter: Jitter = STILL) -> Array:
        """The norm of rows; jittered as rounding of the input, and of the normalised rows,
        would.
        """
        x = jitter(x, units["x"])
        if self.kind == "layer":
            x = x - x.mean(-1, keepdims=True)
        if self.kind != "none":
            x = x / np.sqrt(np.square(x).mean(-1, keepdims=True) + self.eps)
        x = jitter(x, units["output"])
        if self.weight is not None:
            x = x * self.weight
        return x if self.bias is None else x + self.bias


def predicted(norm: Norm, case: Case) -> Prediction:
    """What the norm gives for the case's input."""
    x = case.inputs["x"]
    value = norm.apply(x, case.units)
    moved = [norm.apply(x, case.units, Jitter(seed)) for seed in range(_DRAWS)]
    return Prediction(value, spread_of(value, moved, case.units["output"]))


def estimate_eps(norm: Norm, case: Case) -> tuple[float, float]:
    """Epsilon of rows under a given weight and its standard error; not below 0."""
    x, y = case.inputs["x"], case.output
    if norm.kind == "layer":
        x = x - x.mean(-1, keepdims=True)
    if norm.bias is not None:
        y = y - norm.bias
    z = x if norm.weight is None else x * norm.weight
    zz = np.square(z).sum(1)
    mean = np.square(x).mean(1)
    usable = (zz > 0) & (mean > 0) & np.isfinite(y).all(1)
    if not usable.any():
        return 0.0, math.inf
    slope = np.where(
        usable, (z * np.where(np.isfinite(y), y, 0)).sum(1) / np.where(zz > 0, zz, 1), 0
    )
    usable &= slope > 0
    if not usable.any():
        return 0.0, math.inf
    slope, mean, z, y, zz = slope[usable], mean[usable], z[usable], y[usable], zz[usable]
    estimate = 1.0 / np.square(slope) - mean
    left = np.square(y - slope[:, None] * z).sum(1) / max(1, z.shape[1] - 1)
    unit = case.units["output"]
    relative = np.sqrt(left / zz) / slope + 0.1 * unit / z.shape[1] ** 0.5 + 2.0**-26
    error = 2.0 * relative / np.square(slope)
    weight = 1.0 / np.square(error)
    found = float((estimate * weight).sum() / weight.sum())
    # Rows scatter more than their residuals say where the unrounded input was normalised.
    scatter = float(
        np.sqrt((weight * np.square(estimate - found)).sum() / max(1, len(estimate) - 1))
    )
    return max(0.0, found), max(1.0, scatter) / float(weight.sum()) ** 0.5


def eps_words(eps: float, error: float) -> str:
    """An epsilon with its uncertainty; where it cannot be told from 0, what it is below."""
    if error and eps < SURE * error:
        return f"below {number_words(eps + SURE * error)}"
    return number_words(eps) if not error else f"{number_words(eps)} ± {number_words(error)}"


def epsilons(given: Sequence[float], norm: Norm, case: Case) -> list[float]:
    """The config's epsilons, and a usual one that the rows say."""
    eps, error = estimate_eps(norm, case)
    usual = [e for e in USUAL_EPS if abs(e - eps) <= SURE * error and error < 0.3 * max(e, 1e-12)]
    return list(dict.fromkeys([*given, *usual]))
