"""What can be wrong with attention: one change of its form at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ....capture.values import Array
from ..generic import output_hypotheses
from ..law import Case, Fit, Hypothesis, Scene, Site
from ..names import measured_words, number_words
from ..numerics.number_fit import Number, narrowed
from .cache import fitted_caches, plain_caches
from .fit import scale_words
from .form import alibi_slopes
from .head_order import order_hypotheses
from .masks import fitted_masks, plain_masks
from .positions import fitted_positions, plain_positions
from .scores import head_parts
from .trial import Trials

_SURE = 3.0  # standard errors within which a fitted number is a plain one
_NEAR = 0.01  # and no further from it than this
_LEAST_GAIN = 9.0  # squared units of rounding that a head's sink must explain
_CAPS = (50.0, 30.0, 20.0, 100.0)
_GRID = np.linspace(-3.0, 3.0, 25)  # of logarithms of a factor
_TANGENT = 2.0**-23  # relative error of the tangent in float32
_NARROW = (("bfloat16", 2.0**-8), ("float16", 2.0**-11))


def attention_hypotheses(
    scene: Scene, site: Site, fit: Fit, reference: Case, candidate: Case
) -> Iterator[Hypothesis]:
    """All changes that are known of, cheap ones first."""
    trials = Trials(scene, site, fit, reference, candidate)
    if trials.material is None or trials.base is None:
        return
    yield from order_hypotheses(trials)
    yield from plain_positions(trials)
    yield from plain_masks(trials)
    yield from plain_caches(trials)
    yield from _scale(trials)
    yield from _sinks(trials)
    yield from _slopes(trials)
    yield from _softcap(trials)
    yield from _precision(trials)
    yield from fitted_caches(trials)
    yield from fitted_masks(trials)
    yield from fitted_positions(trials)
    by_head = False
    for hypothesis in output_hypotheses(trials.base, candidate, site.groups):
        by_head |= hypothesis.name == "head-order"
        if hypothesis.name != "row-order" or not by_head:  # whole heads say the same better
            yield hypothesis


def _scale(trials: Trials) -> Iterator[Hypothesis]:
    form, width = trials.form, trials.width
    found = trials.number(
        lambda log: (replace(form, scale=form.scale * math.exp(log)), None), _GRID
    )
    if found is None or not math.isfinite(found.error):
        return
    scale = form.scale * math.exp(found.value)
    plain = {
        f"1/{width}": 1 / width, f"1/sqrt({width})": width**-0.5, "1": 1.0,
        f"1/sqrt({form.heads * width})": (form.heads * width) ** -0.5,
        "sqrt(2) x it": form.scale * 2**0.5, "it / sqrt(2)": form.scale * 2**-0.5,
        "2 x it": form.scale * 2, "half of it": form.scale / 2, "0": 1e-9,
    }  # fmt: skip
    words, fitted = measured_words(scale, found.error * scale), 1
    for name, value in plain.items():
        if _is_plain(Number(found.value, found.error, 0.0), math.log(value / form.scale)):
            scale, words, fitted = value, name, 0
            break
    own = scale_words(form.scale, width)
    text = f"scores are multiplied by {words} where the reference has {own}"
    text += _equivalent(trials)
    yield trials.made(
        "attention-scale", text, replace(form, scale=scale), None, "scale", own,
        measured_words(scale, found.error * scale), number_words(found.error * scale), fitted,
    )  # fmt: skip


def _equivalent(trials: Trials) -> str:
    """What else would do the same, where no other law excludes it."""
    material = trials.material
    if material is None or material.angles is None or material.recorded_angles:
        return ""
    return " (or cos and sin by the square root of that: the tables are not recorded)"


def _is_plain(found: Number, value: float) -> bool:
    return abs(found.value - value) <= min(_SURE * found.error + 1e-7, _NEAR)


def _sinks(trials: Trials) -> Iterator[Hypothesis]:
    form = trials.form
    if form.sinks is not None:
        yield trials.made(
            "sinks", "the sinks are left out of the softmax", replace(form, sinks=None), None,
            "sinks", "learnt", "none",
        )  # fmt: skip
        return
    yield from _common_sink(trials)
    if trials.explained:
        return
    by_head = _sinks_by_head(trials)
    if by_head is not None:
        yield trials.made(
            "sinks", "every head has an extra score without a value",
            replace(form, sinks=by_head), None, "sinks", "none",
            ", ".join(number_words(float(s)) for s in by_head[:4]), "", form.heads,
        )  # fmt: skip


def _common_sink(trials: Trials) -> Iterator[Hypothesis]:
    """One sink for all heads; 0 is a plain number."""
    form = trials.form
    value, words, error, fitted = 0.0, "0", "", 0
    if not trials.explained:
        found = trials.number(
            lambda at: (replace(form, sinks=np.full(form.heads, at)), None), np.arange(-8.0, 12.0)
        )
        if found is None or not math.isfinite(found.error):
            return
        error = number_words(found.error)
        if not _is_plain(found, 0.0):
            value, words, fitted = found.value, measured_words(found.value, found.error), 1
    yield trials.made(
        "sinks", f"the softmax has an extra score of {words} without a value",
        replace(form, sinks=np.full(form.heads, value)), None, "sinks", "none", words, error,
        fitted,
    )  # fmt: skip


def _sinks_by_head(trials: Trials) -> Array | None:
    """A sink s scales a row by Z / (Z + exp(s)), Z the sum of all exponentials: for each head the s
    whose factors fit its rows best; minus infinity for a head that has none.
    """
    base = trials.base
    assert trials.material is not None and base is not None
    form, shape = trials.form, (len(trials.y), trials.form.heads, -1)
    y, value = np.nan_to_num(trials.y).reshape(shape), base.value.reshape(shape)
    spread = np.broadcast_to(base.spread, base.value.shape).reshape(shape)
    weight = 1.0 / np.maximum(np.square(spread).mean(-1), 1e-300)
    across, along = weight * np.square(value).sum(-1), weight * (value * y).sum(-1)
    sums = np.zeros(shape[:2])  # log Z
    for part in head_parts(form, trials.material):
        scores = part.masked()
        top = scores.max(-1)
        sums[np.ix_(part.rows, part.heads)] = (
            top + np.log(np.exp(scores - top[..., None]).sum(-1))
        ).T
    grid = np.arange(-20.0, 30.0, 0.25)
    found = np.full(form.heads, -np.inf)
    for head in range(form.heads):

        def left(sink: float, head: int = head) -> float:
            share = 1.0 / (1.0 + np.exp(np.clip(sink - sums[:, head], -700, 700)))
            return float((across[:, head] * share**2 - 2 * along[:, head] * share).sum())

        tried = [left(float(sink)) for sink in grid]
        best = float(grid[int(np.argmin(tried))])
        nothing = float((across[:, head] - 2 * along[:, head]).sum())
        if min(tried) < nothing - _LEAST_GAIN:
            found[head] = narrowed(left, best - 0.25, best + 0.25)
    return found if np.isfinite(found).any() else None


def _slopes(trials: Trials) -> Iterator[Hypothesis]:
    form = trials.form
    if form.slopes is not None:
        yield trials.made(
            "alibi", "no penalty for distance (ALiBi) is added", replace(form, slopes=None), None,
            "ALiBi", "yes", "none",
        )  # fmt: skip
        for factor, words in (
            (-1.0, "is added, not subtracted"),
            (2.0, "is twice what it should be"),
        ):
            yield trials.made(
                "alibi", f"the penalty for distance (ALiBi) {words}",
                replace(form, slopes=form.slopes * factor), None, "ALiBi", "1", f"{factor:g}",
            )  # fmt: skip
        return
    for slopes in _all_slopes(form.heads):
        if not trials.explained:
            yield from _added_slopes(trials, slopes)


def _all_slopes(heads: int) -> list[Array]:
    """Those of ALiBi's authors and, for heads that are no power of two, one geometric series."""
    plain = 2.0 ** (-8.0 * np.arange(1, heads + 1) / heads)
    usual = alibi_slopes(heads)
    return [usual] if np.allclose(plain, usual) else [usual, plain]


