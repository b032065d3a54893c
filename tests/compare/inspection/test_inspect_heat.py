"""Heat maps, against pooling every cell by hand."""

from __future__ import annotations

import warnings
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.capture.dtypes import DTYPES
from layertui.capture.values import upcast
from layertui.compare.inspection.heat import (
    QUANTITIES,
    HeatAnalysis,
    HeatMap,
    HeatPlan,
    Quantity,
    default_axes,
)
from layertui.compare.inspection.heat_text import heat_legend, heat_levels, heat_text
from layertui.compare.measuring.pair_reader import Block
from support.looking import looked, raw_elements


def drawn(
    x: np.ndarray, y: np.ndarray, plan: HeatPlan, block: int = 1 << 17, dtype: str = ""
) -> HeatMap:
    return looked(lambda *_: HeatAnalysis(plan), x, y, dtype, block=block, region=plan.key())


def quantity_of(x: np.ndarray, y: np.ndarray, quantity: str) -> np.ndarray:
    with np.errstate(all="ignore"):
        if quantity in ("reference", "candidate"):
            return x if quantity == "reference" else y
        if quantity == "ratio":
            return np.where(x == y, 1.0, np.where(x == 0, np.nan, y / x))
        return np.abs(y - x) if quantity == "difference" else y - x


def plain_cell(values: np.ndarray, odd: np.ndarray, quantity: str) -> tuple[float, bool, bool]:
    """A cell's value, whether it is marked, whether anything is in it."""
    fine = values[np.isfinite(values)]
    away = np.abs(fine)
    if quantity == "ratio":
        with np.errstate(all="ignore"):
            away = np.where(fine > 0, np.abs(np.log2(np.abs(fine))), 64.0)
    value = float(away.max()) if fine.size else 0.0
    return value, bool(odd.any()), bool(fine.size or odd.any())


@st.composite
def plans(draw: st.DrawFn) -> tuple[tuple[int, ...], HeatPlan]:
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=0, max_size=5)))
    region = []
    for size in shape:
        low = draw(st.integers(0, size - 1))
        region.append((low, draw(st.integers(low + 1, size))))
    axes = draw(st.permutations(range(len(shape))))
    rows = axes[0] if len(axes) > 1 else None
    columns = axes[1] if len(axes) > 1 else (axes[0] if axes else None)
    quantity: Quantity = draw(st.sampled_from(QUANTITIES))
    height, width = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    return shape, HeatPlan(quantity, tuple(region), rows, columns, height, width)


@given(plans(), st.integers(0, 2**32), st.sampled_from([1, 5, 1 << 17]), st.booleans())
@settings(max_examples=150, deadline=None)
def test_cells_hold_the_extreme_of_their_elements(
    plan_of: tuple[tuple[int, ...], HeatPlan], seed: int, block: int, holes: bool
) -> None:
    shape, plan = plan_of
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal(shape), rng.standard_normal(shape)
    x, y = np.asarray(x), np.asarray(y)
    if holes:
        for side in (x, y):
            side[rng.random(shape) < 0.1] = np.nan
            side[rng.random(shape) < 0.1] = 0.0
    heat = drawn(x, y, plan, block)
    values = quantity_of(x, y, plan.quantity)
    alike = (x == y) | (np.isnan(x) & np.isnan(y))
    odd = ~np.isfinite(y - x) & ~alike
    if plan.quantity in ("reference", "candidate"):
        odd = ~np.isfinite(values)
    elif plan.quantity != "ratio":
        values = np.where(np.isfinite(values) | odd, values, 0.0)
    for row in range(heat.shape[0]):
        for column in range(heat.shape[1]):
            ranges = list(plan.region)
            for axis, cell in zip((plan.rows, plan.columns), heat.cell(row, column), strict=True):
                if axis is not None:
                    ranges[axis] = cell
            key = tuple(slice(low, high) for low, high in ranges)
            value, marked, filled = plain_cell(values[key], odd[key], plan.quantity)
            found = float(heat.values[row, column])
            if plan.quantity == "ratio":
                found = abs(np.log2(found)) if found > 0 else (64.0 if filled else 0.0)
                value = value if filled else 0.0
                if marked and not np.isfinite(values[key]).any():
                    continue
            assert np.isclose(abs(found), value)
            assert (bool(heat.odd[row, column]), bool(heat.filled[row, column])) == (marked, filled)
    covered = [heat.cell(row, 0)[0] for row in range(heat.shape[0])]
    if plan.rows is not None:
        assert covered[0][0] == plan.region[plan.rows][0]
        assert covered[-1][1] == plan.region[plan.rows][1]
        assert all(a[1] == b[0] for a, b in pairwise(covered))


