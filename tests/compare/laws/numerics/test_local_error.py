"""Local errors: in units of the rounding that is predicted, and no median hides a single fault."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.capture.values import Array
from layertui.compare.laws.law import Case, Prediction
from layertui.compare.laws.numerics.local_error import LocalError, local_error, row_ratios
from layertui.compare.laws.numerics.rounding import ROUNDED, on_grid

ROWS, WIDTH, HEADS = 40, 96, 6
UNIT = 2.0**-8


def predicted(seed: int = 0) -> tuple[Array, Array]:
    """Values whose rows and channels differ by orders of magnitude, and their spread."""
    random = np.random.default_rng(seed)
    value = random.standard_normal((ROWS, WIDTH))
    value *= np.logspace(-3, 2, ROWS)[:, None] * np.logspace(0.5, -0.5, WIDTH)
    return value, ROUNDED * UNIT * np.abs(value)


def errors(y: Array, value: Array, spread: Array, groups: int = HEADS) -> LocalError:
    case = Case("candidate", y, np.arange(len(y)), {}, {"output": UNIT})
    return local_error(case, Prediction(value, spread), groups)


def signs(count: int) -> Array:
    return np.where(np.random.default_rng(3).random(count) < 0.5, -1.0, 1.0)


def recorded(seed: int = 1) -> Array:
    value, spread = predicted()
    return value + spread * np.random.default_rng(seed).standard_normal(value.shape)


# Units


@pytest.mark.parametrize("unit", [2.0**-8, 2.0**-11, 2.0**-24])
def test_one_rounding_to_nearest_is_one_unit(unit: float) -> None:
    value, _ = predicted()
    error = errors(on_grid(value, unit), value, ROUNDED * unit * np.abs(value))
    assert error.ratio == pytest.approx(1, abs=0.25)
    assert error.total == pytest.approx(1, abs=0.25)
    assert error.middle_channel == pytest.approx(1, abs=0.25)
    assert error.row.ratio < 1.8 and error.channel.ratio < 2 and error.group.ratio < 1.4


@settings(max_examples=40, deadline=None)
@given(times=st.floats(0.01, 1e6), power=st.integers(-100, 100))
def test_errors_are_measured_in_units_whatever_the_size(times: float, power: int) -> None:
    value, spread = predicted()
    noise = np.random.default_rng(2).standard_normal(value.shape)
    value, spread = value * 2.0**power, spread * 2.0**power
    error = errors(value + times * spread * noise, value, spread)
    once = errors(value + spread * noise, value, spread)
    # What is subtracted from the record has the rounding of float64.
    for of in ("ratio", "total", "middle_channel"):
        assert getattr(error, of) == pytest.approx(times * getattr(once, of), rel=1e-6)
    assert error.row.ratio == pytest.approx(times * once.row.ratio, rel=1e-6)


def test_what_is_exact_has_no_error() -> None:
    value, spread = predicted()
    error = errors(value, value, spread)
    assert (error.ratio, error.total, error.row.ratio, error.channel.ratio) == (0, 0, 0, 0)
    assert (error.gain, error.offset, error.bad) == (1, 0, 0)


def test_an_error_where_none_is_predicted_counts() -> None:
    value, _ = predicted()
    error = errors(value + 1e-9, value, np.zeros_like(value))
    assert error.ratio > 1e3 and error.row.ratio > 1e3


def test_relative_is_of_the_record() -> None:
    value, spread = predicted()
    error = errors(value * 1.01, value, spread)
    assert error.relative == pytest.approx(0.01 / 1.01, rel=1e-6)


# Single ones


@settings(max_examples=30, deadline=None)
@given(at=st.integers(0, ROWS - 1), size=st.floats(20, 1e4))
def test_one_bad_row_shows(at: int, size: float) -> None:
    y = recorded()
    value, spread = predicted()
    y[at] = value[at] + size * spread[at] * signs(WIDTH)
    error = errors(y, value, spread)
    assert error.row.at == at and error.row.ratio == pytest.approx(size)
    assert error.ratio < 1.3  # the median does not see it: `row` has to


@settings(max_examples=30, deadline=None)
@given(at=st.integers(0, WIDTH - 1), size=st.floats(20, 1e4))
def test_one_bad_channel_shows(at: int, size: float) -> None:
    y = recorded()
    value, spread = predicted()
    y[:, at] = value[:, at] + size * spread[:, at] * signs(ROWS)
    error = errors(y, value, spread)
    assert error.channel.at == at and error.channel.ratio == pytest.approx(size)
    assert error.middle_channel < 1.3


@settings(max_examples=30, deadline=None)
@given(at=st.integers(0, HEADS - 1), size=st.floats(3, 1e3))
def test_one_bad_head_shows(at: int, size: float) -> None:
    y = recorded()
    value, spread = predicted()
    own = slice(at * 16, (at + 1) * 16)
    y[:, own] = value[:, own] + size * spread[:, own] * signs(16)
    error = errors(y, value, spread)
    assert error.group.at == at and error.group.ratio == pytest.approx(size)


def test_one_small_bad_channel_is_not_hidden_by_a_large_one() -> None:
    """Every channel is measured by its own rounding: channel 90 is 8 times smaller than 5."""
    y = recorded()
    value, spread = predicted()
    y[:, 90] += 30 * spread[:, 90]
    error = errors(y, value, spread)
    assert error.channel.at == 90
    assert np.abs(value[:, 90]).mean() < np.abs(value[:, 5]).mean() / 5


def test_one_small_bad_row_is_not_hidden_by_a_large_one() -> None:
    y = recorded()
    value, spread = predicted()
    y[1] += 30 * spread[1]
    assert errors(y, value, spread).row.at == 1


def test_groups_that_do_not_fit_are_no_groups() -> None:
    value, spread = predicted()
    assert errors(recorded(), value, spread, groups=1).group.ratio == 0
    assert errors(recorded(), value, spread, groups=7).group.at == 0


# A common factor


@settings(max_examples=30, deadline=None)
@given(factor=st.floats(0.9, 1.1), seed=st.integers(0, 20))
def test_a_common_factor_is_found_within_its_error(factor: float, seed: int) -> None:
    value, spread = predicted()
    noise = np.random.default_rng(100 + seed).standard_normal(value.shape)
    error = errors(factor * value + spread * noise, value, spread)
    assert abs(error.gain - factor) <= 6 * error.gain_error
    assert error.gain_error < 2e-4


def test_errors_that_are_alike_within_a_row_are_no_sure_factor() -> None:
    """Each row has a factor of its own: what they have in common is as unsure as they differ."""
    value, spread = predicted()
    own = 1 + 0.05 * np.random.default_rng(4).standard_normal((ROWS, 1))
    error = errors(value * own, value, spread)
    assert abs(error.gain - 1) < 4 * error.gain_error
    assert error.gain_error == pytest.approx(0.05 / ROWS**0.5, rel=0.5)


@pytest.mark.parametrize("count", [1, 4])
def test_rows_that_are_repeated_are_counted_once(count: int) -> None:
    """An embedding of one id again and again: each row has the same errors."""
    value, spread = predicted()
    y = recorded()
    again = np.arange(ROWS) % count
    repeated = errors(y[again], value[again], spread[again])
    gain = abs(repeated.gain - 1)
    assert gain < 4 * repeated.gain_error
    factor = errors(1.5 * y[again], value[again], spread[again])
    assert abs(factor.gain - 1) > 20 * factor.gain_error


def test_an_offset_of_all_elements_is_significant() -> None:
    value, spread = predicted()
    shifted = errors(recorded() + 0.3 * spread, value, spread)
    assert shifted.offset > 10 > 4 > errors(recorded(), value, spread).offset


def test_factors_of_terms_are_told_apart() -> None:
    random = np.random.default_rng(5)
    a, b = random.standard_normal((2, ROWS, WIDTH)) * np.array([1.0, 100.0])[:, None, None]
    value = a + b
    spread = ROUNDED * UNIT * np.abs(value)
    y = 0.5 * a + b + spread * random.standard_normal(value.shape)
    case = Case("candidate", y, np.arange(ROWS), {}, {"output": UNIT})
    error = local_error(case, Prediction(value, spread, {"a": a, "b": b}))
    half, whole = error.terms
    assert (half.name, whole.name) == ("a", "b")
    assert abs(half.factor - 0.5) < 6 * half.error < 0.2
    assert abs(whole.factor - 1) < 6 * whole.error < 0.01


# What is not finite


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_counted_and_hides_nothing(bad: float) -> None:
    y = recorded()
    value, spread = predicted()
    y[3, 4] = y[5, 6] = bad
    y[9] += 50 * spread[9]
    error = errors(y, value, spread)
    assert error.bad == 2
    assert error.row.at == 9 and error.row.ratio == pytest.approx(50, rel=0.2)
    assert np.isfinite([error.ratio, error.total, error.gain, error.relative]).all()


def test_what_is_not_finite_on_both_sides_is_no_error() -> None:
    y = recorded()
    value, spread = predicted()
    y[3, 4] = value[3, 4] = -np.inf
    assert errors(y, value, spread).bad == 0


def test_a_record_of_nothing_but_nan_is_bad() -> None:
    value, spread = predicted()
    error = errors(np.full_like(value, np.nan), value, spread)
    assert error.bad == value.size


def test_ratios_of_rows_are_those_that_the_peak_is_of() -> None:
    value, spread = predicted()
    case = Case("candidate", recorded(), np.arange(ROWS), {}, {"output": UNIT})
    ratios = row_ratios(case, Prediction(value, spread))
    error = errors(recorded(), value, spread)
    assert error.row.ratio == pytest.approx(ratios.max())
    assert error.ratio == pytest.approx(np.median(ratios))
