"""Rules of thumb that need nothing but a pair's numbers, as plain words."""

from __future__ import annotations

from ..model import Failure, Measurement, Result

_ALIKE, _UNLIKE = 0.99, 0.9
_LARGE_MSE, _SMALL_MSE = 1e-4, 1e-6
_LARGE_RELATIVE, _SMALL_ABSOLUTE = 0.1, 1e-4


def rules_of_thumb(result: Result) -> list[str]:
    """What the numbers of a pair usually mean."""
    if isinstance(result, Failure):
        if result.level != "shape":
            return []
        return ["shapes differ: a layout, a fused or split module, or another number of tokens"]
    if not isinstance(result, Measurement) or result.identical:
        return []
    found: list[str] = []
    cosine, mse = result.cosine, result.mse
    if cosine is not None and mse is not None:
        if cosine >= _ALIKE and mse > _LARGE_MSE:
            found.append(
                "high cosine and high MSE: the direction is right, the size is not: a scale, or "
                "large values with rounding"
            )
        if cosine < _UNLIKE and mse < _SMALL_MSE:
            found.append(
                "low cosine and low MSE: numbers near zero, where noise decides on the direction"
            )
    relative, absolute = result.max_rel or 0.0, result.max_abs or 0.0
    if relative > _LARGE_RELATIVE and 0 < absolute < _SMALL_ABSOLUTE:
        found.append("high relative and low absolute difference: only values near zero differ")
    return found
