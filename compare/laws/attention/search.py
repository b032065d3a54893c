"""A search for the form of the reference's attention, where its config does not tell it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..law import Case, Scene, Site
from ..numerics.number_fit import narrowed
from ..rotary.frequencies import USUAL_BASES, Rotary, is_rotary_config
from .choice import Choice, misfit
from .config import config_window
from .form import MaskKind, Material, alibi_slopes
from .inputs import rows_kept

_ROWS = 12  # of the sample that forms are tried on
_PASSES = 3
_STARTS = 3  # choices that are changed step by step
_BETTER = 0.9  # times the misfit so far that a change must leave
_LESS = 0.5  # times the misfit that a fitted scale must leave
_NOISE = 2e-6  # misfit that rounding of float32 makes
_ROUNDED = 0.75  # units of the output: misfit of the right form, half of it the output's rounding
_CAPS = (50.0, 30.0, 20.0)


def searched(scene: Scene, site: Site, choices: list[Choice], case: Case) -> Iterator[Choice]:
    """The best form that changes of one part at a time lead to."""
    case = _fewer_rows(case)
    masked = [replace(c, form=replace(c.form, mask=mask)) for c in choices for mask in _masks(case)]
    ranked = sorted(((misfit(c, case), i) for i, c in enumerate(masked)))
    noise = max(_NOISE, _ROUNDED * case.units["output"])
    error, best = math.inf, masked[ranked[0][1]]
    for start, i in ranked[:_STARTS]:
        if error > noise:
            near = _climbed(scene, site, masked[i], start, case, noise)
            error, best = min((error, best), near, key=lambda pair: pair[0])
    if error > noise:
        # A soft cap bends what a scale stretches: the two are looked for together.
        for cap in dict.fromkeys((best.form.softcap, None, *_CAPS)):
            tuned = _tuned_scale(replace(best, form=replace(best.form, softcap=cap)), case)
            new = misfit(tuned, case)
            if new < _LESS * error:
                error, best = new, tuned
    yield best


def _fewer_rows(case: Case) -> Case:
    material: Material = case.more["material"]
    rows = np.unique(np.linspace(0, len(case.output) - 1, _ROWS).astype(int))
    more = {**case.more, "material": rows_kept(material, rows)}
    return replace(case, output=case.output[rows], rows=case.rows[rows], more=more)


def _masks(case: Case) -> list[MaskKind]:
    recorded = case.more["material"].bias is not None
    return ["recorded", "both", "causal", "none"] if recorded else ["causal", "none"]


def _climbed(
    scene: Scene, site: Site, choice: Choice, error: float, case: Case, noise: float
) -> tuple[float, Choice]:
    """The misfit and the form that changes of one part lead to, down to `noise`."""
    for _ in range(_PASSES):
        start = error
        for other in _changes(scene, site, choice, case):
            if error <= noise:
                return error, choice
            new = misfit(other, case)
            if new < _BETTER * error:
                choice, error = other, new
        if error > _BETTER * start:
            break
    return error, choice


def _changes(scene: Scene, site: Site, choice: Choice, case: Case) -> Iterator[Choice]:
    form, material = choice.form, case.more["material"]
    width = material.q.shape[1] // form.heads
    window = config_window(scene.config, site.module)
    for mask in _masks(case):
        for limit in dict.fromkeys((None, window)):
            yield replace(choice, form=replace(form, mask=mask, window=limit))
    if material.angles is None and not is_rotary_config(scene.config):
        for base in USUAL_BASES:
            yield Choice(replace(form, style="half", rotated=width), Rotary(width, base))
    for style in ("half", "interleaved", "none"):
        yield replace(choice, form=replace(form, style=style))
    for scale in (width**-0.5, 1.0, 1.0 / width, material.q.shape[1] ** -0.5):
        yield replace(choice, form=replace(form, scale=scale))
    if form.kv_heads not in (1, form.heads):
        yield replace(choice, form=replace(form, repetition="tiled"))
    for slopes in (None, alibi_slopes(form.heads)):
        yield replace(choice, form=replace(form, slopes=slopes))
    for cap in (None, *_CAPS):
        yield replace(choice, form=replace(form, softcap=cap))


def _tuned_scale(choice: Choice, case: Case) -> Choice:
    """The scale that fits the reference best, by a search over its logarithm."""

    def at(log: float) -> float:
        return misfit(replace(choice, form=replace(choice.form, scale=math.exp(log))), case)

    middle = math.log(choice.form.scale)
    grid = middle + np.linspace(-3, 3, 25)
    best = float(grid[int(np.argmin([at(float(g)) for g in grid]))])
    scale = math.exp(narrowed(at, best - 0.25, best + 0.25))
    return replace(choice, form=replace(choice.form, scale=scale))
