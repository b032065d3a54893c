"""Differences along axes, against plain sums."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.compare.inspection import axes
from layertui.compare.inspection.axes import AxesAnalysis, AxisRanking
from layertui.compare.inspection.top_text import axes_text, axis_rows
from support.looking import looked


def along(
    x: np.ndarray, y: np.ndarray, heads: int | None = None, block: int = 1 << 17
) -> tuple[AxisRanking, ...]:
    return looked(lambda _, shape: AxesAnalysis(shape, heads), x, y, block=block)


def plain(d: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """RMS over finite differences, and how many are not, for every index of an axis."""
    moved = np.moveaxis(d, axis, 0).reshape(d.shape[axis], -1)
    fine = np.isfinite(moved)
    squares = np.where(fine, moved, 0.0) ** 2
    counts = np.maximum(fine.sum(axis=1), 1)
    return np.sqrt(squares.sum(axis=1) / counts), (~fine).sum(axis=1)


@given(st.integers(0, 2**32), st.lists(st.integers(1, 5), min_size=1, max_size=5),
       st.sampled_from([1, 4, 30, 1 << 17]), st.booleans())  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_every_axis(seed: int, sizes: list[int], block: int, holes: bool) -> None:
    rng = np.random.default_rng(seed)
    x, y = (rng.standard_normal(sizes) for _ in "xy")
    if holes:
        y[rng.random(sizes) < 0.2] = np.nan
    rankings = along(x, y, block=block)
    assert [one.axis for one in rankings] == list(range(len(sizes)))
    for one in rankings:
        rms, odd = plain(y - x, one.axis)
        np.testing.assert_allclose(one.rms, rms, rtol=1e-12)
        assert list(one.odd) == odd.tolist()
        wanted = sorted(range(one.size), key=lambda at: (-one.odd[at], -one.rms[at], at))
        assert list(one.order) == wanted
    assert axes_text(rankings)


@pytest.mark.parametrize("block", [1, 5, 24, 1 << 17])
def test_one_bad_head_is_seen(block: int) -> None:
    x = np.zeros((3, 24), np.float32)
    y = x.copy()
    y[:, 12:18] = 0.5
    ranking = along(x, y, heads=4, block=block)[-1]
    assert ranking.groups == 4 and ranking.title == "4 heads of axis 1"
    assert ranking.order[0] == 2 and ranking.rms == (0.0, 0.0, 0.5, 0.0)
    assert ranking.concentration == (2, 1.0)
    assert ranking.label(2) == "12:18"


def test_heads_that_do_not_divide_the_axis_are_left_out() -> None:
    x = np.zeros((3, 10), np.float32)
    assert len(along(x, x, heads=4)) == 2


@pytest.mark.parametrize("block", [7, 64, 1 << 17])
def test_long_axes_are_ranked_in_ranges(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(axes, "MOST_PLACES", 10)
    x = np.zeros((2, 95), np.float32)
    y = x.copy()
    y[1, 94] = 3.0
    y[0, 11] = np.nan
    (_, ranking) = along(x, y, block=block)
    assert ranking.step == 10 and len(ranking.rms) == 10
    assert ranking.label(ranking.order[0]) == "10:20" and ranking.odd[1] == 1
    assert ranking.label(ranking.order[1]) == "90:95"
    np.testing.assert_allclose(ranking.rms[9], np.sqrt(9 / 10))


def test_squares_that_leave_float64_do_not_stop_the_list() -> None:
    x = np.zeros((2, 3))
    y = x.copy()
    y[1, 2] = 1e200
    rankings = along(x, y)
    assert rankings[0].order[0] == 1
    assert "nan" not in "\n".join(axes_text(rankings))
    assert axis_rows(rankings[0], 5)[0][0] == "1"


def test_nan_on_both_sides_is_no_difference() -> None:
    x = np.array([[np.nan, 1.0], [2.0, np.inf]])
    rankings = along(x, x)
    assert all(set(one.odd) == {0} and set(one.rms) == {0.0} for one in rankings)
    assert rankings[0].concentration is None


def test_a_scalar_has_no_axis_and_an_empty_one_no_places() -> None:
    assert along(np.array(1.0), np.array(2.0)) == ()
    empty = np.empty((0, 3), np.float32)
    first, second = along(empty, empty)
    assert first.rms == () and first.order == () and second.rms == (0.0,) * 3
    assert first.concentration is None
    assert axes_text((first, second))


def test_complex_and_whole_numbers() -> None:
    (ranking,) = along(np.array([0j, 3 + 4j]), np.array([0j, 0j]))
    assert ranking.rms == (0.0, 5.0)
    x = np.array([2**62, -(2**63)], np.int64)
    (ranking,) = along(x, x + np.array([1, 0]))
    assert ranking.rms == (1.0, 0.0)
