"""A norm fitted to what the reference recorded: kind, epsilon and weight, by least squares."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ....capture.values import Array
from ..law import Case, Fit
from ..numerics.number_fit import narrowed
from ..numerics.rounding import ROUNDED
from .form import KINDS, Kind, Norm, eps_words, estimate_eps

_STEPS = 48  # of the search for an epsilon
_FEWEST = 4  # rows from which a weight may be fitted
# Times the error of one rounding: output and normalised input are both rounded, and a layer norm
# that is no RMS norm leaves ten times as much.
_WITHIN = 1.6
_MORE = 1.2  # times the error of a layer norm, whose bias takes some of it with it
_COARSE = 2.0**-12  # unit roundoff of records whose residuals are far above that of float64
_CHANNELS = 1024  # that tell roughly where the best epsilon is


def fitted(case: Case) -> Iterator[Fit]:
    """Kind, epsilon and weight fitted to the reference, the better kind first."""
    if len(case.output) < _FEWEST or not np.isfinite(case.output).all():
        return
    left, norm = _best_eps(case, "rms")
    rms = as_fit(norm, 0.0, read=False)
    sure = left <= _WITHIN * ROUNDED * case.units["output"]
    if sure:
        yield rms
    other, norm = _best_eps(case, "layer")
    layer = as_fit(norm, 0.0, read=False)
    if sure:
        yield layer
    else:
        yield from (rms, layer) if left <= _MORE * other else (layer, rms)


def _best_eps(case: Case, kind: Kind) -> tuple[float, Norm]:
    """The least-squares norm of a kind: its epsilon by a search over the logarithm."""
    trial = NormTrial.of(case, kind)
    middle = float(np.median(trial.mean)) or 1.0
    least = float(trial.mean.min()) or middle
    grid = [0.0, *(least * 10.0 ** np.arange(-7, 3, 0.5)), middle]
    some = trial.thinned()
    errors = [some.left(eps) for eps in grid]
    best = grid[int(np.argmin(errors))]
    ordered = sorted(grid)
    place = ordered.index(best)
    low, high = ordered[max(0, place - 1)], ordered[min(len(ordered) - 1, place + 1)]
    eps = narrowed(trial.left, low, high, _STEPS)
    left = trial.left(eps)
    without = trial.left(0.0)
    if without <= 1.01 * left:
        eps, left = 0.0, without
    norm = Norm(kind, eps, *trial.parameters(eps))
    _, error = estimate_eps(norm, case)
    # What a common factor of weight and slope hides: only rows of unlike mean square tell eps.
    unlike = float(np.std(1.0 / (trial.mean + eps)))
    unlike /= max(float(np.mean(1.0 / (trial.mean + eps))), 1e-300)
    error = error / max(unlike, 1e-6) if unlike < 1 else error
    return left, replace(norm, eps_error=error)


@dataclass(frozen=True, slots=True)
class NormTrial:
    """Norms of one kind with the best weight (and bias) by channel for an epsilon. `x` are the rows
    as they are normalised, `mean` `[rows, 1]` their mean squares, `scale` `[rows, 1]` what makes
    rows of the output equally large, `v` the output scaled.
    """

    kind: Kind
    x: Array
    mean: Array
    scale: Array
    v: Array
    products: _Products | None = None

    @classmethod
    def of(cls, case: Case, kind: Kind) -> NormTrial:
        x, y = case.inputs["x"], case.output
        if kind == "layer":
            x = x - x.mean(-1, keepdims=True)
        scale = 1.0 / np.maximum(np.sqrt(np.square(y).mean(1, keepdims=True)), 1e-300)
        trial = cls(kind, x, np.square(x).mean(1, keepdims=True), scale, y * scale)
        fine = kind != "rms" or case.units["output"] < _COARSE
        return trial if fine else replace(trial, products=_Products.of(x, trial.v))

    def thinned(self) -> NormTrial:
        """The same with some of the channels, where there are many."""
        every = max(1, self.x.shape[1] // _CHANNELS)
        x, v = (np.ascontiguousarray(values[:, ::every]) for values in (self.x, self.v))
        products = None if self.products is None else _Products.of(x, v)
        return replace(self, x=x, v=v, products=products)

    def parameters(self, eps: float) -> tuple[Array, Array | None]:
        """The best weight and, of a layer norm, bias."""
        return self._fit(self._normal(eps))

    def left(self, eps: float) -> float:
        """The relative residual."""
        if self.products is not None:
            return self.products.left(self.scale / np.sqrt(self.mean + eps))
        u = self._normal(eps)
        weight, bias = self._fit(u)
        u *= weight
        left = np.subtract(self.v, u, out=u)
        if bias is not None:
            left -= bias * self.scale
        size = float(np.vdot(self.v, self.v)) or 1.0
        return math.sqrt(float(np.vdot(left, left)) / size)

    def _normal(self, eps: float) -> Array:
        return self.x * (self.scale / np.sqrt(self.mean + eps))

    def _fit(self, u: Array) -> tuple[Array, Array | None]:
        v, scale, bias = self.v, self.scale, None
        if self.kind != "layer":
            return _ratio(u, v), None
        total = np.square(scale).sum()
        mean_u, mean_v = (u * scale).sum(0) / total, (v * scale).sum(0) / total
        weight = _ratio(u - scale * mean_u, v - scale * mean_v)
        bias = mean_v - weight * mean_u
        return weight, bias


@dataclass(frozen=True, slots=True)
class _Products:
    """`xx` and `xv` `[rows, channels]`, and the sums `vv` `[channels]`: with these a factor by row,
    and the best weight by channel, leave vv - (sum a xv)^2 / sum a^2 xx. That is a difference of
    numbers which are alike, and so for residuals of a coarse grid alone.
    """

    xx: Array
    xv: Array
    vv: Array

    @classmethod
    def of(cls, x: Array, v: Array) -> _Products:
        return cls(np.square(x), x * v, np.einsum("ij,ij->j", v, v))

    def left(self, factor: Array) -> float:
        """The relative residual with factors `[rows, 1]`."""
        a = factor[:, 0]
        found = np.square(a @ self.xv) / np.maximum(np.square(a) @ self.xx, 1e-300)
        left = np.maximum(self.vv - found, 0.0).sum()
        return math.sqrt(float(left) / (float(self.vv.sum()) or 1.0))


def _ratio(u: Array, v: Array) -> Array:
    """By channel, the factor of `u` that comes nearest to `v`."""
    return np.einsum("ij,ij->j", u, v) / np.maximum(np.einsum("ij,ij->j", u, u), 1e-300)


def as_fit(norm: Norm, offset: float, read: bool) -> Fit:
    words = {"kind": KINDS[norm.kind], "eps": eps_words(norm.eps, norm.eps_error)}
    if read:
        words["weight"] = "checkpoint + 1" if offset else "checkpoint"
    else:
        words["weight"] = "fitted"
    free = 0.0 if read else (2.0 if norm.bias is not None else 1.0)
    return Fit({"norm": norm}, words, read, free)
