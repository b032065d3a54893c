"""The compiled pass over a weight gives what numpy gives, which stands in where it is missing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.capture.values import Array, upcast
from layertui.compare.laws.linear.fused_products import StoredRows, add_products, padded
from layertui.compare.measuring.kernel import NO_KERNEL, instruction_sets

SETS = instruction_sets()
needs_kernel = pytest.mark.skipif(not SETS, reason="installed without a compiler")
_STORED = {"bfloat16": np.uint16, "float16": np.float16, "float8_e4m3fn": np.uint8}


def _weight(rows: int, inside: int, dtype: str, seed: int) -> Array:
    """Raw elements of ordinary sizes."""
    values = np.random.default_rng(seed).normal(0.0, 0.05, (rows, inside)).astype(np.float32)
    if dtype == "bfloat16":
        return (values.view(np.uint32) >> 16).astype(np.uint16)
    if dtype == "float8_e4m3fn":
        return np.random.default_rng(seed).integers(0, 0x70, (rows, inside), np.uint8)
    return values.astype(_STORED.get(dtype, np.float32))


@needs_kernel
@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 60), st.integers(1, 2600), st.integers(1, 70), st.integers(1, 3),
    st.integers(1, 9), st.sampled_from([*_STORED, "float32"]), st.sampled_from(SETS or ["none"]),
    st.integers(0, 2**20),
)  # fmt: skip
def test_products_and_squares_are_those_of_numpy(
    rows: int, inside: int, columns: int, operands: int, step: int, dtype: str, name: str,
    seed: int,
) -> None:  # fmt: skip
    raw = _weight(rows, inside, dtype, seed)
    random = np.random.default_rng(seed + 1)
    x = random.normal(size=(inside, columns)).astype(np.float32)
    means = random.random((operands, inside)).astype(np.float32)
    telling = seed % step
    wide = upcast(raw, dtype).astype(np.float64)
    columns_of = padded(x)
    value = np.ones((rows, columns_of.shape[1]), np.float32)
    by_channel = np.zeros((rows, operands), np.float32)
    by_input = np.zeros(inside, np.float32)
    stored = StoredRows(raw, dtype, telling, step)
    assert add_products(stored, columns_of, means, (value, by_channel, by_input), name)
    size = np.abs(wide) @ np.abs(x) + 1.0
    assert (np.abs(value[:, :columns] - 1.0 - wide @ x) <= 2e-5 * size).all()
    squares = np.square(wide)
    np.testing.assert_allclose(by_channel, squares @ means.T, rtol=2e-5, atol=1e-12)
    np.testing.assert_allclose(by_input, squares[telling::step].sum(0), rtol=2e-5, atol=1e-12)


@needs_kernel
def test_numbers_that_are_not_finite_stay_so() -> None:
    raw = _weight(7, 40, "float32", 1)
    raw[2, 3], raw[5, 39] = np.nan, np.inf
    x = padded(np.ones((40, 4), np.float32))
    value, by_channel = np.zeros((7, x.shape[1]), np.float32), np.zeros((7, 1), np.float32)
    stored = StoredRows(raw, "float32", 0, 1)
    into = value, by_channel, np.zeros(40, np.float32)
    assert add_products(stored, x, np.ones((1, 40), np.float32), into)
    assert np.isnan(value[2, :4]).all()
    assert np.isinf(value[5, :4]).all()
    assert np.isfinite(np.delete(value, [2, 5], 0)).all()
    assert np.isnan(by_channel[2, 0])


@needs_kernel
@pytest.mark.parametrize("dtype", ["float64", "int8"])
def test_what_it_does_not_know_is_left_to_numpy(dtype: str) -> None:
    raw = np.ones((3, 8), dtype)
    x = padded(np.ones((8, 2), np.float32))
    into = np.zeros((3, x.shape[1]), np.float32), np.zeros((3, 1), np.float32), np.zeros(8, "f4")
    assert not add_products(StoredRows(raw, dtype, 0, 1), x, np.ones((1, 8), "f4"), into)
    assert not into[0].any()


@needs_kernel
def test_a_transposed_weight_is_left_to_numpy() -> None:
    raw = np.ones((8, 3), np.float32).T
    x = padded(np.ones((8, 2), np.float32))
    into = np.zeros((3, x.shape[1]), np.float32), np.zeros((3, 1), np.float32), np.zeros(8, "f4")
    assert not add_products(StoredRows(raw, "float32", 0, 1), x, np.ones((1, 8), "f4"), into)


def test_without_the_kernel_numpy_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NO_KERNEL, "1")
    x = padded(np.ones((8, 2), np.float32))
    assert x.shape == (8, 2)
    into = np.zeros((3, 2), np.float32), np.zeros((3, 1), np.float32), np.zeros(8, "f4")
    stored = StoredRows(np.ones((3, 8), np.float32), "float32", 0, 1)
    assert not add_products(stored, x, np.ones((1, 8), "f4"), into)
