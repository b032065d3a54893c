"""One number of a law fitted to records by weighted least squares, with its standard error."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from ....capture.values import Array

_STEPS = 8
_SMALL = 1e-4  # step of the numerical derivative, of a logarithm or in the number's own unit
_DONE = 1e-9
_BEYOND = 2.0  # how far beyond its grid a number is looked for


@dataclass(frozen=True, slots=True)
class Number:
    """A fitted number, its standard error, and the weighted sum of squares that is left."""

    value: float
    error: float
    left: float


def fitted_number(
    value_at: Callable[[float], Array | None], y: Array, spread: Array, grid: Iterable[float]
) -> Number | None:
    """The number at which `value_at` comes nearest to `y` `[rows, channels]`, in units of `spread`:
    the best of a grid, then Gauss-Newton steps. The standard error is taken from how rows
    disagree, and is no less than what `spread` makes. None where no value can be worked out.
    """
    weight = _weights(y, spread)
    y = np.where(np.isfinite(y), y, 0.0)

    def left(value: Array) -> float:
        return float((weight * np.square(y - value)).sum())

    places = sorted(grid)
    low, high = places[0] - _BEYOND, places[-1] + _BEYOND
    tried = [(left(value), at) for at in places if (value := value_at(at)) is not None]
    if not tried:
        return None
    best, at = min(tried)
    gradient, curvature = np.zeros(len(y)), 0.0
    for _ in range(_STEPS):
        value, ahead, behind = value_at(at), value_at(at + _SMALL), value_at(at - _SMALL)
        if value is None or ahead is None or behind is None:
            return None
        slope = (ahead - behind) / (2 * _SMALL)
        gradient = (weight * slope * (y - value)).sum(1)
        curvature = float((weight * np.square(slope)).sum())
        if curvature <= 0 or not np.isfinite(curvature):
            return Number(at, np.inf, best)
        step = float(gradient.sum()) / curvature
        step = min(max(at + step, low), high) - at
        at, now = _shortened(value_at, left, at, step, best)
        if now >= best * (1 - _DONE):
            break
        best = now
    rows = len(y)
    by_rows = float(np.sqrt(np.square(gradient).sum() * rows / max(1, rows - 1))) / curvature
    alone = max(1.0, best / max(1, np.count_nonzero(weight))) ** 0.5 / curvature**0.5
    return Number(at, max(by_rows, alone), best)


def _weights(y: Array, spread: Array) -> Array:
    """1 / spread^2, bounded so that no element alone rules."""
    squares = np.square(np.broadcast_to(spread, y.shape))
    least = float(np.median(squares)) * 1e-6
    return np.where(np.isfinite(y), 1.0 / np.maximum(squares, max(least, 1e-300)), 0.0)


def _shortened(
    value_at: Callable[[float], Array | None], left: Callable[[Array], float],
    at: float, step: float, best: float,
) -> tuple[float, float]:  # fmt: skip
    """The place after a step that is halved until it helps, and what is left there."""
    for _ in range(6):
        value = value_at(at + step)
        now = np.inf if value is None else left(value)
        if now <= best:
            return at + step, now
        step /= 2
    return at, best


def narrowed(of: Callable[[float], float], low: float, high: float, steps: int = 40) -> float:
    """The least place of a function with one minimum between two places, by at most `steps` values
    of it: parabolas through the three best where they get on, golden section where they do not (R.
    P. Brent, Algorithms for Minimization without Derivatives, 1973, chapter 5).
    """
    least = _SHARE * (high - low)
    best = second = third = low + _GOLDEN * (high - low)
    at_best = at_second = at_third = of(best)
    last = before = 0.0
    for _ in range(steps - 1):
        middle, near = (low + high) / 2, least + _SHARE * abs(best)
        if abs(best - middle) <= 2 * near - (high - low) / 2:
            break
        step = _parabola((best, second, third), (at_best, at_second, at_third))
        if low < best + step < high and abs(step) < abs(before) / 2:
            before = last
            if min(best + step - low, high - best - step) < 2 * near:
                step = math.copysign(near, middle - best)
        else:
            before = (low if best >= middle else high) - best
            step = _GOLDEN * before
        last = step
        place = best + (step if abs(step) >= near else math.copysign(near, step))
        value = of(place)
        if value <= at_best:
            low, high = (best, high) if place >= best else (low, best)
            third, second, best = second, best, place
            at_third, at_second, at_best = at_second, at_best, value
            continue
        low, high = (place, high) if place < best else (low, place)
        if value <= at_second or second == best:
            third, second = second, place
            at_third, at_second = at_second, value
        elif value <= at_third or third in (best, second):
            third, at_third = place, value
    return best


_GOLDEN = (3 - 5**0.5) / 2
_SHARE = 1e-8  # of the range or the place: nearer places have the same value, up to rounding


def _parabola(places: tuple[float, float, float], values: tuple[float, float, float]) -> float:
    """How far from the first of three places the parabola through them is least; Inf where it has
    no such place.
    """
    (x, w, v), (fx, fw, fv) = places, values
    r, q = (x - w) * (fx - fv), (x - v) * (fx - fw)
    below = 2 * (q - r)
    return ((x - v) * q - (x - w) * r) / -below if below else math.inf
