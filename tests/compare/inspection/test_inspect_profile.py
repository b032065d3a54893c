"""Distributions and what compares two sides, against their definitions in extended precision."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.capture.dtypes import DTYPES
from layertui.compare.inspection.histogram_text import (
    decade_table,
    exponent_rows,
    histogram_text,
    magnitude_bands,
)
from layertui.compare.inspection.profile import LADDER, PERCENTILES, Profile, ProfileAnalysis
from layertui.compare.inspection.text import ladder_rows, likeness_rows, stats_text
from layertui.compare.measuring.ulp import distances
from support.looking import FLOATS, as_numbers, looked, raw_elements

SEEDS = st.integers(0, 2**32)
BLOCKS = st.sampled_from([1, 3, 7, 64, 1 << 17])
SHAPES = st.lists(st.integers(1, 3), max_size=7).map(tuple)


def close(found: float | None, wanted: Any, scale: float = 0.0) -> bool:
    """Equal to a few parts in 1e12 (of `scale` where given); None where the squares of numbers of
    this scale leave float64's range.
    """
    if found is None:
        return not 1e-150 < max(abs(wanted), scale) < 1e150
    return math.isclose(found, float(wanted), rel_tol=1e-12, abs_tol=1e-12 * scale)


def check_distribution(found: Any, values: np.ndarray, dtype: str) -> None:
    fine = np.isfinite(values)
    nan = int(np.isnan(values).sum())
    assert (found.count, found.finite) == (values.size, int(fine.sum()))
    assert (found.nan, found.inf) == (nan, values.size - int(fine.sum()) - nan)
    kept = values[fine]
    with np.errstate(all="ignore"):
        kept = np.abs(kept) if kept.dtype.kind == "c" else kept
    assert found.zeros == int((kept == 0).sum())
    if kept.size == 0:
        assert found.min is found.max is found.mean is found.std is found.l1 is found.l2 is None
        assert found.percentiles == (None,) * len(PERCENTILES)
        return
    top = float(np.abs(kept).max())
    assert close(found.min, kept.min()) and close(found.max, kept.max())
    assert close(found.mean, kept.mean(), top) and close(found.std, kept.std(), top)
    assert close(found.l1, np.abs(kept).sum())
    assert close(found.l2, np.sqrt((kept * kept).sum()), 0.0) or top < 1e-150
    with np.errstate(all="ignore"):
        exact = np.percentile(kept.astype(np.float64), PERCENTILES)
    assert found.exact
    for got, wanted in zip(found.percentiles, exact, strict=True):
        assert close(got, wanted, top) or not math.isfinite(wanted)
    if DTYPES[dtype].kind != "complex":
        assert found.unique == min(10_000, np.unique(kept).size)
    assert found.sketch.total == kept.size


def smallest_normal(dtype: str) -> float | None:
    """The first normal number, from the type's own bits: those of exponent 1."""
    if dtype in ("float32", "float64"):
        return float(np.finfo(dtype).tiny)
    bits = {"float16": 10, "bfloat16": 7}.get(dtype)
    if bits is None:
        if not dtype.startswith("float") or dtype == "float8_e8m0fnu":
            return None
        bits = int(dtype.split("m")[1][0]) if "m" in dtype else int(dtype.split("e5m")[1][0])
    storage = np.dtype(DTYPES[dtype].storage)
    return float(as_numbers(np.array([1 << bits]).astype(np.dtype(f"u{storage.itemsize}"))
                            .view(storage), dtype)[0])  # fmt: skip


