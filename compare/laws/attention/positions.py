"""Other rotary positions: style, direction, base, scaling, and positions that are off."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ....capture.values import Array
from ..law import Hypothesis
from ..names import measured_words, number_words
from ..numerics.number_fit import Number
from ..numerics.rounding import ROUNDED
from ..rotary.fit import rotary_from
from ..rotary.frequencies import USUAL_BASES, Rotary, unscaled, with_base
from .choice import made_angles
from .form import Angles, Material
from .trial import Trials

_PARTS = (0.25, 0.5, 0.75)
_FACTORS = (0.5, 2.0, 0.25, 4.0, 8.0, 0.125, 16.0)
_OFFSETS = (1, -1, 2, -2, 3, -3, 4, -4, 8, -8)
_SURE = 3.0
_NEAR = 0.01
_BASES = np.log([10.0, 100.0, 500.0, *USUAL_BASES, 1e8, 2e4, 2e5])
_ANY_BASE = np.log(10.0) + np.arange(0.0, 16.2, 0.2)  # up to 1e8
_FINE = 2.0**-24  # unit roundoff of float32
_MOST_STARTS = 16  # tokens from which on positions are tried to be off


def plain_positions(trials: Trials) -> Iterator[Hypothesis]:
    """Other styles and directions, and the reference's tables."""
    if _turns(trials):
        yield from _styles(trials)
        yield from _other_tables(trials)
    else:
        yield from _added_rotary(trials)


def fitted_positions(trials: Trials) -> Iterator[Hypothesis]:
    """Another base or scaling, and positions that are off."""
    rotary = _rotary(trials) if _turns(trials) else None
    if rotary is None:
        return
    yield from _bases(trials, rotary)
    if not trials.explained:
        yield from _scalings(trials, rotary)
    if not trials.explained:
        yield from _moved(trials, rotary)


def _turns(trials: Trials) -> bool:
    material = trials.material
    return material is not None and material.angles is not None and trials.form.rotated > 0


def _added_rotary(trials: Trials) -> Iterator[Hypothesis]:
    """Rotation where the reference has none."""
    form, material = trials.form, trials.material
    if material is None or form.style != "none":
        return
    for style in ("half", "interleaved"):
        for base in USUAL_BASES[:2]:
            angles = made_angles(Rotary(trials.width, base), material)
            yield trials.made(
                "rope-style", f"queries and keys are rotated ({style}) where the reference has no "
                "rotary positions", replace(form, style=style, rotated=trials.width),
                material.with_angles(angles), "style", "none", style,
            )  # fmt: skip


def _styles(trials: Trials) -> Iterator[Hypothesis]:
    form, material = trials.form, trials.material
    assert material is not None
    for style in ("half", "interleaved", "none"):
        if style == form.style:
            continue
        text = f"channels are rotated in the {style} style where the reference has {form.style}"
        if style == "none":
            text = "queries and keys are not rotated"
        yield trials.made(
            "rope-style", text, replace(form, style=style), None, "style", form.style, style
        )  # fmt: skip
    yield trials.made(
        "rope-direction", "the rotation is in the opposite direction (sign of sin)",
        replace(form, direction=-form.direction), None, "direction", "1", "-1",
    )  # fmt: skip
    rotary = _rotary(trials)
    for part in (*_PARTS, 1.0):
        size = int(trials.width * part) // 2 * 2
        if size == form.rotated or not size:
            continue
        text = f"{size} channels of each head are rotated where the reference has {form.rotated}"
        if rotary is not None and rotary.fitted is None:
            made = material.with_angles(made_angles(replace(rotary, width=size), material))
            yield trials.made("rope-style", text, replace(form, rotated=size), made, "rotated",
                              str(form.rotated), str(size))  # fmt: skip
        if form.style == "half" and size < form.rotated:
            made = material.with_angles(_fastest(material, size))
            text += ", by its highest frequency"
            yield trials.made("rope-style", text, replace(form, rotated=size), made, "rotated",
                              str(form.rotated), str(size))  # fmt: skip
    yield from _of_one_operand(trials, material)


