"""Frequencies found from tables of cos and sin: the angle by position gives each of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ....capture.values import Array
from ..numerics.rounding import ROUNDED, unit_of
from .frequencies import USUAL_BASES, Rotary

_LEAST_ERROR = 2.0**-26  # of an angle in radians: float32 tables
_FLOAT32 = 2.0**-24  # what angles and frequencies are computed in
_ALIKE = 5.0  # standard errors within which a base explains the frequencies


@dataclass(frozen=True)
class Turning:
    """For every frequency its radians per position and the angle at position 0, with standard
    errors; `factor` is the common factor of cos and sin, `left` the angles' residual (RMS,
    radians). All `[frequencies]` except the factor.
    """

    frequency: Array
    error: Array
    start: Array
    start_error: Array
    factor: float
    left: Array


def turning(
    cos: Array, sin: Array, positions: Array, unit: float | None = None
) -> Turning | None:  # fmt: skip
    """Of tables `[positions, width]` laid out in halves, `unit` being their unit roundoff (the one
    that shows where it is not given). None with fewer than two positions, and where they are so far
    apart that whole turns go uncounted.

    Rounding of cos and sin moves an angle by sqrt(2) |cos sin| of itself, which tells the error
    where positions are too few to scatter.
    """
    half = cos.shape[1] // 2
    order = np.argsort(positions, kind="stable")
    at = positions[order].astype(np.float64)
    z = cos[order, :half] + 1j * sin[order, :half]
    if len(at) < 2 or at[0] == at[-1] or not np.isfinite(z).all():
        return None
    size = np.abs(z)
    factor = float(np.median(size)) or 1.0
    steps = np.diff(at)
    first = steps[steps > 0].min()
    if first >= np.pi:  # the first frequency is one radian
        return None
    near = np.flatnonzero(steps == first)
    frequency = np.angle((z[near + 1] * np.conj(z[near])).sum(0)) / first
    lag = 1
    while lag < len(at):
        apart = (at[lag:] - at[:-lag])[:, None]
        left = np.angle(z[lag:] * np.conj(z[:-lag]) * np.exp(-1j * frequency * apart))
        frequency = frequency + (left * apart).sum(0) / max(float(np.square(apart).sum()), 1e-300)
        lag *= 2
    phase = np.angle(z * np.exp(-1j * frequency * at[:, None]))
    middle = at.mean()
    weight = float(np.square(at - middle).sum())
    slope = ((at - middle)[:, None] * phase).sum(0) / weight
    frequency = frequency + slope
    start = phase.mean(0) - slope * middle
    left = phase - start - slope * at[:, None]
    unit = unit_of(cos, "float32") if unit is None else unit
    rounding = ROUNDED * unit * 2**0.5 * np.abs(z.real * z.imag) / factor**2
    angle = ROUNDED * _FLOAT32 * np.abs(at[:, None] * frequency)
    least = (np.square(rounding) + np.square(angle)).mean(0) + _LEAST_ERROR**2
    scatter = np.sqrt(np.square(left).sum(0) / max(1, len(at) - 2) + least)
    error = scatter / weight**0.5
    start_error = scatter * (1 / len(at) + middle**2 / weight) ** 0.5
    return Turning(frequency, error, start, start_error, factor, np.sqrt(np.square(left).mean(0)))


def base_of(found: Turning, width: int) -> tuple[float, float, float]:
    """The base of plain frequencies b^(-2i / width), its standard error, and the greatest residual
    in standard errors. Powers in float32 are off by the rounding of their exponent, too.
    """
    frequency = np.maximum(np.abs(found.frequency), 1e-300)
    power = _FLOAT32 * frequency * (1.0 + np.abs(np.log(frequency)))
    found = replace(found, error=np.hypot(found.error, power))
    usable = (found.frequency > 4 * found.error) & (np.arange(len(found.frequency)) > 0)
    if not usable.any():
        return 0.0, np.inf, np.inf
    x = -2.0 * np.flatnonzero(usable) / width
    y = np.log(found.frequency[usable])
    weight = np.square(found.frequency[usable] / found.error[usable])
    slope = float((weight * x * y).sum() / (weight * x * x).sum())
    error = float((weight * x * x).sum()) ** -0.5
    plain = np.exp(-2.0 * np.arange(len(found.frequency)) / width * slope)
    worst = float((np.abs(found.frequency - plain) / found.error).max())
    return float(np.exp(slope)), float(np.exp(slope) * error), worst


def rotary_from(
    cos: Array, sin: Array, positions: Array, unit: float | None = None
) -> Rotary | None:  # fmt: skip
    """How a side turned: by a usual base where that explains the tables, else by the frequencies
    themselves.
    """
    found = turning(cos, sin, positions, unit)
    if found is None:
        return None
    width = cos.shape[1]
    return plain_rotary(found, width) or Rotary(
        width, base_of(found, width)[0], fitted=found.frequency, factor_fitted=found.factor
    )


def plain_rotary(found: Turning, width: int, grid: float = 0.0) -> Rotary | None:
    """The base, a usual one if it can be, that explains the frequencies, which are kept on a grid
    of this unit roundoff (0: as computed); None where no base does.
    """
    blurred = replace(found, error=np.hypot(found.error, ROUNDED * grid * found.frequency))
    base, error, worst = base_of(blurred, width)
    if worst > _ALIKE or abs(found.factor - 1) >= 1e-2:
        return None
    near = [usual for usual in USUAL_BASES if abs(usual - base) <= _ALIKE * error]
    return Rotary(width, near[0] if near else base)
