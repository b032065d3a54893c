"""Values of a region, slices as text, numbers as text."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.capture.dtypes import DTYPES
from layertui.capture.values import upcast
from layertui.compare.inspection.values_text import values_text
from layertui.compare.inspection.window import (
    FORMS,
    Window,
    bits_text,
    element_text,
    parse_region,
    read_window,
    region_text,
)
from layertui.compare.measuring.pair_reader import PairReader
from layertui.compare.recipes.errors import RecipeError
from support.looking import as_numbers, raw_elements, subject


def window_of(
    folder: Path, x: np.ndarray | None, y: np.ndarray | None, region: str = "", dtype: str = "",
    recipes: tuple[str, str] = ("", ""),
) -> Window:  # fmt: skip
    about = subject(folder, x, y, dtype, recipes)
    with PairReader(about.reference, about.candidate) as reader:
        return read_window(reader, parse_region(region, reader.shape)[0])


@st.composite
def regions(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...]]:
    shape = tuple(draw(st.lists(st.integers(0, 9), max_size=7)))
    region = []
    for size in shape:
        low = draw(st.integers(0, size))
        region.append((low, draw(st.integers(low, size))))
    return shape, tuple(region)


@given(regions())
def test_a_region_reads_back(given: tuple[tuple[int, ...], tuple[tuple[int, int], ...]]) -> None:
    shape, region = given
    assert parse_region(region_text(region, shape), shape)[0] == region


@given(st.text("0123456789:,-[] |.xn", max_size=12), st.lists(st.integers(0, 5), max_size=4))
@settings(max_examples=400)
def test_any_text_is_a_region_of_the_shape_or_an_error(text: str, sizes: list[int]) -> None:
    shape = tuple(sizes)
    try:
        region, fixed = parse_region(text, shape)
    except RecipeError:
        return
    assert len(region) == len(fixed) == len(shape)
    wanted = np.empty(shape)[tuple(slice(low, high) for low, high in region)].shape
    for (low, high), size, of in zip(region, wanted, shape, strict=True):
        assert 0 <= low <= high <= of and size == high - low


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("9", "outside an axis of 4"), ("0,0,0,0", "4 indices for 3 axes"), ("::2", "steps of 1"),
        ("::-1", "steps of 1"), ("a", "not a slice"), ("0] | [0", "not a slice"),
        ("::0", "not a slice"), ("0:1:2:3", "not a slice"), ("flip(0)", "not a slice"),
    ],
)  # fmt: skip
def test_what_is_no_slice_is_said(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse_region(text, (4, 5, 6))


def test_slices_as_they_are_typed() -> None:
    shape = (4, 5, 200)
    assert parse_region("0,:,128:160", shape) == (
        ((0, 1), (0, 5), (128, 160)),
        (True, False, False),
    )
    assert parse_region("[-1, 1:]", shape)[0] == ((3, 4), (1, 5), (0, 200))
    assert parse_region("", shape) == (((0, 4), (0, 5), (0, 200)), (False,) * 3)
    assert parse_region("3:1", shape)[0][0] == (3, 3)


@given(st.integers(0, 2**32), st.sampled_from(sorted(DTYPES)), regions())
@settings(max_examples=120, deadline=None)
def test_windows_of_every_dtype(
    seed: int, dtype: str, cut: tuple[tuple[int, ...], tuple[tuple[int, int], ...]]
) -> None:
    shape, region = cut
    shape, region = shape[:4], region[:4]
    rng = np.random.default_rng(seed)
    raw = raw_elements(rng, dtype, shape), raw_elements(rng, dtype, shape)
    with tempfile.TemporaryDirectory() as folder:
        about = subject(Path(folder), *raw, dtype)
        with PairReader(about.reference, about.candidate) as reader:
            window = read_window(reader, region)
    key = tuple(slice(low, high) for low, high in region)
    parts = [upcast(side[key], dtype) for side in raw]
    for found, wanted in zip((window.reference, window.candidate), parts, strict=True):
        assert found is not None
        np.testing.assert_array_equal(found, wanted)
    for bits, side in zip((window.reference_bits, window.candidate_bits), raw, strict=True):
        if dtype == "complex128":
            assert bits is None
            continue
        assert bits is not None and bits.shape == side[key].shape
        wanted = np.ascontiguousarray(side[key])
        assert bits.tobytes() == wanted.tobytes()
    check_worst(window, dtype, *(as_numbers(side[key], dtype) for side in raw))
    for form in FORMS:
        long = sum(high - low > 1 for low, high in region)
        if long <= 2:
            assert values_text(window, (dtype, dtype), form)


def check_worst(window: Window, dtype: str, x: np.ndarray, y: np.ndarray) -> None:
    assert window.odd is not None and window.difference is not None
    fine = np.isfinite(x) & np.isfinite(y)
    odd = ~fine & ~((x == y) | (np.isnan(x) & np.isnan(y)))
    assert window.odd.reshape(-1).tolist() == odd.tolist()
    with np.errstate(all="ignore"):
        sizes = np.where(odd, np.inf, np.where(fine, np.abs(y - x), 0.0)).astype(np.float64)
    if not (sizes > 0).any():
        assert window.worst is None
        return
    assert window.worst is not None
    at = int(np.ravel_multi_index(window.worst, window.odd.shape)) if window.odd.shape else 0
    assert np.isclose(sizes[at], sizes.max()) or odd[at]
    assert odd[at] == odd.any() or sizes[at] > 1e300


def test_a_window_keeps_its_numbers(tmp_path: Path) -> None:
    """The reader's memory is used again for the next window, that of a window is not."""
    x = np.arange(100, dtype=np.float32)
    about = subject(tmp_path, x, x + 1)
    with PairReader(about.reference, about.candidate) as reader:
        first = read_window(reader, ((0, 10),))
        read_window(reader, ((50, 60),))
    assert first.reference is not None and first.reference_bits is not None
    assert first.reference.tolist() == list(range(10))
    assert first.candidate is not None and first.candidate.tolist() == list(range(1, 11))
    assert first.reference_bits.view(np.float32).tolist() == list(range(10))


