"""Rules of thumb that need nothing but a pair's numbers, as plain words."""

from __future__ import annotations

from ..limits import (
    THUMB_ALIKE,
    THUMB_LARGE_MSE,
    THUMB_LARGE_RELATIVE,
    THUMB_SMALL_ABSOLUTE,
    THUMB_SMALL_MSE,
    THUMB_UNLIKE,
)
from ..model import Failure, Measurement, Result


def rules_of_thumb(result: Result) -> list[str]:
    """What the numbers of a pair usually mean."""
    if isinstance(result, Failure):
        if result.level != "shape":
            return []
        return ["shapes differ: a layout, a fused or split module, or a different number of tokens"]
    if not isinstance(result, Measurement) or result.identical:
        return []
    found: list[str] = []
    cosine, mse = result.cosine, result.mse
    if cosine is not None and mse is not None:
        if cosine >= THUMB_ALIKE and mse > THUMB_LARGE_MSE:
            found.append(
                "high cosine and high MSE: the direction is right, the magnitude is not: a scale, "
                "or large values with rounding"
            )
        if cosine < THUMB_UNLIKE and mse < THUMB_SMALL_MSE:
            found.append(
                "low cosine and low MSE: values near zero, where noise determines the direction"
            )
    relative, absolute = result.max_rel or 0.0, result.max_abs or 0.0
    if relative > THUMB_LARGE_RELATIVE and 0 < absolute < THUMB_SMALL_ABSOLUTE:
        found.append("high relative and low absolute difference: only values near zero differ")
    return found
