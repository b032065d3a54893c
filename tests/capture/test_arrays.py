"""Loading and upcasting: each small float against torch's own conversion, for all of its codes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.capture import Locator, RecordError
from layertui.capture.dtypes import DTYPES
from layertui.capture.load import element_reach, load, load_any
from layertui.capture.values import PartialValues, small_float_table, upcast

FP8 = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu")


@pytest.mark.parametrize("name", FP8)
def test_fp8_agrees_with_torch_for_all_codes(name: str) -> None:
    if not hasattr(torch, name):
        pytest.skip(f"this torch has no {name}")
    codes = torch.arange(256, dtype=torch.int32).to(torch.uint8)
    theirs = codes.view(getattr(torch, name)).to(torch.float32).numpy()
    ours = upcast(codes.numpy(), name)
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(ours, theirs)
    finite = ~np.isnan(theirs)
    np.testing.assert_array_equal(np.signbit(ours[finite]), np.signbit(theirs[finite]))


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_half_precision_agrees_with_torch_for_all_codes(name: str) -> None:
    bits = np.arange(65536, dtype=np.uint32).astype(np.uint16)
    theirs = torch.from_numpy(bits.view(np.int16)).view(getattr(torch, name)).float().numpy()
    ours = upcast(bits.view(DTYPES[name].storage), name)
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(ours, theirs)
    numbers = ~np.isnan(theirs)
    np.testing.assert_array_equal(ours.view(np.uint32)[numbers], theirs.view(np.uint32)[numbers])


def test_mx_types_have_the_values_of_their_specification() -> None:
    four = small_float_table("float4_e2m1fn")[:16].tolist()
    assert four[:8] == [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    assert four[8:] == [-0.0, -0.5, -1, -1.5, -2, -3, -4, -6]
    e2m3, e3m2 = small_float_table("float6_e2m3fn"), small_float_table("float6_e3m2fn")
    assert (e2m3[:32].max(), e2m3[1], e2m3[:32].size) == (7.5, 0.125, 32)
    assert (e3m2[:32].max(), e3m2[1]) == (28.0, 0.0625)
    assert np.isfinite(e2m3[:64]).all()
    assert np.isfinite(e3m2[:64]).all()


@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_upcast_keeps_the_shape_and_leaves_wide_types_alone(shape: tuple[int, ...]) -> None:
    assert upcast(np.ones(shape, np.uint16), "bfloat16").shape == shape
    assert upcast(np.ones(shape, np.uint8), "float8_e5m2").shape == shape
    for dtype in (np.float32, np.float64, np.int64, np.bool_):
        assert upcast(np.ones(shape, dtype), np.dtype(dtype).name).dtype == dtype


def test_upcast_does_not_change_its_argument() -> None:
    raw = np.arange(10, dtype=np.uint16)
    raw.setflags(write=False)
    upcast(raw, "bfloat16")
    assert raw.tolist() == list(range(10))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=4),
    st.permutations(range(4)),
    st.integers(0, 9),
)
def test_strided_views_load_as_torch_shows_them(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], order: list[int], skip: int
) -> None:
    storage = torch.arange(skip + int(np.prod(sizes)), dtype=torch.int32)
    axes = [axis for axis in order if axis < len(sizes)]
    view = storage[skip:].reshape(sizes).permute(axes)
    path = tmp_path_factory.getbasetemp() / "strided.bin"
    path.write_bytes(storage.numpy().tobytes())
    locator = Locator(str(path), "int32", tuple(view.shape), 4 * skip, tuple(view.stride()))
    np.testing.assert_array_equal(load(locator), view.numpy())


@pytest.mark.parametrize(
    ("shape", "offset", "strides"),
    [
        ((3,), 0, None),
        ((2,), 4, None),
        ((2,), -4, None),
        ((2, 2), 0, (2, 1)),
        ((2,), 0, (2,)),
        ((2,), 0, (-1,)),
        ((2,), 0, (1, 1)),
        ((2**40, 2**40), 0, None),
    ],
)
def test_nothing_is_read_outside_the_file(
    tmp_path: Path, shape: tuple[int, ...], offset: int, strides: tuple[int, ...] | None
) -> None:
    path = tmp_path / "eight.bin"
    path.write_bytes(bytes(8))
    with pytest.raises(RecordError):
        load(Locator(str(path), "float32", shape, offset, strides))


def test_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="cannot be read: No such file"):
        load(Locator(str(tmp_path / "gone"), "float32", (1,)))


def test_reach_of_broadcast_and_empty_tensors() -> None:
    assert element_reach(Locator("", "int8", (5, 3), strides=(0, 1))) == 3
    assert element_reach(Locator("", "int8", (5, 0), strides=(7, 1))) == 0
    assert element_reach(Locator("", "int8", ())) == 1


def test_load_refuses_a_partial_record(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    values = "\n".join(["1.0"] * 50)
    path.write_text(
        f"# Shape: 2000\n# First 50 elements:\n{values}\n# Last 50 elements:\n{values}\n"
    )
    locator = Locator(str(path), "float32", (2000,), reader="text")
    assert isinstance(load_any(locator), PartialValues)
    with pytest.raises(TypeError, match="partial"):
        load(locator)