@given(st.integers(0, 2**32), st.sampled_from(sorted(DTYPES)), st.sampled_from(QUANTITIES))
@settings(max_examples=80, deadline=None)
def test_text_of_every_dtype(seed: int, dtype: str, quantity: Quantity) -> None:
    rng = np.random.default_rng(seed)
    raw = raw_elements(rng, dtype, (6, 9)), raw_elements(rng, dtype, (6, 9))
    plan = HeatPlan(quantity, ((0, 6), (0, 9)), 0, 1, 4, 5)
    heat = drawn(*raw, plan, 10, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lines = heat_text(heat, (6, 9))
        levels = heat_levels(heat, 10)
    assert len([line for line in lines if line.endswith("|")]) == 4
    assert levels.min() >= 0 and levels.max() <= 9
    x, y = (upcast(one, dtype) for one in raw)
    with np.errstate(all="ignore"):
        odd = ~(np.isfinite(x) & np.isfinite(y)) & ~((x == y) | (np.isnan(x) & np.isnan(y)))
    if quantity not in ("reference", "candidate"):
        assert heat.odd.any() == odd.any()


def test_the_one_bad_element_of_a_million_is_seen() -> None:
    x = np.zeros((1000, 1000), np.float32)
    y = x.copy()
    y[617, 333] = 1e-6
    plan = HeatPlan("difference", ((0, 1000), (0, 1000)), 0, 1, 20, 40)
    heat = drawn(x, y, plan)
    assert heat.peak is not None
    rows, columns = heat.cell(*heat.peak)
    assert rows[0] <= 617 < rows[1] and columns[0] <= 333 < columns[1]
    assert np.count_nonzero(heat.values) == 1
    transposed = drawn(x, y, HeatPlan("difference", plan.region, 1, 0, 20, 40))
    assert transposed.peak is not None
    rows, columns = transposed.cell(*transposed.peak)
    assert rows[0] <= 333 < rows[1] and columns[0] <= 617 < columns[1]
    y[5, 5] = np.nan
    heat = drawn(x, y, plan)
    assert heat.peak == (0, 0) and heat.odd.sum() == 1
    assert "not finite" in heat_legend(heat, (1000, 1000))[1]


def test_the_ratio_of_complex_numbers_is_that_of_their_sizes() -> None:
    x, y = np.array([1 + 0j, 2j, 1 + 1j]), np.array([2j, 2 + 0j, 4 + 4j])
    heat = drawn(x, y, HeatPlan("ratio", ((0, 3),), None, 0, 1, 3))
    np.testing.assert_allclose(heat.values, [[2.0, 1.0, 4.0]])


def test_a_difference_beyond_float64_is_drawn() -> None:
    x, y = np.array([1.5e308, 1.0]), np.array([-1.5e308, 1.5])
    for quantity in ("difference", "signed"):
        heat = drawn(x, y, HeatPlan(quantity, ((0, 2),), None, 0, 1, 2))
        assert heat.filled.all() and heat.peak == (0, 0)
        assert abs(heat.values[0, 0]) > 1e308


def test_default_axes() -> None:
    assert default_axes(()) == (None, None)
    assert default_axes((5,)) == (None, 0)
    assert default_axes((1, 10, 64)) == (1, 2)
    assert default_axes((64, 1, 10)) == (0, 2)
    assert default_axes((1, 1)) == (0, 1)
    assert default_axes((2, 3, 4, 5, 6, 7, 8)) == (5, 6)


def test_an_empty_region_has_no_cells() -> None:
    x = np.zeros((3, 0), np.float32)
    heat = drawn(x, x, HeatPlan("difference", ((0, 3), (0, 0)), 0, 1, 5, 5))
    assert heat.peak is None
    assert heat_text(heat, (3, 0))[-1] == "no elements"


def test_what_was_shown_does_not_change() -> None:
    plan = HeatPlan("difference", ((0, 4),), None, 0, 1, 4)
    x, y = np.zeros(4), np.arange(4.0)
    seen: list[HeatMap] = []

    class Watching(HeatAnalysis):
        def add(self, block: Block) -> None:
            super().add(block)
            seen.append(self.result())

    looked(lambda _, shape: Watching(plan), x, y, block=1)
    assert [heat.filled.sum() for heat in seen] == [1, 2, 3, 4]
    assert [heat.values.max() for heat in seen] == [0, 1, 2, 3]
