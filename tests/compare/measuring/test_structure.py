"""The structure of a difference, against sums written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from layertui.compare.measuring.bounded_sample import Sample
from layertui.compare.measuring.error_structure import structure_of
from layertui.compare.measuring.even_sample import even_sums, even_sums_by_numpy, weights
from layertui.compare.measuring.kernel import NO_KERNEL, instruction_sets

Array = NDArray[np.float64]


def sample_of(x: Array, y: Array) -> Sample:
    return Sample(x, y, np.arange(x.shape[0]), np.arange(x.shape[1]), x.shape)


def noisy(seed: int, rows: int = 24, channels: int = 32, size: float = 1e-3) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, channels))
    return x, x + size * rng.standard_normal(x.shape)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(5, 40), st.integers(4, 40))
def test_the_plain_numbers_are_those_of_the_formulas(seed: int, rows: int, channels: int) -> None:
    x, y = noisy(seed, rows, channels)
    found = structure_of(sample_of(x, y))
    assert found is not None
    scale = (x * y).sum() / (x * x).sum()
    assert found.error == pytest.approx(np.linalg.norm(y - x) / np.linalg.norm(x))
    assert found.scale == pytest.approx(scale, rel=1e-12)
    weight = weights(x)
    assert found.even_error == pytest.approx(
        np.linalg.norm((y - x) * weight) / np.linalg.norm(x * weight)
    )
    if x.size >= 512:  # float64: nothing is rounded
        assert found.distinct == (len(np.unique(np.abs(x))), len(np.unique(np.abs(y))))
    assert found.blocked == (0, 0)


SIZES = st.sampled_from([1e-30, 1e-6, 1.0, 1e6, 1e30])
needs_kernel = pytest.mark.skipif(not instruction_sets(), reason="installed without a compiler")


@needs_kernel
@example(837, 24, 1, 1e-30, 0.97, "float16")  # one number that is not 0: what is left is rounding
@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 70), st.integers(1, 70), SIZES,
    st.sampled_from([0.0, 0.3, 0.97]), st.sampled_from(["float64", "float16", "whole"]),
)  # fmt: skip
def test_compiled_sums_of_a_sample_are_those_of_numpy(
    seed: int, rows: int, channels: int, size: float, zeros: float, grid: str
) -> None:
    """Massive rows and channels, ties, zeros and any number of either."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, channels))
    x[rng.integers(rows)] *= 50
    x[:, rng.integers(channels)] *= 30
    x[rng.random(x.shape) < zeros] = 0.0
    if grid != "float64":
        x = x.astype(np.float16).astype(np.float64) if grid == "float16" else np.rint(x)
    y = size * (x + 0.01 * rng.standard_normal(x.shape) * np.abs(x))
    x *= size
    assert_same_sums(x, y)


@needs_kernel
@pytest.mark.parametrize(
    "shape", [(1, 4097), (4, 300), (5, 8), (17, 1025), (400, 16), (330, 3), (3000, 1)]
)
def test_compiled_sums_of_samples_of_every_shape(shape: tuple[int, int]) -> None:
    """More values left out than are kept in order (over 32), and rows in several groups."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape)
    assert_same_sums(x, x * (1 + 0.01 * rng.standard_normal(shape)))
    assert_same_sums(x, x)
    x[rng.integers(shape[0], size=9), rng.integers(shape[1], size=9)] = 300.0
    assert_same_sums(x, x * (1 + 0.01 * rng.standard_normal(shape)))  # channels made larger by one


@pytest.mark.parametrize("kernel", ["", "1"])
@pytest.mark.parametrize("factor", [2.0, 1.5, -1.0, 3.0])  # whose d is exact
def test_an_exact_multiple_has_no_structure_but_its_factor(
    factor: float, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left after the factor: what rounding leaves of nothing is no scale of rows."""
    monkeypatch.setenv(NO_KERNEL, kernel)
    x = np.random.default_rng(1).standard_normal((43, 84)).astype(np.float32).astype(np.float64)
    found = structure_of(sample_of(x, factor * x))
    assert found is not None and found.scale == factor
    for part in (found.row_scale, found.channel_scale, found.channel_offset):
        assert part is not None and part.mean < 3


_PLAIN = {"rows": (), "channels": (3, 4), "groups": (0, 1)}  # what `EvenSums` has no squares of


def assert_same_sums(x: Array, y: Array) -> None:
    with np.errstate(all="ignore"):
        want = even_sums_by_numpy(x, y)
    for instructions in instruction_sets():
        found = even_sums(x, y, instructions)
        assert found.group_size == want.group_size
        for name in ("rows", "channels", "groups"):
            mine, other = getattr(found, name), getattr(want, name)
            squares = np.abs(want.rows[0]).sum() + np.abs(want.rows[1]).sum()
            scale = np.abs(other).max(axis=1, keepdims=True)
            for number in range(len(other)):  # sums of numbers, and of their squares
                scale[number] += squares**0.5 if number in _PLAIN[name] else squares
            scale = np.where(scale > 0, scale, 1.0)  # all zeros: and so must be the other
            assert np.array_equal(np.isnan(mine), np.isnan(other))
            assert mine.shape == other.shape
            np.testing.assert_allclose(mine / scale, other / scale, rtol=0, atol=1e-11)


