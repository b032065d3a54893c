"""Casts against torch's, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.capture.values import small_float_table
from layertui.compare.recipes.cast import cast
from layertui.compare.recipes.errors import RecipeError

pytestmark = pytest.mark.filterwarnings("error")

NARROW = [
    name
    for name in (
        "bfloat16", "float16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz",
        "float8_e8m0fnu",
    )
    if hasattr(torch, name)
]  # fmt: skip


def as_torch(values: np.ndarray, dtype: str) -> np.ndarray:
    given = torch.from_numpy(values.copy())
    if dtype == "float8_e4m3fn" and given.is_floating_point():
        given = given.clamp(-448, 448)  # older versions of torch give NaN
    return given.to(getattr(torch, dtype)).to(torch.float32).numpy()


def assert_same_bits(ours: np.ndarray, theirs: np.ndarray, values: np.ndarray) -> None:
    assert ours.dtype == np.float32
    both_nan = np.isnan(ours) & np.isnan(theirs)
    wrong = (ours.view(np.uint32) != theirs.view(np.uint32)) & ~both_nan
    assert not wrong.any(), (values[wrong][:5], ours[wrong][:5], theirs[wrong][:5])


def hard_values(dtype: str) -> np.ndarray:
    """All values of the type, the ties between neighbours, their next floats, and the extremes."""
    if dtype in ("bfloat16", "float16"):
        bits = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)
        table = bits.view(getattr(torch, dtype)).float().numpy()
    else:
        table = small_float_table(dtype)
    values = np.unique(table[np.isfinite(table)].astype(np.float64))
    ties = (values[1:] + values[:-1]) / 2
    top = values[-1] + (values[-1] - values[-2]) * np.array([0.25, 0.5, 0.75, 1, 2, 100])
    with np.errstate(over="ignore"):
        exact = np.concatenate([values, ties, top, -top]).astype(np.float32)
    near = [np.nextafter(exact, np.float32(way)) for way in (-np.inf, np.inf)]
    odd = np.array([0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 1e-45, -1e-45, 3.4e38, -3.4e38],
                   np.float32)  # fmt: skip
    patterns = np.array([0x7F800001, 0xFFFFFFFF, 0x7FFFFFFF, 0x00000001, 0x807FFFFF], np.uint32)
    return np.concatenate([exact, *near, odd, patterns.view(np.float32)])


@pytest.mark.parametrize("dtype", NARROW)
def test_every_value_tie_and_neighbour_rounds_as_in_torch(dtype: str) -> None:
    values = hard_values(dtype)
    assert_same_bits(cast(values, dtype), as_torch(values, dtype), values)


@pytest.mark.parametrize("dtype", NARROW)
@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=200))
@settings(max_examples=30, deadline=None)
def test_any_bits_round_as_in_torch(dtype: str, bits: list[int]) -> None:
    values = np.array(bits, np.uint32).view(np.float32)
    assert_same_bits(cast(values, dtype), as_torch(values, dtype), values)


@pytest.mark.parametrize("dtype", NARROW)
def test_float64_and_whole_numbers_round_as_in_torch(dtype: str) -> None:
    rng = np.random.default_rng(3)
    doubles = np.concatenate(
        [
            rng.standard_normal(2000) * 10.0 ** rng.integers(-12, 12, 2000),
            [float(value) * (1 + 2.0**-40) for value in hard_values(dtype)],
            [1e300, -1e300, 1e-300, np.nan, np.inf],
        ]
    )
    assert_same_bits(cast(doubles, dtype), as_torch(doubles, dtype), doubles)
    whole = (
        rng.integers(-(2**40), 2**40, 1000) if dtype != "float8_e4m3fn" else np.arange(-448, 448)
    )
    assert_same_bits(cast(whole, dtype), as_torch(whole, dtype), whole)
    small = np.arange(-600, 600)
    assert_same_bits(cast(small, dtype), as_torch(small, dtype), small)


@pytest.mark.parametrize(
    ("dtype", "greatest"),
    [("float4_e2m1fn", 6.0), ("float6_e2m3fn", 7.5), ("float6_e3m2fn", 28.0)],
)
def test_types_without_inf_and_nan_hold_their_greatest_value(dtype: str, greatest: float) -> None:
    values = np.array([1e6, -1e6, np.inf, -np.inf, greatest], np.float32)
    assert cast(values, dtype).tolist() == [greatest, -greatest, greatest, -greatest, greatest]
    assert np.isnan(cast(np.array([np.nan], np.float32), dtype)).all()


@pytest.mark.parametrize("dtype", NARROW)
def test_any_shape_and_layout(dtype: str) -> None:
    values = np.random.default_rng(1).standard_normal((4, 6), dtype=np.float32)
    for view in (values.T, values[::2, ::-1], values[0, 0], values[:0], np.float32(np.nan)):
        array = np.asarray(view)
        made = cast(array, dtype)
        assert made.shape == array.shape
        np.testing.assert_array_equal(
            made, as_torch(np.ascontiguousarray(array), dtype).reshape(array.shape)
        )


def test_wide_casts_are_silent_and_exact() -> None:
    doubles = np.array([1e300, -1e300, 1e-300, 0.1, np.nan])
    narrow = cast(doubles, "float32")
    assert narrow.dtype == np.float32
    np.testing.assert_array_equal(narrow, as_torch(doubles, "float32"))
    assert cast(np.array([3], np.int8), "float64").dtype == np.float64
    assert cast(np.array([1.5], np.float32), "complex64").tolist() == [1.5 + 0j]
    assert cast(np.array([True, False]), "int32").tolist() == [1, 0]


@pytest.mark.parametrize("dtype", ["int32", "bool", "uint8"])
def test_fractions_are_not_cast_to_whole_numbers(dtype: str) -> None:
    with pytest.raises(RecipeError, match="whole numbers"):
        cast(np.zeros(2, np.float32), dtype)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float8_e4m3fn", "int32"])
def test_complex_values_are_not_cast_to_real(dtype: str) -> None:
    with pytest.raises(RecipeError, match="complex"):
        cast(np.zeros(2, np.complex64), dtype)