def _fastest(material: Material, size: int) -> Angles:
    """The tables' highest frequencies, as many as `size` channels in halves have."""
    angles = material.angles
    assert angles is not None
    half = angles.cos_k.shape[1] // 2
    columns = np.concatenate([np.arange(size // 2), half + np.arange(size // 2)])
    return Angles(*(
        table[:, columns] for table in (angles.cos_q, angles.sin_q, angles.cos_k, angles.sin_k)
    ))  # fmt: skip


def _of_one_operand(trials: Trials, material: Material) -> Iterator[Hypothesis]:
    """Queries or keys alone that are not rotated, or the other way."""
    angles = material.angles
    assert angles is not None
    for which, name, other in (("q", "queries", "keys"), ("k", "keys", "queries")):
        cos, sin = getattr(angles, f"cos_{which}"), getattr(angles, f"sin_{which}")
        still = {f"cos_{which}": np.ones_like(cos), f"sin_{which}": np.zeros_like(sin)}
        yield trials.made(
            "rope-style", f"only the {other} are rotated", trials.form,
            replace(material, angles=replace(angles, **still)), "rotated", "q and k",
            "k" if which == "q" else "q",
        )  # fmt: skip
        back = replace(angles, **{f"sin_{which}": -sin})
        yield trials.made(
            "rope-direction", f"the rotation of the {name} goes the other way (sign of sin)",
            trials.form, replace(material, angles=back), "direction", "1", f"-1 for the {name}",
        )  # fmt: skip


def _other_tables(trials: Trials) -> Iterator[Hypothesis]:
    """The reference's tables, where the candidate recorded others than it used."""
    own, other = trials.material, trials.reference.more["material"]
    assert own is not None
    if not own.recorded_angles or other.angles is None:
        return
    theirs = other.angles
    if own.angles is None or theirs.cos_k.shape != own.angles.cos_k.shape:
        return
    if len(other.q) != len(own.q) or np.array_equal(theirs.cos_k, own.angles.cos_k):
        return
    yield trials.made(
        "positions", "cos and sin are those of the reference, not those it was given",
        trials.form, replace(own, angles=theirs), "tables", "as given", "the reference's",
    )  # fmt: skip


def _rotary(trials: Trials) -> Rotary | None:
    """How the reference turns, from its config or the candidate's tables."""
    material = trials.material
    assert material is not None
    if trials.rotary is not None and trials.rotary.width == trials.form.rotated:
        return trials.rotary
    if material.angles is None:
        return None
    return rotary_from(material.angles.cos_k, material.angles.sin_k, material.place_k)


def _bases(trials: Trials, rotary: Rotary) -> Iterator[Hypothesis]:
    if rotary.fitted is not None:
        return
    # The error as a function of the base has many valleys: the usual bases lie in theirs.
    for grid in (_BASES, _ANY_BASE):
        if not trials.explained:
            yield from _base(trials, rotary, grid)


def _base(trials: Trials, rotary: Rotary, grid: Array) -> Iterator[Hypothesis]:
    form, material = trials.form, trials.material
    assert material is not None

    def turned(log: float) -> Material:
        return material.with_angles(made_angles(with_base(rotary, math.exp(log)), material))

    found = _with_tables_error(trials.number(lambda log: (form, turned(log)), grid), trials)
    if found is None or not found.error < 3:
        return
    value, fitted = math.exp(found.value), 1
    for usual in USUAL_BASES:
        if abs(math.log(usual) - found.value) <= max(min(_SURE * found.error, 0.05), 1e-6):
            value, fitted = usual, 0
    if abs(math.log(value / rotary.base)) < 1e-6:
        return
    words = measured_words(value, found.error * value)
    yield trials.made(
        "rope-base", f"base {words} where the reference has {number_words(rotary.base)}", form,
        turned(math.log(value)), "base", number_words(rotary.base), words,
        number_words(found.error * value), fitted,
    )  # fmt: skip


def _with_tables_error(found: Number | None, trials: Trials) -> Number | None:
    """A fitted logarithm of a base or factor, with the error that rounding of tables makes: all
    rows and heads share it, so that it does not show in how they disagree. Frequencies are worked
    out in float32: an error of one of the first counts half a head's width times in the base.
    """
    if found is None:
        return None
    frequencies = ROUNDED * _FINE * trials.width / 2
    error = math.hypot(found.error, frequencies, trials.case.units["output"])
    return replace(found, error=error)


def _scalings(trials: Trials, rotary: Rotary) -> Iterator[Hypothesis]:
    form, material = trials.form, trials.material
    assert material is not None
    if rotary.scheme != "default":
        made = material.with_angles(made_angles(unscaled(rotary), material))
        yield trials.made(
            "rope-scaling", f"frequencies are not scaled ({rotary.scheme})", form, made, "scaling",
            rotary.scheme, "none",
        )  # fmt: skip

    def scaled(factor: float) -> Material:
        frequencies = rotary.frequencies(material.length) * factor
        other = replace(rotary, fitted=frequencies, factor_fitted=rotary.factor())
        return material.with_angles(made_angles(other, material))

    grid = np.log([1.0, *_FACTORS, 0.8, 1.25, 0.66, 1.5])
    found = trials.number(lambda log: (form, scaled(math.exp(log))), grid)
    found = _with_tables_error(found, trials)
    if found is None or not found.error < 0.3 or abs(found.value) <= _SURE * found.error:
        return
    factor, fitted = math.exp(found.value), 1
    for usual in _FACTORS:
        if abs(math.log(usual) - found.value) <= max(min(_SURE * found.error, _NEAR), 1e-6):
            factor, fitted = usual, 0
    words = measured_words(factor, found.error * factor)
    yield trials.made(
        "rope-scaling", f"all frequencies are {words} x those of the reference",
        form, scaled(factor), "factor", "1", words,
        number_words(found.error * factor), fitted,
    )  # fmt: skip


def _moved(trials: Trials, rotary: Rotary) -> Iterator[Hypothesis]:
    """Positions that are off from some token on, or those of the queries only."""
    form, material = trials.form, trials.material
    assert material is not None and material.angles is not None
    length = material.length
    best: tuple[float, int, int] | None = None
    starts = _starts(trials)
    for offset in _OFFSETS:
        for first in starts:
            moved = np.where(np.arange(length) >= first, offset, 0)
            value = trials.value(form, material.with_angles(made_angles(rotary, material, moved)))
            if value is None:
                continue
            left = _row_left(trials, value)
            if best is None or left < best[0]:
                best = (left, first, offset)
    if best is not None:
        _, first, offset = best
        moved = np.where(np.arange(length) >= first, offset, 0)
        yield trials.made(
            "positions", f"positions are off by {offset:+d} from token {first} on", form,
            material.with_angles(made_angles(rotary, material, moved)), "positions", "0, 1, 2, ...",
            f"{offset:+d} from {first} on",
        )  # fmt: skip
    for offset in _OFFSETS:
        yield trials.made(
            "positions", f"positions of the queries are off by {offset:+d} relative to the "
                         "keys'", form,
            material.with_angles(_queries_moved(rotary, material, offset)), "positions", "0",
            f"{offset:+d}",
        )  # fmt: skip
    for offset in (o for o in _OFFSETS if o < 0):
        for which, name in (("q", "queries"), ("k", "keys")):
            yield trials.made(
                "positions", f"positions of the {name} alone are off by {offset:+d}, but not below "
                "0", form, material.with_angles(_late(rotary, material, offset, which)),
                "positions", "0", f"{offset:+d} of the {name}",
            )  # fmt: skip


def _queries_moved(rotary: Rotary, material: Material, offset: int) -> Angles:
    plain = made_angles(rotary, material)
    moved = made_angles(rotary, material, np.full(material.length, offset))
    return replace(plain, cos_q=moved.cos_q, sin_q=moved.sin_q)


def _late(rotary: Rotary, material: Material, offset: int, which: str) -> Angles:
    """Tables whose queries (`q`) or keys (`k`) have earlier positions, the first ones 0."""
    places = np.arange(material.length)
    moved = made_angles(rotary, material, np.maximum(places + offset, 0) - places)
    cos, sin = f"cos_{which}", f"sin_{which}"
    own = {cos: getattr(moved, cos), sin: getattr(moved, sin)}
    return replace(made_angles(rotary, material), **own)


def _starts(trials: Trials) -> list[int]:
    """Tokens from which on positions may be off: behind the last query that fits, up to the first
    that does not.
    """
    material = trials.material
    assert material is not None
    bad = material.place_q[trials.misfits]
    if not len(bad):
        return []
    first = int(bad.min())
    good = material.place_q[~trials.misfits & (material.place_q < first)]
    starts = np.arange(int(good.max()) + 1 if len(good) else 1, max(first, 1) + 1)
    step = max(1, len(starts) // _MOST_STARTS)
    return [int(at) for at in starts[::-step]]


def _row_left(trials: Trials, value: Array) -> float:
    assert trials.base is not None
    left = np.square(np.nan_to_num(trials.y) - value).sum(1)
    size = np.square(np.broadcast_to(trials.base.spread, value.shape)).sum(1)
    return float(np.log1p(left / np.maximum(size, 1e-300)).sum())
