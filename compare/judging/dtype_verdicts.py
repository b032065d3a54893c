"""Verdicts of pairs by the limits of a dtype or a tolerance.

The coarser dtype of a pair (after casts) counts. Two numbers count, both free of the tensor's
size: `relative_l2`, the error of the whole, and the *peak*, the greatest single difference in units
of the reference's root mean square, less what the dtype allows at the value that it hit. The peak
finds a wrong row or element that drowns in the norm of a large tensor.

    dtype      ok up to   diverged above   peak above
    float64      1e-9         1e-6            1e-5
    float32      1e-4         1e-3            3e-2
    float16      1e-2         5e-2            0.5
    bfloat16     4e-2         0.12            1.0
    float8       0.15         0.35            2.0
    integers     equal        any other       -

Between the first two columns is `drift`. Real pairs that agree lie at 1e-7 (float32) and 1.2e-2
(bfloat16) after two layers, and grow with depth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..limits import LIMITS, PEAK_ROUNDINGS, Limits, limits_for
from ..measuring.pair_dtypes import coarser_dtype, printed_rounding
from ..model import Measurement, Row, Verdict
from .row_verdicts import place_words


def by_dtype(
    row: Row, result: Measurement, dtype: str, limits: Mapping[str, Limits] = LIMITS
) -> Verdict:
    """The verdict of a pair by the limits of `dtype`."""
    found = limits_for(dtype, limits)
    if found is None:
        return _exact(result)
    return _by_limits(result, found, dtype, printed_rounding(row))


def shown_dtype(row: Row, result: Measurement) -> str:
    """The coarser dtype of a pair, or a coarser one that both sides' values lie on the grid of."""
    dtype = coarser_dtype(row) or "float32"
    bits = 23 if result.structure is None else max(result.structure.bits)
    if dtype in ("float32", "float64") and bits <= 10:
        return "bfloat16" if bits <= 7 else "float16"
    return dtype


def _exact(result: Measurement) -> Verdict:
    if result.mismatched == 0:
        return Verdict("identical" if result.identical else "ok", "every element equal")
    return Verdict("diverged", f"{result.mismatched} of {result.count} whole numbers differ")


def by_tolerance(result: Measurement) -> Verdict:
    bound = f"rtol {result.rtol:g}, atol {result.atol:g}"
    if result.mismatched == 0:
        return Verdict("ok", f"every element within {bound}")
    share = 100.0 * (result.mismatched_fraction or 0.0)
    words = f"{result.mismatched} of {result.count} elements ({share:.3g} %) outside {bound}"
    return Verdict("diverged", words)


def _by_limits(result: Measurement, limits: Limits, dtype: str, printed: float) -> Verdict:
    rms = _rms(result)
    error, peak = result.relative_l2, _peak(result, rms, limits.epsilon)
    if printed and result.max_abs is not None and result.max_abs <= 2.01 * printed:
        return _within_print(printed, rms, limits)
    if error is None or peak is None:
        return _against_zero(result)
    at = place_words(result)
    if error > limits.diverged:
        words = f"relative L2 {error:.2e} is above {limits.diverged:g} for {dtype}{at}"
        return Verdict("diverged", words)
    if peak > limits.peak:
        words = f"one difference of {peak:.2g} x the reference's RMS, {limits.peak:g} allowed{at}"
        return Verdict("diverged", words)
    if error > limits.ok:
        return Verdict("drift", f"relative L2 {error:.2e} is above {limits.ok:g} for {dtype}")
    words = "equal where both have it" if result.identical else f"relative L2 {error:.2e}"
    return Verdict("ok", f"{words}, {limits.ok:g} allowed for {dtype}")


def _within_print(printed: float, rms: float | None, limits: Limits) -> Verdict:
    """Both sides agree to the last digit that a log prints, which may be too few to decide."""
    if rms and printed / rms <= limits.diverged:
        return Verdict("ok", f"equal to the digits that the log prints (+-{printed:g})")
    return Verdict("drift", f"the log prints too few digits to decide: +-{printed:g}")


def _rms(result: Measurement) -> float | None:
    side = result.reference
    if side is None or side.l2 is None or result.compared == 0:
        return None
    return side.l2 / math.sqrt(result.compared)


def _peak(result: Measurement, rms: float | None, epsilon: float) -> float | None:
    if not rms or result.max_abs is None or result.max_abs_values is None:
        return None
    forgiven = PEAK_ROUNDINGS * epsilon * abs(result.max_abs_values[0])
    return max(0.0, result.max_abs - forgiven) / rms


def _against_zero(result: Measurement) -> Verdict:
    """The reference is all zeros, or too large: nothing to be relative to."""
    if result.max_abs == 0:
        return Verdict("ok", "all zeros where both have elements")
    return Verdict("diverged", without_relative(result))


def without_relative(result: Measurement) -> str:
    """How far two sides are apart that have no relative error, and why they have none."""
    greatest = f"{result.max_abs:.2e}" if result.max_abs is not None else "unknown"
    if result.reference is not None and result.reference.l2 == 0:
        return f"the reference is all zeros, the candidate up to {greatest}"
    return f"differs by up to {greatest}; the squares are more than float64 holds"
