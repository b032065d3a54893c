"""Numbers fitted to records: found within the error that is stated."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.capture.values import Array
from layertui.compare.laws.numerics.number_fit import fitted_number, narrowed

ROWS, WIDTH = 40, 64
GRID = np.linspace(-3, 3, 13)


def values(seed: int) -> tuple[Array, Array, Array]:
    random = np.random.default_rng(seed)
    x = random.standard_normal((ROWS, WIDTH)) * np.logspace(-1, 1, ROWS)[:, None]
    return x, 1e-3 * np.abs(x) + 1e-4, random.standard_normal(x.shape)


@settings(max_examples=30, deadline=None)
@given(true=st.floats(-2.5, 2.5), seed=st.integers(0, 30))
def test_a_number_is_found_within_its_error(true: float, seed: int) -> None:
    x, spread, noise = values(seed)
    found = fitted_number(lambda p: np.exp(p) * x, np.exp(true) * x + spread * noise, spread, GRID)
    assert found is not None
    assert abs(found.value - true) <= 6 * found.error
    assert found.error < 1e-3


@settings(max_examples=30, deadline=None)
@given(true=st.floats(-2, 2), seed=st.integers(0, 30))
def test_a_number_that_is_not_linear_is_found(true: float, seed: int) -> None:
    x, _, noise = values(seed)
    found = fitted_number(
        lambda p: np.tanh(x * 2.0**p), np.tanh(x * 2.0**true) + 1e-3 * noise,
        np.full_like(x, 1e-3), GRID,
    )  # fmt: skip
    assert found is not None
    assert abs(found.value - true) <= 6 * found.error
    assert found.error < 5e-3


@settings(max_examples=20, deadline=None)
@given(scatter=st.floats(0.01, 0.3), seed=st.integers(0, 20))
def test_rows_that_disagree_make_a_number_unsure(scatter: float, seed: int) -> None:
    """An error that is common to a row counts once, not once for each of its elements."""
    x, spread, noise = values(seed)
    own = 1.0 + scatter * np.random.default_rng(seed + 50).standard_normal((ROWS, 1))
    found = fitted_number(lambda p: p * x, own * x + spread * noise, spread, GRID)
    assert found is not None
    assert abs(found.value - 1) <= 6 * found.error
    assert found.error > 0.03 * scatter


def test_what_does_not_depend_on_a_number_says_nothing_of_it() -> None:
    x, spread, _ = values(0)
    found = fitted_number(lambda _: x, x, spread, GRID)
    assert found is not None and np.isinf(found.error)
    assert fitted_number(lambda _: None, x, spread, GRID) is None


def test_what_is_not_finite_is_left_out() -> None:
    x, spread, noise = values(1)
    y = 1.5 * x + spread * noise
    y[3, 4], y[5] = np.nan, np.inf
    found = fitted_number(lambda p: p * x, y, spread, GRID)
    assert found is not None and abs(found.value - 1.5) <= 6 * found.error


@settings(max_examples=40, deadline=None)
@given(true=st.floats(-10, 10))
def test_the_least_place_between_two_is_found(true: float) -> None:
    assert abs(narrowed(lambda p: (p - true) ** 2, -11.0, 11.0) - true) < 1e-5
