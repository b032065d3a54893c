"""Changes that can befall the output of any layer: a factor, a constant, another order, a coarser
grid, a clamp, a shift by tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from ...capture.values import Array
from . import limits
from .law import Case, Hypothesis, Prediction
from .linear.quantisers import float8
from .names import factor_words, measured_words, number_words
from .numerics.rounding import on_grid, unit_of
from .output_orders import permuted

_FEW_ROWS = 4  # rows from which a constant by channel may be fitted
_SHIFTS = (1, -1, 2, -2)
_STEPS = 2.5  # units: a whole number times a step that is rounded, from a maximum that is, too
_TAKEN = 4.0  # squared units of rounding an element that a factor must take away
_FAR = 4.0  # times the median ratio of the channels from which one may have a fault of its own
_ROUND = 1e-3  # a factor this near a plain number is called by it
# A value within so many errors of the middle goes the other way with this chance, besides that of
# the wider ones: of a normal distribution.
_FLIPS = ((3.0, 0.02), (2.0, 0.14), (1.0, 0.14), (0.5, 0.2))
_SURE = 6.0  # standard errors that a plain number may be off the fitted one
_NAMES = {2.0**-8: "bfloat16", 2.0**-11: "float16 or TF32"}
_ON_GRID = 0.99  # of the elements that must lie on a grid for it to be that of a cast
# Name, unit roundoff, and how values are rounded to it.
_GRIDS: tuple[tuple[str, float, Callable[[Array], Array]], ...] = (
    ("float8_e4m3", 2.0**-4, partial(float8, kind="e4m3")),
    ("float8_e5m2", 2.0**-3, partial(float8, kind="e5m2")),
    ("bfloat16", 2.0**-8, partial(on_grid, unit=2.0**-8)),
    ("float16", 2.0**-11, partial(on_grid, unit=2.0**-11)),
)


def output_hypotheses(prediction: Prediction, case: Case, groups: int = 1) -> Iterator[Hypothesis]:
    """The changes of this module, fitted to the candidate where they have a parameter."""
    value, y = prediction.value, case.output
    if value.shape != y.shape or not np.isfinite(value).all():
        return
    recorded = np.where(np.isfinite(y), y, 0.0)
    yield from permuted(prediction, recorded, groups)
    yield from _shifted(prediction, case)
    yield from _coarse(prediction, recorded, case.units["output"])
    yield from _narrow(prediction, recorded, case.units["output"])
    yield from _clamped(prediction, recorded)
    yield from _scaled(prediction, recorded, case.units["output"])
    yield from _channel_factors(prediction, recorded, groups)
    yield from _few_constants(prediction, recorded)
    yield from _constant(prediction, recorded)


def _scaled(prediction: Prediction, y: Array, unit: float) -> Iterator[Hypothesis]:
    """The median of the rows' factors. Its error is no less than the common factor that rounding
    itself may make: values times 8/3, say, are rounded down more often than up.
    """
    value = prediction.value
    weight = 1.0 / np.maximum(np.square(np.broadcast_to(prediction.spread, value.shape)), 1e-300)
    row = np.square(value).sum(1) > 0
    xx = (weight * value * value)[row].sum(1)
    if not row.any() or not np.isfinite(xx).all() or not (xx > 0).all():
        return
    factors = (weight * value * y)[row].sum(1) / xx
    factor = float(np.median(factors))
    error = float(1.4826 * np.median(np.abs(factors - factor))) / max(1, len(factors)) ** 0.5
    error = float(np.hypot(error, limits.GAIN_UNITS * unit * factor))
    plain = _plain(factor)
    if abs(plain - factor) > _SURE * error:
        plain = factor
    yield Hypothesis(
        "scale", f"the output is {factor_words(plain)} x what it should be",
        lambda: Prediction(value * plain, prediction.spread * max(abs(plain), 1e-3)),
        "factor", "1", measured_words(plain, error), number_words(error),
        0 if plain != factor else 1,
    )  # fmt: skip


def _few_constants(prediction: Prediction, y: Array) -> Iterator[Hypothesis]:
    """A few channels to which a constant of their own is added."""
    value = prediction.value
    if len(value) < _FEW_ROWS:
        return
    spread = np.broadcast_to(prediction.spread, value.shape)
    left = y - value
    ratio = np.sqrt(np.square(left).sum(0) / np.maximum(np.square(spread).sum(0), 1e-300))
    most = max(1, value.shape[1] // 16)
    far = np.flatnonzero(ratio > _FAR * max(float(np.median(ratio)), 0.15))
    if not 0 < len(far) <= most:
        return
    which = _some_channels(far)
    added = np.zeros(value.shape[1])
    added[far] = np.median(left[:, far], axis=0)
    yield Hypothesis(
        "bias", f"{which}: {_some_numbers(added[far])} is added",
        lambda: Prediction(value + added, spread), "constant", "0", _some_numbers(added[far]), "",
        len(far),
    )  # fmt: skip


def _some_channels(channels: Array) -> str:
    if len(channels) == 1:
        return f"channel {channels[0]}"
    shown = ", ".join(map(str, channels[:4])) + (", ..." if len(channels) > 4 else "")
    return f"{len(channels)} channels ({shown})"


def _some_numbers(numbers: Array) -> str:
    shown = ", ".join(number_words(float(n)) for n in numbers[:4])
    return shown + (", ..." if len(numbers) > 4 else "")


def _channel_factors(prediction: Prediction, y: Array, groups: int) -> Iterator[Hypothesis]:
    """A factor of its own on some heads, on some channels, or on each."""
    value = prediction.value
    width = value.shape[1]
    if len(value) < _FEW_ROWS:
        return
    weight = 1.0 / np.maximum(np.square(np.broadcast_to(prediction.spread, value.shape)), 1e-300)
    xx, xy = (weight * value * value).sum(0), (weight * value * y).sum(0)
    rr = (weight * np.square(y - value)).sum(0)
    for parts, what in ((groups, "head"), (width, "output channel")):
        if parts < 2 or width % parts:
            continue
        size = width // parts
        gxx, gxy, grr = (a.reshape(parts, size).sum(1) for a in (xx, xy, rr))
        if not (gxx > 0).any():
            continue
        factors = np.where(gxx > 0, gxy / np.where(gxx > 0, gxx, 1.0), 1.0)
        # A channel counts as changed where its factor takes most of its own error away.
        taken = np.square(factors - 1.0) * gxx
        changed = (taken > 0.5 * grr) & (taken > _TAKEN * size * len(value))
        factors = np.where(changed, factors, 1.0)
        rounded = factors.copy()
        rounded[changed] = [_plain(float(f)) for f in factors[changed]]
        changed &= rounded != 1.0
        if not changed.any():
            continue
        each = np.repeat(rounded, size)
        fitted = int(np.count_nonzero(changed & (rounded == factors)))
        yield Hypothesis(
            "scale", _factor_words(what, rounded, changed),
            lambda each=each: Prediction(
                value * each, prediction.spread * np.maximum(np.abs(each), 1e-3)
            ),
            f"factor by {what}", "1", ", ".join(map(number_words, rounded[changed][:4])), "",
            fitted,
        )  # fmt: skip


def _factor_words(what: str, factors: Array, changed: Array) -> str:
    some, count = factors[changed], int(np.count_nonzero(changed))
    at = np.flatnonzero(changed)
    if count == 1:
        return f"{what} {at[0]} is {factor_words(some[0])} x what it should be"
    low, high = factor_words(float(some.min())), factor_words(float(some.max()))
    span = f"{low} x" if low == high else f"{low} .. {high} x"
    which = f" ({', '.join(map(str, at[:6]))}{', ...' if count > 6 else ''})"
    which = "" if count == len(factors) else which
    return f"{count} of {len(factors)} {what}s{which} are {span} what they should be"


def _plain(factor: float) -> float:
    """The plain number that a factor is next to, else the factor itself."""
    for number in (0.0, 1.0, -1.0, 2.0, 0.5, -2.0, -0.5, 4.0, 0.25, 2.0**0.5, 2.0**-0.5):
        if abs(factor - number) <= _ROUND * 0.01 * max(abs(number), 1.0):
            return number
    return factor


def _constant(prediction: Prediction, y: Array) -> Iterator[Hypothesis]:
    value = prediction.value
    if len(value) < _FEW_ROWS:
        return
    left = y - value
    common = float(np.median(left))
    rows = np.median(left, axis=1)
    error = float(1.4826 * np.median(np.abs(rows - common))) * 1.25 / len(rows) ** 0.5
    yield Hypothesis(
        "bias", f"{number_words(common)} is added to every element",
        lambda: Prediction(value + common, prediction.spread), "offset", "0",
        measured_words(common, error), number_words(error), 1,
    )  # fmt: skip
    added = np.median(left, axis=0)
    yield Hypothesis(
        "bias", "a different constant is added to each channel",
        lambda: Prediction(value + added, prediction.spread), "bias", "none",
        f"RMS {number_words(float(np.sqrt(np.square(added).mean())))}", "", value.shape[1],
    )  # fmt: skip


def _clamped(prediction: Prediction, y: Array) -> Iterator[Hypothesis]:
    high, low = float(y.max()), float(y.min())
    value = prediction.value
    for top, bottom in ((high, low), (high, -np.inf), (np.inf, low)):
        # Noise beyond the recorded extreme is no clamp: several elements must stand at it.
        standing = int((y == top).sum() * np.isfinite(top)) + int(
            (y == bottom).sum() * np.isfinite(bottom)
        )
        beyond = int((value > top * 1.02).sum() if top > 0 else 0) + int(
            (value < bottom * 1.02).sum() if bottom < 0 else 0
        )
        if standing < 2 or beyond < 1:
            continue
        bounds = [number_words(b) for b in (bottom, top) if np.isfinite(b)]
        yield Hypothesis(
            "clamp", f"values are cut off at {' and '.join(bounds)}",
            lambda top=top, bottom=bottom: Prediction(
                np.clip(value, bottom, top), prediction.spread
            ),
            "bound", "none", " .. ".join(bounds), "", 1,
        )  # fmt: skip


def _coarse(prediction: Prediction, y: Array, unit: float) -> Iterator[Hypothesis]:
    """The output on a coarser grid: of a narrower dtype, or of integers with a common step."""
    for name, grid, rounding in _GRIDS:
        if grid < 2 * unit or not _lies_on(y, rounding(y), unit):
            continue
        yield Hypothesis(
            "cast", f"the output is rounded to {name}",
            lambda rounding=rounding: on_coarse_grid(prediction, rounding, unit),
            "dtype", "", name,
        )  # fmt: skip
    for words, axis in (("", None), (" row by row", 1)):
        step = np.abs(y).max(axis, keepdims=True) / 127.0
        if not (step > 0).all() or not _lies_on(y, np.rint(y / step) * step, _STEPS * unit):
            continue
        yield Hypothesis(
            "cast", f"the output is rounded to int8{words}",
            lambda step=step: on_coarse_grid(prediction, partial(_integers, step=step), unit),
            "dtype", "", "int8",
        )  # fmt: skip


def _narrow(prediction: Prediction, y: Array, unit: float) -> Iterator[Hypothesis]:
    """A layer that computes in the coarser arithmetic whose grid its values lie on, where its peers
    do not (`evaluate.regridded`): however it rounds in between, its errors are of that size.
    """
    grid = unit_of(y, "float64")
    if not 2 * unit < grid <= 2.0**-8:
        return
    name = _NAMES.get(grid, f"{round(-np.log2(grid))} bits")
    text = f"computed in {name}: all values lie on its grid, unlike those of similar layers"
    yield Hypothesis(
        "precision", text,
        lambda: Prediction(prediction.value, prediction.spread * (grid / unit)), "arithmetic", "",
        name, "", 1,
    )  # fmt: skip


def _integers(values: Array, step: Array) -> Array:
    return np.clip(np.rint(values / step), -128, 127) * step


def on_coarse_grid(
    prediction: Prediction, rounding: Callable[[Array], Array], unit: float
) -> Prediction:
    """A prediction rounded once more. A value next to the middle of two numbers of the grid may be
    rounded either way, the likelier the nearer it is in units of its own error.
    """
    value = rounding(prediction.value)
    error = (8.0 if unit <= 2.0**-20 else 2.0) * prediction.spread  # float32 sums reach 8
    squares = np.square(np.broadcast_to(prediction.spread, value.shape))
    for times, chance in _FLIPS:
        up = np.square(rounding(prediction.value + times * error) - value)
        down = np.square(rounding(prediction.value - times * error) - value)
        squares = squares + chance * np.maximum(up, down)
    return Prediction(value, np.sqrt(squares))


def _lies_on(y: Array, rounded: Array, unit: float) -> bool:
    """Whether nearly all values are on a grid already, as far as the record's own shows it."""
    near = np.abs(rounded - y) <= 1.01 * unit * np.abs(rounded)
    return bool(near.mean() >= _ON_GRID and np.count_nonzero(y))


def _shifted(prediction: Prediction, case: Case) -> Iterator[Hypothesis]:
    rows, value = case.rows, prediction.value
    if len(rows) < _FEW_ROWS or np.any(np.diff(rows) != 1):
        return
    for shift in _SHIFTS:
        if abs(shift) >= len(rows) // 2:
            continue
        moved = np.roll(value, shift, axis=0)
        edge = slice(0, shift) if shift > 0 else slice(shift, None)
        moved[edge] = case.output[edge]
        spread = np.roll(np.broadcast_to(prediction.spread, value.shape), shift, axis=0)
        where = "later" if shift > 0 else "earlier"
        yield Hypothesis(
            "token-shift", f"every row is {abs(shift)} {where} than it should be",
            lambda moved=moved, spread=spread: Prediction(moved, spread), "shift", "0",
            f"{shift:+d}",
        )  # fmt: skip