def test_a_cast_has_no_bits_of_the_file(tmp_path: Path) -> None:
    x = np.ones(4, np.float32)
    window = window_of(tmp_path, x, x, recipes=("cast(bf16)", ""))
    assert window.reference_bits is None and window.candidate_bits is not None
    lines = values_text(window, ("float32", "float32"), "bits")
    assert lines[2].split() == ["0"] + ["1.0000e+00"] * 4
    assert lines[5].split() == ["0"] + ["3f800000"] * 4


def test_indices_of_a_grid_are_those_of_the_view(tmp_path: Path) -> None:
    x = np.arange(60.0).reshape(3, 4, 5)
    lines = values_text(window_of(tmp_path, x, None, "1, 2:4, 3:5"), ("float64", ""), "fixed")
    assert [line.split() for line in lines] == [
        ["3", "4"], ["2", "33.000000", "34.000000"], ["3", "38.000000", "39.000000"],
    ]  # fmt: skip


def test_a_region_of_nothing_says_so(tmp_path: Path) -> None:
    lines = values_text(window_of(tmp_path, np.zeros((0, 3)), np.zeros((0, 3))), ("", ""), "fixed")
    assert lines == ["no elements"]


def test_numbers_as_text() -> None:
    assert element_text(True, "fixed") == "True"
    assert element_text(np.bool_(False), "scientific") == "False"
    assert element_text(2**63 - 1, "fixed") == "9223372036854775807"
    assert element_text(np.float32(-0.5), "scientific") == "-5.0000e-01"
    assert element_text(float("nan"), "bits") == "NaN"
    assert element_text(-np.inf, "fixed") == "-Inf"
    assert element_text(1 - 2j, "fixed") == "1.000000-2.000000j"
    assert element_text(complex(np.nan, np.inf), "fixed") == "NaN+Infj"
    assert bits_text(0x3F80, "bfloat16") == "3f80" and bits_text(1, "float8_e5m2") == "01"
