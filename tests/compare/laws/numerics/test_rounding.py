"""Grids that values lie on, and the error that rounding to them makes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from layertui.compare.laws.numerics.rounding import (
    ROUNDED,
    STILL,
    Jitter,
    on_grid,
    rounded_away,
    spread_of,
    truncated,
    unit_of,
    worked_on,
)

UNITS = {torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
# Away from where the exponents of a dtype end, which grids here do not have.
FLOATS = st.floats(2.0**-8, 2.0**8, width=64) | st.floats(-(2.0**8), -(2.0**-8), width=64)
ARRAYS = arrays.arrays(np.float64, 32, elements=FLOATS | st.just(0.0))


def normal(count: int = 4096, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(count)


@pytest.mark.parametrize(("dtype", "unit"), UNITS.items())
@settings(max_examples=60, deadline=None)
@given(values=ARRAYS)
def test_a_grid_is_that_of_the_dtype(dtype: torch.dtype, unit: float, values: np.ndarray) -> None:
    """Halves to even, as torch and every processor have it. torch makes narrow numbers of float64
    by way of float32, which is another number where the two roundings meet.
    """
    if dtype.itemsize < torch.float32.itemsize:
        values = values.astype(np.float32).astype(np.float64)
    wanted = torch.from_numpy(values).to(dtype).double().numpy()
    np.testing.assert_array_equal(on_grid(values, unit), wanted)


@settings(max_examples=60, deadline=None)
@given(values=ARRAYS, bits=st.integers(3, 30))
def test_ways_of_rounding_stay_within_a_step(values: np.ndarray, bits: int) -> None:
    unit = 2.0**-bits
    nearest, away, cut = (f(values, unit) for f in (on_grid, rounded_away, truncated))
    size = np.abs(values)
    assert (np.abs(nearest - values) <= unit * size).all()
    assert (np.abs(away - values) <= unit * size).all()
    assert (np.abs(cut) <= size).all() and (np.abs(cut - values) < 2 * unit * size + 1e-300).all()
    for rounded in (nearest, away, cut):
        np.testing.assert_array_equal(on_grid(rounded, unit), rounded)
        np.testing.assert_array_equal(np.sign(rounded), np.sign(values))


def test_halves_go_to_even_or_away() -> None:
    values = np.array([1.25, 1.75, -1.25, 2.5, 3.5])  # between numbers of two bits
    assert on_grid(values, 0.25).tolist() == [1.0, 2.0, -1.0, 2.0, 4.0]
    assert rounded_away(values, 0.25).tolist() == [1.5, 2.0, -1.5, 3.0, 4.0]
    assert truncated(values, 0.25).tolist() == [1.0, 1.5, -1.0, 2.0, 3.0]


def test_what_is_not_finite_stays() -> None:
    values = np.array([np.inf, -np.inf, np.nan, 0.0])
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(on_grid(values, 2.0**-8), values)


@pytest.mark.parametrize(("dtype", "unit"), UNITS.items())
def test_the_grid_of_values_is_found_in_wider_records(dtype: torch.dtype, unit: float) -> None:
    values = torch.from_numpy(normal()).to(dtype).double().numpy()
    assert unit_of(values, "float32") == unit
    assert unit_of(values, str(dtype).removeprefix("torch.")) == unit


def test_a_grid_is_no_finer_than_the_dtype_and_not_told_from_a_few_values() -> None:
    assert unit_of(normal(), "bfloat16") == 2.0**-8
    assert unit_of(np.ones(4096), "float32") == 2.0**-24  # of so few bits that they say nothing
    assert unit_of(torch.from_numpy(normal(32)).bfloat16().double().numpy(), "float32") == 2.0**-24
    assert unit_of(np.zeros(4096), "float16") == 2.0**-11


def test_a_few_other_values_do_not_hide_a_grid() -> None:
    values = torch.from_numpy(normal()).bfloat16().double().numpy()
    values[7] = np.pi
    assert unit_of(values, "float32") == 2.0**-8
    values[::2] = normal(2048, 1)
    assert unit_of(values, "float32") == 2.0**-24


@pytest.mark.parametrize("unit", UNITS.values())
def test_the_standard_deviation_of_rounding_is_as_predicted(unit: float) -> None:
    values = np.exp(np.random.default_rng(1).uniform(0, 8 * np.log(2), 20000))
    error = (on_grid(values, unit) - values) / values
    assert error.std() == pytest.approx(ROUNDED * unit, rel=0.15)
    moved = Jitter(0)(values, unit)
    away = (moved - values) / values
    assert away.std() == pytest.approx(ROUNDED * unit, rel=0.03)
    assert abs(away.mean()) < 4 * ROUNDED * unit / len(away) ** 0.5


def test_nothing_moves_that_is_not_rounded() -> None:
    values = normal()
    assert Jitter(0)(values, 0.0) is values
    assert STILL.still and STILL(values, 2.0**-8) is values


def test_spread_has_the_sizes_of_rows_and_channels() -> None:
    random = np.random.default_rng(2)
    sizes = np.outer(np.logspace(-0.5, 0.5, 40), np.logspace(0.5, -0.5, 64))
    value = sizes * random.standard_normal(sizes.shape)
    moved = [value + 1e-3 * sizes * random.standard_normal(sizes.shape) for _ in range(2)]
    spread = spread_of(value, moved, 0.0)
    assert np.median(spread / (1e-3 * sizes)) == pytest.approx(1, abs=0.1)
    assert (np.abs(np.log(spread / (1e-3 * sizes))) < 0.7).all()
    assert not spread_of(np.zeros((3, 4)), [np.zeros((3, 4))], 2.0**-8).any()


@pytest.mark.parametrize("shape", [(1, 5), (3, 40), (40, 3000), (2, 40_000)])
@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_a_spread_is_that_of_its_row_times_that_of_its_channel(
    shape: tuple[int, int], kind: type
) -> None:
    random = np.random.default_rng(1)
    value = random.standard_normal(shape) * np.geomspace(1, 100, shape[0])[:, None]
    moved = [(value * (1 + 1e-3 * random.standard_normal(shape))).astype(kind) for _ in range(2)]
    squares = np.square(ROUNDED * 2.0**-8 * value)
    squares += np.mean([np.square(one - value) for one in moved], axis=0)
    wanted = squares.mean(1, keepdims=True) * squares.mean(0) / squares.mean()
    found = spread_of(value, moved, 2.0**-8)
    np.testing.assert_allclose(found, np.sqrt(wanted), rtol=1e-12)


def test_of_nothing_there_is_no_spread() -> None:
    assert not spread_of(np.zeros((3, 4)), [], 2.0**-8).any()


def test_errors_of_coarse_units_are_drawn_in_float32() -> None:
    assert worked_on(normal(), 2.0**-8, 2.0**-11).dtype == np.float32
    assert worked_on(normal(), 2.0**-8, 2.0**-24).dtype == np.float64
