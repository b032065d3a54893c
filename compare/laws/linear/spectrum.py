"""The error of a projection seen in the directions of its input, where a change of W shows.

With rows and channels divided by their rounding, R = X D^T + noise for a change D of the weight.
Inputs have a few directions that hold most of their energy, so that R looks as if it had low rank,
whatever D is. With X = U S V^T the rows of S^-1 U^T R = (D V)^T + noise / S are those of D in
unlike directions of equal weight: of equal size for a change that is like noise, of rank r for one
of rank r. Directions in which the rounding is larger than what D gives are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....capture.values import Array

_SEEN = 9.0  # squares of a direction's error, in those of rounding, from which it is looked at
_FEWEST = 6  # directions
FINE_NOISE, COARSE_NOISE = 36.0, 2.0  # squares of usual errors: of float32 sums, of coarser ones


@dataclass(frozen=True)
class Spectrum:
    """`z` `[directions, channels]`, divided by the `sizes` that noise would give each direction;
    `residual` `[rows, channels]` is what it was made of, times `scale`.
    """

    z: Array
    sizes: Array
    residual: Array
    scale: Array


def spectrum(residual: Array, x: Array, spread: Array, noise: float) -> Spectrum | None:
    """None where the rounding hides the error in all but a few directions. `noise` is the usual
    square of an error in units of the rounding.
    """
    scale = separable(spread)
    rows = scale.mean(1, keepdims=True)
    scaled = residual * scale
    if len(x) < _FEWEST or not np.isfinite(scaled).all():
        return None
    u, s, _ = np.linalg.svd(x * (rows / rows.mean()), full_matrices=False)
    turned = u.T @ scaled
    energy = np.square(turned).mean(1)
    known = s > 1e-9 * max(float(s[0]), 1e-300)
    if not known.any():
        return None
    size = float(np.median(np.maximum(energy[known] - noise, 0.0) / np.square(s[known])))
    expected = np.square(s) * size
    seen = known & (expected >= _SEEN * noise)
    if np.count_nonzero(seen) < _FEWEST:
        return None
    sizes = np.sqrt(expected[seen] + noise)
    return Spectrum(turned[seen] / sizes[:, None], sizes, scaled, scale)


def separable(spread: Array) -> Array:
    """1 / spread as a row's times a channel's: only such factors leave the rank as it is."""
    logs = np.log(np.maximum(spread, 1e-300))
    rows = np.median(logs, axis=1, keepdims=True)
    return np.exp(-rows - np.median(logs - rows, axis=0))
