"""The greatest differences, against sorting everything."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.capture.dtypes import DTYPES
from layertui.capture.records import Locator
from layertui.capture.values import upcast
from layertui.compare.inspection.subject import Subject
from layertui.compare.inspection.top import ORDERS, Order, Top, TopAnalysis
from layertui.compare.inspection.top_text import top_text
from layertui.compare.measuring.pair_reader import SideTask
from layertui.compare.measuring.ulp import distances
from layertui.compare.recipes.parse import parse_recipe
from layertui.compare.recipes.recipe import views
from support.looking import FLOATS, looked, raw_elements, run, side, subject


def top_of(order: Order, count: int) -> object:
    return lambda about, shape: TopAnalysis(about, shape, order, count)


def ranked(x: np.ndarray, y: np.ndarray, dtype: str, order: str) -> list[tuple[float, int]]:
    """Every element that differs, greatest first: its key and flat position."""
    found: list[tuple[float, int]] = []
    for at, (a, b) in enumerate(zip(x.tolist(), y.tolist(), strict=True)):
        if a == b or (a != a and b != b):
            continue
        if not (np.isfinite(a) and np.isfinite(b)):
            found.append((math.inf, at))
            continue
        exact = np.clongdouble if DTYPES[dtype].kind == "complex" else np.longdouble
        size = float(abs(exact(b) - exact(a))) if not isinstance(a, int) else abs(int(b) - int(a))
        if order == "rel":
            size = float(size) / max(float(abs(exact(a))), 1e-8)
        elif order == "ulp" and dtype in FLOATS:
            size = float(distances(np.array([a]), np.array([b]), dtype)[0])
        found.append((float(size), at))
    return sorted(found, key=lambda entry: (-entry[0], entry[1]))


@given(st.integers(0, 2**32), st.sampled_from(sorted(DTYPES)), st.sampled_from(ORDERS),
       st.integers(1, 30), st.sampled_from([1, 3, 8, 1 << 17]))  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_the_greatest_of_every_dtype(
    seed: int, dtype: str, order: Order, count: int, block: int
) -> None:
    rng = np.random.default_rng(seed)
    raw = raw_elements(rng, dtype, (4, 9)), raw_elements(rng, dtype, (4, 9))
    top: Top = looked(top_of(order, count), *raw, dtype, block=block)
    x, y = (upcast(one, dtype).reshape(-1) for one in raw)
    wanted = ranked(x, y, dtype, order)
    assert top.differing == len(wanted) and top.compared == 36
    assert len(top.differences) == min(count, len(wanted))
    places = [index[0] * 9 + index[1] for index in (one.index for one in top.differences)]
    keys = {at: key for key, at in wanted}
    for place, (key, _) in zip(places, wanted, strict=False):
        assert math.isclose(keys[place], key, rel_tol=1e-12)
    for one, place in zip(top.differences, places, strict=True):
        for got, values in ((one.reference, x), (one.candidate, y)):
            assert got == values[place] or (got != got and values[place] != values[place])
        assert one.reference_index == one.candidate_index == one.index
    assert len(top_text(top)) == (len(places) + 2 if places else 1)


@pytest.mark.parametrize("block", [1, 7, 100, 1 << 17])
@pytest.mark.parametrize("order", ORDERS)
def test_of_equal_differences_the_first_come_first(order: Order, block: int) -> None:
    x = np.ones(1000, np.float32)
    top = looked(top_of(order, 10), x, x * 2, block=block)
    assert [one.index[0] for one in top.differences] == list(range(10))
    y = x * 2
    y[[500, 900]] = 5.0
    top = looked(top_of(order, 4), x, y, block=block)
    assert [one.index[0] for one in top.differences] == [500, 900, 0, 1]


@pytest.mark.parametrize("order", ORDERS)
def test_what_is_not_finite_alike_comes_first(order: Order) -> None:
    nan, inf = np.nan, np.inf
    x = np.array([0, nan, inf, 1, inf, nan, 1e30, 2], np.float32)
    y = np.array([9, nan, inf, nan, -inf, 0, -1e30, 2], np.float32)
    top = looked(top_of(order, 10), x, y, block=3)
    assert [one.index[0] for one in top.differences][:3] == [3, 4, 5]
    assert all(math.isinf(one.abs) and one.ulp is None for one in top.differences[:3])
    assert top.differing == 5
    assert "not finite" in top_text(top)[2]


def test_int64_extremes_are_exact() -> None:
    low, high = -(2**63), 2**63 - 1
    x = np.array([low, high, 2**53, 5], np.int64)
    y = np.array([high, high - 1, 2**53 + 1, 5], np.int64)
    top = looked(top_of("abs", 5), x, y)
    assert [(one.index[0], one.abs) for one in top.differences] == [(0, 2.0**64), (1, 1), (2, 1)]
    assert top.differences[0].reference == low and top.differences[1].candidate == high - 1
    by_rel = looked(top_of("rel", 5), x, y)
    assert [one.index[0] for one in by_rel.differences] == [0, 2, 1]
    assert by_rel.differences[0].rel == 2.0


def test_complex_numbers_whose_size_leaves_float64() -> None:
    large = complex(1.7e308, 1.7e308)
    x = np.array([large, 1 + 1j, 0, large])
    y = np.array([complex(-1.7e308, 1.7e308), 1 - 1j, large, large + 1e300])
    for order in ORDERS:
        top = looked(top_of(order, 5), x, y)
        assert {one.index[0] for one in top.differences[:2]} == {0, 2}
        assert len(top_text(top)) == 6
        assert [one.abs for one in top.differences if one.index == (1,)] == [2.0]


def test_bools_and_types_without_last_places_go_by_size() -> None:
    top = looked(top_of("ulp", 5), np.array([True, False]), np.array([True, True]))
    assert top.order == "abs" and top.differences[0].ulp is None
    assert (top.differences[0].reference, top.differences[0].candidate) == (False, True)


RECIPES = [
    ("", ""),
    ("transpose(0,1)", "transpose(0,1) | flip(0)"),
    ("[:, 2:6]", "[:, 0:4]"),
    ("shift(1,0)", ""),
    ("", "shift(-1,1)"),
    ("reshape(2,3,8) | permute(2,0,1)", 'rearrange("(a b) c -> c a b", a=2)'),
    ("index_select(0,[3,1])", "roll(2,0) | [1:3]"),
]


@pytest.mark.parametrize("recipes", RECIPES)
def test_indices_of_the_sides_lead_to_their_values(
    tmp_path: Path, recipes: tuple[str, str]
) -> None:
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((6, 8)).astype(np.float32) for _ in "xy")
    about = subject(tmp_path, x, y, "float32", recipes)
    top = run(lambda shape: TopAnalysis(about, shape, "abs", 100), about, 5)
    left, right = views(*map(parse_recipe, recipes), x, y)
    assert top.shape == left.shape and len(top.differences) == left.size
    for one in top.differences:
        assert one.reference == left[one.index] == x[one.reference_index]
        assert one.candidate == right[one.index] == y[one.candidate_index]


def test_an_element_of_another_record_has_no_index(tmp_path: Path) -> None:
    x, other = np.zeros((2, 2), np.float32), np.ones((2, 2), np.float32)
    ref = side(tmp_path, "ref", np.zeros((4, 2), np.float32), "float32")
    own = side(tmp_path, "x", x + 2, "float32", 'concat(0, "b")')
    second = side(tmp_path, "b", other, "float32")
    about = Subject(ref, SideTask(own.locator, "float32", own.recipe, (("b", second.locator),)))
    top = run(lambda shape: TopAnalysis(about, shape, "abs", 8), about)
    assert [one.candidate_index for one in top.differences] == [
        (0, 0), (0, 1), (1, 0), (1, 1), None, None, None, None,
    ]  # fmt: skip


def test_a_scalar_and_nothing() -> None:
    top = looked(top_of("abs", 5), np.array(1.0), np.array(2.0))
    assert top.differences[0].index == () and top.differences[0].abs == 1.0
    empty = np.empty((2, 0), np.float32)
    top = looked(top_of("abs", 5), empty, empty)
    assert top_text(top) == ["no element to compare"]


def test_locators_of_the_sides_are_their_own(tmp_path: Path) -> None:
    """An index is one of the record's own shape, squeezed axes included."""
    x = np.zeros((1, 2, 3), np.float32)
    y = np.zeros((2, 3), np.float32)
    y[1, 2] = 1
    about = subject(tmp_path, x, y, "float32", ("squeeze(0)", ""))
    assert isinstance(about.sides[0].locator, Locator)
    top = run(lambda shape: TopAnalysis(about, shape, "abs", 8), about)
    (one,) = top.differences
    assert (one.reference_index, one.candidate_index) == ((0, 1, 2), (1, 2))
