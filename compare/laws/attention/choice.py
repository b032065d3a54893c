"""One form of attention that may be the reference's, and how far it is from the records."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ....capture.values import Array
from ..law import Case
from ..rotary.frequencies import Rotary, tables
from .form import Angles, Form, Material, bias_fits
from .math import attend

_USUAL = 1e100  # numbers whose products and sums are finite in float64


@dataclass(frozen=True)
class Choice:
    """One variant of the reference's attention that may be tried."""

    form: Form
    rotary: Rotary | None = None


def fitting(form: Form, material: Material, rotary: Rotary | None) -> Material | None:
    """The material for a form: with tables made from `rotary` where none were recorded. None where
    widths, or the heads of a bias, do not fit the form.
    """
    q, k, v = (m.shape[1] for m in (material.q, material.k, material.v))
    if q % form.heads or k % form.kv_heads or v % form.kv_heads:
        return None
    width = q // form.heads
    if width != k // form.kv_heads or form.rotated > width or form.heads % form.kv_heads:
        return None
    if not bias_fits(form, material):
        return None
    if form.style == "none" or not form.rotated:
        return material
    if material.angles is not None:
        return material if material.angles.cos_q.shape[1] == form.rotated else None
    if rotary is None:
        return None
    return material.with_angles(made_angles(rotary, material))


def made_angles(rotary: Rotary, material: Material, moved: Array | None = None) -> Angles:
    """Tables of all tokens by their places in their sequences; `moved` is added to the positions by
    place.
    """
    length = material.length
    by_place = np.arange(length, dtype=np.float64)
    if moved is not None:
        by_place = by_place + moved
    cos, sin = tables(rotary, by_place, "half", length)
    return Angles(
        cos[material.place_q], sin[material.place_q], cos[material.place_k], sin[material.place_k]
    )


def can_be(choice: Choice, case: Case) -> bool:
    """Whether `misfit` is finite. Of usual numbers it is wherever the widths fit, so that nothing
    has to be worked out.
    """
    material = _given_to(choice, case)
    if material is None:
        return False
    if all(bool((np.abs(m) < _USUAL).all()) for m in (material.q, material.k, material.v)):
        return bool((np.isfinite(case.output) & (case.output != 0)).any())
    return misfit(choice, case) < math.inf


def misfit(choice: Choice, case: Case) -> float:
    """Median over rows of |recorded - predicted| / |recorded|; infinity where it cannot be."""
    material = _given_to(choice, case)
    if material is None:
        return math.inf
    value = attend(choice.form, material).value
    y = np.where(np.isfinite(case.output), case.output, 0.0)
    size = np.linalg.norm(y, axis=1)
    left = np.linalg.norm(y - value, axis=1)
    usable = size > 0
    found = float(np.median(left[usable] / size[usable])) if usable.any() else math.inf
    return found if math.isfinite(found) else math.inf


def _given_to(choice: Choice, case: Case) -> Material | None:
    """The material for a choice; None where it, or what it would give, is of another width."""
    material, form = fitting(choice.form, case.more["material"], choice.rotary), choice.form
    if material is None:
        return None
    width = form.heads * (material.v.shape[1] // form.kv_heads)
    return material if width == case.output.shape[1] else None
