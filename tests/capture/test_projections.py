"""The summary of a tensor that depends on where its elements stand."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.capture.projections import (
    BINS,
    ROWS,
    WIDTH,
    Projections,
    axis_sums,
    digest_of,
    distance,
    part_of_axis,
    read_summary,
    summary_of,
)


def estimate(x: np.ndarray, y: np.ndarray) -> float:
    """The relative L2 by the summaries of two arrays."""
    ours, theirs = read_summary(summary_of(x)), read_summary(summary_of(y))
    assert ours is not None and theirs is not None
    return distance(ours[0], theirs[0]) / float(np.linalg.norm(x.astype(np.float64)))


def relative(x: np.ndarray, y: np.ndarray) -> float:
    x = x.astype(np.float64)
    return float(np.linalg.norm(y - x) / np.linalg.norm(x))


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**6), size=st.sampled_from([(3, 40), (1, 10, 64), (16, 576), (700,)]),
    heavy=st.booleans(), few=st.booleans(), place=st.sampled_from(["all", "token", "channel"]),
)  # fmt: skip
def test_the_estimate_is_within_a_fifth_of_the_true_error(
    seed: int, size: tuple[int, ...], heavy: bool, few: bool, place: str
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(size)
    if heavy:
        x *= np.exp(2 * rng.standard_normal(size))
    apart = rng.standard_normal(size)
    if few:
        apart *= rng.random(size) < 0.05
        apart.reshape(-1)[0] = 1.0
    if place == "token":
        apart.reshape(-1, size[-1])[1:] = 0
    elif place == "channel":
        apart[..., 1:] = 0
    apart *= 1e-3 * np.linalg.norm(x) / np.linalg.norm(apart)
    single, changed = x.astype(np.float32), (x + apart).astype(np.float32)
    assert estimate(single, changed) == pytest.approx(relative(single, changed), rel=0.2)


def test_elements_in_another_place_are_seen() -> None:
    x = np.random.default_rng(1).standard_normal((1, 12, 8, 16)).astype(np.float32)
    halves = x.reshape(1, 12, 8, 2, 8).swapaxes(3, 4).reshape(x.shape)
    for moved in (x[:, :, ::-1], np.roll(x, 1, 1), halves):
        assert estimate(x, moved) == pytest.approx(relative(x, moved), rel=0.2)


def test_shapes_of_one_order_have_one_summary() -> None:
    x = np.random.default_rng(1).standard_normal((2, 5, 12)).astype(np.float32)
    assert summary_of(x)["values"] == summary_of(x.reshape(10, 3, 4))["values"]


def test_pieces_add_up_wherever_they_are_cut() -> None:
    x = np.random.default_rng(1).standard_normal(700_000).astype(np.float32)
    whole, parts = Projections(), Projections()
    whole.add(x, 0)
    for start in range(0, x.size, 99_999):
        parts.add(x[start : start + 99_999], start)
    np.testing.assert_allclose(parts.sums, whole.sums, rtol=1e-9, atol=1e-9)


def test_what_is_drawn_stays_the_same() -> None:
    """Captures of different versions are compared: another draw needs another `VERSION`."""
    sums = Projections()
    sums.add(np.arange(1000, dtype=np.float64), 0)
    assert sums.sums[0, :4].tolist() == DRAWN


DRAWN = [2774.0, -1969.0, -1888.0, -1153.0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_counts_as_zero(bad: float) -> None:
    x = np.random.default_rng(1).standard_normal((4, 9))
    x[1, 2] = 0
    y = x.copy()
    y[1, 2] = bad
    assert summary_of(x) == summary_of(y)


def test_sums_along_axes_say_where() -> None:
    x = np.zeros((3, 100, 7))
    x[1, 40, 2] = 5.0
    first, second, third = axis_sums(x)
    assert first.tolist() == [0, 5, 0]
    assert third.tolist() == [0, 0, 5, 0, 0, 0, 0]
    assert len(second) == BINS
    low, high = part_of_axis(int(second.argmax()), 100)
    assert low <= 40 < high


@settings(deadline=None)
@given(st.integers(1, 200))
def test_parts_of_an_axis_cover_it(size: int) -> None:
    sums = axis_sums(np.ones((size, 2)))[0]
    spans = [part_of_axis(part, size) for part in range(len(sums))]
    assert [high - low for low, high in spans] == (sums / 2).tolist()
    assert spans[0][0] == 0 and spans[-1][1] == size


@pytest.mark.parametrize("values", [np.zeros((0, 3)), np.float32(3.0), np.ones(4, np.complex64)])
def test_any_shape_has_a_summary(values: Any) -> None:
    assert read_summary(summary_of(np.asarray(values))) is not None


GOOD = summary_of(np.ones((3, 4)))
LONG = base64.b64encode(np.zeros(ROWS * WIDTH * 2, "<f4").tobytes()).decode()
NAN = base64.b64encode(np.full(ROWS * WIDTH, np.nan, "<f4").tobytes()).decode()


@pytest.mark.parametrize(
    "found",
    [
        None, 3, "text", [], {}, {**GOOD, "version": 99}, {**GOOD, "values": LONG},
        {**GOOD, "values": "?"}, {**GOOD, "values": 7}, {**GOOD, "values": NAN},
        {**GOOD, "values": GOOD["values"][:-8]}, {**GOOD, "axes": "none"},
    ],
)  # fmt: skip
def test_a_damaged_summary_is_none(found: object) -> None:
    assert read_summary(found) is None


def test_damaged_sums_along_axes_are_left_out() -> None:
    found = read_summary({**GOOD, "axes": ["?", LONG]})
    assert found is not None and found[1] == []


def test_a_hash_is_of_the_bytes_and_the_dtype() -> None:
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert digest_of((x,), "float32") == digest_of((x[:1], x[1:]), "float32")
    assert digest_of((x,), "float32") != digest_of((x,), "int32")
    assert digest_of((x,), "float32") != digest_of((x[::-1],), "float32")