@given(SEEDS, st.sampled_from(sorted(DTYPES)), SHAPES, BLOCKS)
@settings(max_examples=200, deadline=None)
def test_distributions_of_every_dtype(
    seed: int, dtype: str, shape: tuple[int, ...], block: int
) -> None:
    rng = np.random.default_rng(seed)
    raw = raw_elements(rng, dtype, shape), raw_elements(rng, dtype, shape)
    profile = looked(ProfileAnalysis, *raw, dtype, block=max(block, raw[0].size // 20))
    assert profile.shape == shape
    for found, side in zip((profile.reference, profile.candidate), raw, strict=True):
        values = as_numbers(side, dtype)
        check_distribution(found, values, dtype)
        normal = smallest_normal(dtype)
        if DTYPES[dtype].kind == "float":
            wanted = None
            if normal is not None:
                size = np.abs(values[np.isfinite(values)])
                wanted = int(((size < normal) & (size > 0)).sum())
            assert found.denormals == wanted
    check_likeness(profile, *(as_numbers(side, dtype) for side in raw), dtype)


def check_likeness(profile: Profile, x: np.ndarray, y: np.ndarray, dtype: str) -> None:
    both = np.isfinite(x) & np.isfinite(y)
    alike = (x == y) | (np.isnan(x) & np.isnan(y))
    odd = ~both & ~alike
    assert profile.odd == int(odd.sum())
    assert profile.compared == int(both.sum())
    assert profile.equal == int(alike.sum())
    a, b = x[both], y[both]
    d = b - a
    for (limit, count), wanted_limit in zip(profile.ladder, LADDER, strict=True):
        assert limit == wanted_limit
        bound = np.longdouble(limit) + np.longdouble(limit) * np.abs(a)
        rounding = 1e-13 * bound
        outside = (
            int((np.abs(d) > bound - rounding).sum()),
            int((np.abs(d) > bound + rounding).sum()),
        )
        assert outside[1] <= count - profile.odd <= outside[0]
    if DTYPES[dtype].kind in ("float", "int"):
        assert profile.sign_disagreements == int((((a < 0) & (b > 0)) | ((a > 0) & (b < 0))).sum())
    else:
        assert profile.sign_disagreements is None
    if not both.any():
        assert profile.max_abs is None and profile.ulp is None
        return
    top = np.abs(d).max()
    assert profile.max_abs is not None
    assert profile.max_abs == math.inf or math.isclose(profile.max_abs, float(top), rel_tol=1e-12)
    check_ulps(profile, a, b, dtype)
    check_cosine(profile, a, b)
    table = profile.magnitudes
    assert table is not None and int(table.sum()) == profile.compared


def check_ulps(profile: Profile, a: np.ndarray, b: np.ndarray, dtype: str) -> None:
    if dtype not in FLOATS:
        assert profile.ulp is None
        return
    assert profile.ulp is not None and profile.ulp.dtype == dtype
    steps = [int(n) for n in distances(a.astype(np.float64), b.astype(np.float64), dtype)]
    assert profile.ulp.max == float(max(steps))
    assert math.isclose(profile.ulp.mean, sum(steps) / len(steps), rel_tol=1e-12)
    shares = [sum(n <= limit for n in steps) / len(steps) for limit in (0, 1, 4)]
    assert [profile.ulp.exact, profile.ulp.one, profile.ulp.four] == shares


def check_cosine(profile: Profile, a: np.ndarray, b: np.ndarray) -> None:
    product = np.sqrt((np.abs(a) ** 2).sum() * (np.abs(b) ** 2).sum())
    cosine = float((a.conj() * b).sum().real / product) if product > 0 else 0.0
    if profile.cosine is not None:
        assert math.isclose(profile.cosine, cosine, rel_tol=1e-9, abs_tol=1e-9)


@given(SEEDS, st.sampled_from(sorted(DTYPES)), st.sampled_from(sorted(DTYPES)), BLOCKS)
@settings(max_examples=100, deadline=None)
def test_text_of_any_two_dtypes(seed: int, left: str, right: str, block: int) -> None:
    """Mixed types: nothing is lost, and every table adds up."""
    rng = np.random.default_rng(seed)
    raw = raw_elements(rng, left, (5, 6)), raw_elements(rng, right, (5, 6))
    profile = looked(ProfileAnalysis, *raw, (left, right), block=block)
    for _, found in profile.sides:
        rows = exponent_rows(found)
        assert found.zeros + sum(a + b for _, a, b in rows) == found.finite
    _, _, table = decade_table(profile)
    assert int(table.sum()) == profile.compared
    assert sum(band[1] for band in magnitude_bands(profile)) == profile.compared
    text = "\n".join([*stats_text(profile), *histogram_text(profile)])
    assert "nan%" not in text
    assert profile.equal + profile.odd <= profile.reference.count


def test_signs_of_the_exponent_rows() -> None:
    values = np.array([-300.0, -2.5, -1e-60, 1e-60, 3e-45, 0.0, -0.0, 2.5, 1e60])
    profile = looked(ProfileAnalysis, values, None)
    rows = exponent_rows(profile.reference)
    assert sum(below for _, below, _ in rows) == 3
    assert sum(above for _, _, above in rows) == 4
    assert profile.reference.zeros == 2


def test_large_whole_numbers_keep_their_digits() -> None:
    values = np.array([2**24 + 1, 2**24 + 3, 2**31 - 1], np.int32)
    found = looked(ProfileAnalysis, values, None).reference
    assert found.percentiles[3] == 2**24 + 3
    wide = np.array([2**53, 2**53 + 1, 2**63 - 1, 2**63 - 2], np.int64)
    assert looked(ProfileAnalysis, wide, None).reference.unique == 4


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64"])
def test_the_least_whole_number_has_a_size(dtype: str) -> None:
    """|-128| is 128 and not -128, as it would be in eight bits."""
    least = np.iinfo(dtype).min
    x, y = np.array([least, least], dtype), np.array([least + 1, least], dtype)
    profile = looked(ProfileAnalysis, x, y)
    ratio = 1 / -float(least)
    for limit, count in profile.ladder:
        assert count == (1 if limit + limit / ratio < 1 else 0)
    assert decade_table(profile)[1] == [f"1e{int(math.log10(-float(least))):+03d}"]


def test_numbers_whose_squares_leave_float64_have_no_made_up_spread() -> None:
    values = np.full(64, 1.7e308)
    values[::2] = -1.6e308
    for block in (1, 7, 64):
        found = looked(ProfileAnalysis, np.sort(values), None, block=block).reference
        assert found.std is None and found.l2 is None
        assert (found.min, found.max) == (-1.6e308, 1.7e308)
    tiny = looked(ProfileAnalysis, np.array([1e-200, -1e-200]), None).reference
    assert tiny.l2 is None and tiny.std is None


def test_a_difference_beyond_float64_is_not_lost() -> None:
    x, y = np.array([1.5e308, 1.0]), np.array([-1.5e308, 1.0])
    profile = looked(ProfileAnalysis, x, y)
    assert profile.max_abs == math.inf
    assert [count for _, count in profile.ladder] == [1] * len(LADDER)
    assert int(profile.magnitudes.sum()) == 2
    assert decade_table(profile)[0][0] == "1e+38"
    assert "Inf 1" in "\n".join(histogram_text(profile))


def test_nan_that_faces_nan_does_not_make_more_than_all() -> None:
    x = np.array([np.nan, np.nan, np.inf, 1.0, 2.0], np.float32)
    y = np.array([np.nan, np.nan, np.inf, 1.0, 2.5], np.float32)
    profile = looked(ProfileAnalysis, x, y)
    assert ("equal", "4 (80 %)") in likeness_rows(profile)
    assert ("1e-02", "1 (20 %) outside") in ladder_rows(profile)


@pytest.mark.parametrize("shape", [(0,), (3, 0, 2)])
def test_nothing_is_never_all_match(shape: tuple[int, ...]) -> None:
    empty = np.empty(shape, np.float32)
    profile = looked(ProfileAnalysis, empty, empty)
    assert profile.shape == shape
    assert profile.reference.count == 0
    text = "\n".join(stats_text(profile))
    assert "all match" not in text
    assert "nothing could be compared" in text


def test_only_nan_is_not_all_match() -> None:
    x = np.full(3, np.nan, np.float32)
    text = "\n".join(stats_text(looked(ProfileAnalysis, x, x)))
    assert "all match" not in text and "nothing could be compared" in text


def test_a_scalar() -> None:
    profile = looked(ProfileAnalysis, np.array(2.0, np.float32), np.array(-2.0, np.float32))
    assert profile.shape == () and profile.max_abs == 4.0
    assert profile.sign_disagreements == 1
    assert profile.reference.percentiles == (2.0,) * len(PERCENTILES)


def test_one_side_alone() -> None:
    profile = looked(ProfileAnalysis, None, np.arange(6, dtype=np.float32))
    assert [name for name, _ in profile.sides] == ["values"]
    assert profile.reference is None and profile.difference is None
    assert likeness_rows(profile) == ladder_rows(profile) == []
    assert profile.candidate.max == 5


def test_unique_values_are_capped() -> None:
    values = np.arange(30_000, dtype=np.float32)
    found = looked(ProfileAnalysis, values, None, block=1000).reference
    assert found.unique_capped and found.unique == 10_000
    found = looked(ProfileAnalysis, values[:10_000], None, block=1000).reference
    assert not found.unique_capped and found.unique == 10_000


def test_a_cast_side_counts_in_its_new_type() -> None:
    values = np.array([1.0, 1.0 + 2**-9, 3e-39, 0.0], np.float32)
    profile = looked(ProfileAnalysis, values, values, "float32", ("", "cast(bf16)"))
    assert profile.ulp.dtype == "bfloat16" and profile.ulp.exact == 1.0
    assert profile.candidate.unique == 3
    assert profile.candidate.denormals == 1


def test_percentiles_of_more_than_fits_come_from_the_sketch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("layertui.compare.inspection.profile.EXACT", 100)
    values = np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    found = looked(ProfileAnalysis, values, None).reference
    assert not found.exact
    for share, got in zip(PERCENTILES, found.percentiles, strict=True):
        wanted = np.percentile(values, share, method="lower")
        assert abs(got - wanted) <= abs(wanted) / 64
    assert any(line.startswith("  ~50 %") for line in stats_text(
        looked(ProfileAnalysis, values, values)))  # fmt: skip