def test_a_factor_of_every_row_is_its_own_and_noise_has_none() -> None:
    x, y = noisy(1)
    factors = 1 + 0.01 * np.random.default_rng(2).standard_normal((len(x), 1))
    plain, scaled = structure_of(sample_of(x, y)), structure_of(sample_of(x, x * factors))
    assert plain is not None and plain.row_scale is not None
    assert scaled is not None and scaled.row_scale is not None
    assert plain.row_scale.mean < 2 < 100 < scaled.row_scale.mean
    assert scaled.row_scale.size == pytest.approx(scaled.error, rel=0.05)


def test_an_offset_stands_at_its_channel() -> None:
    x, y = noisy(3)
    y[:, 17] += 0.5
    found = structure_of(sample_of(x, y))
    assert found is not None and found.channel_offset is not None
    assert found.channel_offset.top_at == 17
    assert found.channel_error[2] == 17


@pytest.mark.parametrize("size", [30.0, 300.0])
def test_a_channel_that_answers_to_one_token_is_as_coarse_as_its_weights_are_large(
    size: float,
) -> None:
    """What makes a massive activation: the other tokens cancel in this channel, and what their
    inputs are off by does not.
    """
    rng = np.random.default_rng(4)
    inputs, weight = rng.standard_normal((48, 64)), rng.standard_normal((32, 64)) / 8
    alone = np.eye(48)[0]
    weight[5] = size * np.linalg.lstsq(inputs, alone, rcond=None)[0]
    x = inputs @ weight.T
    y = (inputs + 0.01 * rng.standard_normal(inputs.shape)) @ weight.T
    found = structure_of(sample_of(x, y))
    assert found is not None
    middle, worst, _ = found.channel_error
    assert found.even_error < 2 * middle
    assert worst < 10 * middle
    y[1:, 5] += 0.2 * size
    found = structure_of(sample_of(x, y))
    assert found is not None
    assert found.channel_error[2] == 5 and found.channel_error[1] > 50 * middle


def test_values_clamped_are_counted_and_chance_is_not() -> None:
    x, _ = noisy(4)
    limit = float(np.quantile(np.abs(x), 0.95))
    clamped = structure_of(sample_of(x, x.clip(-limit, limit)))
    assert clamped is not None
    assert clamped.saturated == np.count_nonzero(np.abs(x) > 1.02 * limit)
    assert type(clamped.saturated) is int  # the cache keeps Python's numbers
    # The greatest value twice by rounding, and others of the reference beyond it elsewhere.
    other = 0.8 * np.random.default_rng(5).standard_normal(x.shape)
    other = other.clip(-1.5, 1.5)
    other[0, :2], x[0, :2] = 1.5, 2.0
    unrelated = structure_of(sample_of(x, other))
    assert unrelated is not None and unrelated.saturated < 10


@pytest.mark.parametrize("blocked", [-np.inf, float(np.finfo(np.float32).min), -1e9])
def test_what_a_mask_blocks_is_left_out(blocked: float) -> None:
    x, y = noisy(6)
    upper = np.triu(np.ones(x.shape, bool), 1)
    plain = structure_of(sample_of(np.where(upper, 0.0, x), np.where(upper, 0.0, y)))
    x[upper], y[upper] = blocked, -np.inf
    y[3, 2] = -np.inf  # one place more
    found = structure_of(sample_of(x, y), mask=True)
    assert found is not None and plain is not None
    assert found.blocked == (np.count_nonzero(upper) + 1, 1)
    assert found.error == pytest.approx(plain.error, rel=0.2)


def test_nan_and_inf_are_left_out_and_too_few_numbers_have_no_structure() -> None:
    x, y = noisy(7)
    y[0, 0], x[1, 1], y[2, 2] = np.nan, np.inf, np.inf
    found = structure_of(sample_of(x, y))
    assert found is not None and np.isfinite(found.error)
    assert structure_of(sample_of(np.full((4, 4), np.nan), np.ones((4, 4)))) is None
    assert structure_of(sample_of(np.zeros((8, 8)), np.ones((8, 8)))) is None


def test_a_coarser_dtype_is_no_grid_of_its_own() -> None:
    """The reference is counted as it would be in the candidate's dtype."""
    x, _ = noisy(8, 32, 64)
    coarse = np.asarray(torch.from_numpy(x).bfloat16().float(), np.float64)
    found = structure_of(sample_of(x.astype(np.float32).astype(np.float64), coarse))
    assert found is not None and found.bits == (23, 7)
    assert found.distinct[0] == found.distinct[1] < len(np.unique(np.abs(x))) / 2
    step = np.abs(x).max() / 127
    grid = structure_of(sample_of(x, np.rint(x / step) * step))
    assert grid is not None and grid.distinct[0] > 5 * grid.distinct[1]