def _added_slopes(trials: Trials, slopes: Array) -> Iterator[Hypothesis]:
    """ALiBi where the reference has none, with a factor of its own."""
    form = trials.form
    found = trials.number(
        lambda log: (replace(form, slopes=slopes * math.exp(log)), None), _GRID[::2]
    )
    if found is None or not math.isfinite(found.error):
        return
    factor, words, fitted = math.exp(found.value), "", 1
    if _is_plain(found, 0.0):
        factor, fitted = 1.0, 0
    else:
        words = f", {measured_words(factor, found.error * factor)} x its usual slopes"
    yield trials.made(
        "alibi", f"a penalty for distance (ALiBi) is added{words}",
        replace(form, slopes=slopes * factor), None, "ALiBi", "none",
        measured_words(factor, found.error * factor), number_words(found.error * factor), fitted,
    )  # fmt: skip


def _softcap(trials: Trials) -> Iterator[Hypothesis]:
    form = trials.form
    own = "none" if form.softcap is None else number_words(form.softcap)
    if form.softcap is not None:
        yield trials.made(
            "softcap", "scores are not capped", replace(form, softcap=None), None, "softcap", own,
            "none",
        )  # fmt: skip
    for cap in _CAPS:
        if cap != form.softcap:
            yield trials.made(
                "softcap", f"scores are softly capped at {cap:g} where the reference has {own}",
                replace(form, softcap=cap), None, "softcap", own, f"{cap:g}",
            )  # fmt: skip
    if trials.explained:
        return
    found = trials.number(
        lambda log: (replace(form, softcap=math.exp(log)), None), np.linspace(-1.0, 6.0, 15)
    )
    if found is not None:  # roundings around the tangent are shared by all scores near the cap
        shared = math.hypot(trials.case.units["output"] / 2, _TANGENT)
        found = replace(found, error=math.hypot(found.error, shared))
    if found is not None and found.error < 0.2:
        cap = math.exp(found.value)
        words = measured_words(cap, found.error * cap)
        yield trials.made(
            "softcap", f"scores are softly capped at {words} where the reference has {own}",
            replace(form, softcap=cap), None, "softcap", own, words,
            number_words(found.error * cap), 1,
        )  # fmt: skip


def _precision(trials: Trials) -> Iterator[Hypothesis]:
    """Parts of attention in a narrower arithmetic than the records have."""
    for name, unit in _NARROW:
        if unit <= 4 * trials.case.units["output"]:
            continue
        for text, change in (
            ("scores and probabilities are", {"softmax_unit": unit}),
            ("queries and keys are, before their product,", {"product_unit": unit}),
            ("queries, keys, scores and probabilities are",
             {"softmax_unit": unit, "product_unit": unit}),
        ):  # fmt: skip
            yield trials.made(
                "precision", f"{text} rounded to {name}", replace(trials.form, **change), None,
                "arithmetic", "", name,
            )  # fmt: skip
