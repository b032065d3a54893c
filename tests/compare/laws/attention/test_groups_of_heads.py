"""Attention worked out for several heads at a time, and without what no query looks at, against one
head after the other over all keys.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from layertui.compare.laws.attention.choice import Choice, can_be, misfit
from layertui.compare.laws.attention.form import Angles, Form, Material, alibi_slopes
from layertui.compare.laws.attention.math import (
    QUERY_DRAWS,
    Signs,
    attend,
    moved_by_queries,
    predicted,
    probabilities,
    roundings,
    score_variance,
)
from layertui.compare.laws.attention.scores import (
    EXACT,
    HeadPart,
    Rounding,
    head_groups,
    head_parts,
)
from layertui.compare.laws.law import Case
from layertui.compare.laws.numerics.rounding import ROUNDED, on_grid
from layertui.compare.laws.rotary.frequencies import Rotary, tables

Array = np.ndarray
HEADS, KEY_HEADS, WIDTH, KEYS = 8, 4, 16, 160
FORM = Form(HEADS, KEY_HEADS, WIDTH**-0.5, rotated=WIDTH)
FINE, COARSE = Rounding(2.0**-24, 2.0**-24, 2.0**-24), Rounding(2.0**-8, 2.0**-24, 2.0**-8)


def material(rows: Array, unit: float, sequences: int = 1, size: float = 1.0) -> Material:
    """Random queries of some rows, and keys and values of all tokens, on the grid of `unit`."""
    random = np.random.default_rng(7)
    q, k, v = (
        on_grid(random.standard_normal((KEYS, heads * WIDTH)), unit)
        for heads in (HEADS, KEY_HEADS, KEY_HEADS)
    )
    count = KEYS // sequences
    sequence, place = np.repeat(np.arange(sequences), count), np.tile(np.arange(count), sequences)
    cos, sin = tables(Rotary(WIDTH), place.astype(np.float64))
    angles = Angles(cos[rows], sin[rows], cos, sin)
    return Material(
        size * q[rows], k, v, sequence[rows], sequence, place[rows], place, angles=angles
    )


def biased(given: Material, by_head: bool) -> Material:
    """With a recorded mask of finite and infinite numbers."""
    shape = (len(given.q), HEADS, len(given.k)) if by_head else (len(given.q), len(given.k))
    random = np.random.default_rng(3)
    bias = np.where(random.random(shape) < 0.2, -np.inf, random.standard_normal(shape))
    return replace(given, bias=bias)


def error_of_head(form: Form, rounding: Rounding, part: HeadPart) -> tuple[Array, Array]:
    """Value and variance `[heads, rows, width]` by the plain formula, in float64."""
    p = probabilities(form, part).astype(np.float64)
    by_key, slope = score_variance(form, rounding, part)
    v = part.v.astype(np.float64)
    value = p @ v
    apart = v[None, None] - value[:, :, None]  # [heads, rows, keys, width]
    total = np.einsum("hrk,hrkw->hrw", np.square(p) * by_key, np.square(apart))
    total += (ROUNDED * rounding.probabilities) ** 2 * (np.square(p) @ np.square(v))
    for moved in moved_by_queries(form, part, (p * slope).astype(part.q.dtype), Signs()):
        total += np.square(moved.astype(np.float64) @ v) / QUERY_DRAWS
    return value, total


def one_by_one(form: Form, given: Material, rounding: Rounding) -> tuple[Array, Array]:
    shape = (len(given.q), HEADS, WIDTH)
    value, variance = np.zeros(shape), np.zeros(shape)
    for part in head_parts(form, given, rounding):
        place = np.ix_(part.rows, part.heads)
        one, other = error_of_head(form, rounding, part)
        value[place], variance[place] = np.moveaxis(one, 0, 1), np.moveaxis(other, 0, 1)
    return value.reshape(len(given.q), -1), variance.reshape(len(given.q), -1)


FORMS = {
    "causal": FORM,
    "a window": replace(FORM, window=20),
    "no mask": replace(FORM, mask="none"),
    "tiled heads": replace(FORM, repetition="tiled"),
    "a soft cap": replace(FORM, softcap=3.0),
    "sinks": replace(FORM, sinks=np.linspace(-2, 2, HEADS)),
    "slopes": replace(FORM, slopes=alibi_slopes(HEADS)),
    "a recorded mask": replace(FORM, mask="both"),
    "rotated in part": replace(FORM, rotated=0, style="none"),
}


@pytest.mark.parametrize("sequences", [1, 2])
@pytest.mark.parametrize("by_head", [False, True])
@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize(("rounding", "close"), [(FINE, 1e-9), (COARSE, 2e-5)])
def test_groups_give_what_single_heads_give(
    rounding: Rounding, close: float, name: str, by_head: bool, sequences: int
) -> None:
    form, rows = FORMS[name], np.unique(np.r_[0:8, 8 : KEYS - 8 : 2, KEYS - 8 : KEYS])
    given = material(rows, 2.0**-8, sequences)
    if form.mask == "both":
        given = biased(given, by_head)
    found = attend(form, given, rounding, with_variance=True)
    value, variance = one_by_one(form, given, rounding)
    np.testing.assert_allclose(found.value, value, rtol=close, atol=close)
    assert found.variance is not None
    np.testing.assert_allclose(found.variance, variance, rtol=50 * close, atol=1e-30)


def test_keys_that_no_row_looks_at_are_left_out() -> None:
    given = material(np.arange(KEYS), 2.0**-8)
    groups = [group for (group,) in head_groups(FORM, given, EXACT, seen_alone=True)]
    assert len({group.first for group in groups}) == 4
    for group in groups:
        np.testing.assert_array_equal(group.keys, np.arange(group.rows[-1] + 1))
    assert sum(group.scores.size for group in groups) < 0.7 * HEADS * KEYS**2


def test_a_query_that_looks_nowhere_keeps_all_keys() -> None:
    given = replace(material(np.arange(KEYS), 2.0**-8), bias=np.zeros((KEYS, KEYS)))
    bias = np.array(given.bias)
    bias[40] = -np.inf
    form, given = replace(FORM, mask="both"), replace(given, bias=bias)
    value = attend(form, given).value.reshape(KEYS, HEADS, WIDTH)[40]
    mean = given.v.reshape(KEYS, KEY_HEADS, WIDTH).mean(0)
    np.testing.assert_allclose(value, np.repeat(mean, HEADS // KEY_HEADS, axis=0))


def test_sharp_scores_keep_their_variance_in_float32() -> None:
    """Where a row looks at one key alone its values are the output: the difference is lost in sums
    of float32, unless they are in float64.
    """
    given = material(np.arange(8, KEYS), 2.0**-8, size=300.0)
    rounding = Rounding(2.0**-8, 2.0**-8, 2.0**-8)
    found = attend(FORM, given, rounding, with_variance=True).variance
    _, wanted = one_by_one(FORM, given, rounding)
    assert found is not None
    np.testing.assert_allclose(found, wanted, rtol=2e-3)


@pytest.mark.parametrize("way", [0, 1])
@pytest.mark.parametrize("key_heads", [1, KEY_HEADS, HEADS])
def test_the_way_of_rounding_is_told_from_the_record(key_heads: int, way: int) -> None:
    """From some of the key heads where they tell it, from all where there are few rows."""
    units = {"output": 2.0**-8}
    for rows in (np.arange(2, KEYS, 5), np.arange(KEYS - 3, KEYS)):
        given = material(rows, 2.0**-8, size=8.0)
        k, v = (np.tile(m, (1, 2))[:, : key_heads * WIDTH] for m in (given.k, given.v))
        given, form = replace(given, k=k, v=v), replace(FORM, kv_heads=key_heads)
        ways = roundings(units)
        y = on_grid(attend(form, given, replace(ways[way], simulated=True)).value, 2.0**-8)
        found = predicted(form, given, units, y)
        assert found is not None
        wanted = attend(form, given, ways[way], with_variance=True)
        assert wanted.variance is not None
        own = np.square(ROUNDED * 2.0**-8 * wanted.value)
        np.testing.assert_allclose(found.spread, np.sqrt(wanted.variance + own))


def case_of(given: Material, y: Array) -> Case:
    more = {"material": given}
    return Case("reference", y, np.arange(len(y)), {"q": given.q}, {"output": 2.0**-8}, (), more)


@pytest.mark.parametrize("what", ["usual", "narrow", "zero", "not a number", "huge"])
def test_what_can_be_is_what_has_a_misfit(what: str) -> None:
    given = material(np.arange(0, KEYS, 10), 2.0**-8)
    y = attend(FORM, given).value
    if what == "narrow":
        y = y[:, :-WIDTH]
    elif what == "zero":
        y = np.zeros_like(y)
    elif what == "not a number":
        given.k[:] = np.nan
    elif what == "huge":
        given.v[:] = 1e200
    choice = Choice(FORM)
    assert can_be(choice, case_of(given, y)) == (misfit(choice, case_of(given, y)) < np.inf)
    assert can_be(choice, case_of(given, y)) == (what == "usual")
