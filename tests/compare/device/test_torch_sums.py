"""Passes by torch, on CPU tensors, against numpy's arithmetic: every kind of number, every pair of
dtypes. None of this runs on a GPU.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.capture.dtypes import DTYPES
from layertui.capture.values import Array, upcast
from layertui.compare.device.child import passes
from layertui.compare.device.torch_sums import block_sums, numbers
from layertui.compare.device.worker import pass_of
from layertui.compare.measuring.fused import OnePass
from layertui.compare.measuring.metrics import compute
from layertui.compare.measuring.sums import Sums, Tolerance
from support.sums.held import (
    ANY,
    FLOATS,
    SCENES,
    TOLERANCE,
    TOLERANCES,
    assert_held,
    encoded,
    in_scene,
    near_tolerances,
)

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("error")]

CPU = torch.device("cpu")


def tensor_of(raw: Array, dtype: str) -> torch.Tensor:
    return numbers(torch.from_numpy(raw.view(np.uint8).copy()), dtype)


def by_torch(x: Array, y: Array, dtypes: tuple[str, str], tolerance: Tolerance) -> OnePass | None:
    sides = tensor_of(x, dtypes[0]), tensor_of(y, dtypes[1])
    return block_sums(*sides, (tolerance.rtol, tolerance.atol))


def assert_same(
    x: Array, y: Array, dtypes: tuple[str, str], tolerance: Tolerance = TOLERANCE
) -> bool:
    """Both give the same; False where torch leaves it to numpy."""
    found = by_torch(x, y, dtypes, tolerance)
    if found is None:
        return False
    sums = Sums(tolerance)
    sums.merge(found, 0)
    assert_held(sums, x, y, dtypes, tolerance)
    return True


@pytest.mark.parametrize("dtype", FLOATS)
def test_numbers_are_those_that_numpy_reads(dtype: str) -> None:
    """Every bit pattern of 8 and 16 bits; of wider ones random bits."""
    size = DTYPES[dtype].itemsize
    bits = np.arange(256**size) if size < 4 else np.random.default_rng(0).integers(0, 2**63, 9999)
    raw = bits.astype(f"u{size}").view(np.dtype(DTYPES[dtype].storage))
    with np.errstate(all="ignore"):
        want = upcast(raw, dtype)
    found = tensor_of(raw, dtype).numpy()
    assert found.dtype == want.dtype
    np.testing.assert_array_equal(found, want)


@given(
    st.lists(st.tuples(ANY, ANY), min_size=1, max_size=70), st.sampled_from(FLOATS),
    st.sampled_from(FLOATS),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_any_numbers_of_any_pair_of_dtypes(
    pairs: list[tuple[float, float]], left: str, right: str
) -> None:
    values = np.array(pairs, np.float64)
    x, y = encoded(values[:, 0].copy(), left), encoded(values[:, 1].copy(), right)
    assert assert_same(x, y, (left, right)) or "float64" in (left, right)


@given(st.lists(st.tuples(st.floats(), st.floats()), min_size=1, max_size=20))
@settings(max_examples=100, deadline=None)
def test_any_float64(pairs: list[tuple[float, float]]) -> None:
    """Those whose squares leave its range are left to numpy, and only those."""
    values = np.array(pairs, np.float64)
    x, y = values[:, 0].copy(), values[:, 1].copy()
    with np.errstate(all="ignore"):
        sizes = np.abs([*x, *y, *(y - x)])
    odd = np.isfinite(sizes) & (sizes != 0) & ((sizes <= 1e-140) | (sizes >= 1e140))
    assert assert_same(x, y, ("float64", "float64")) or odd.any()


@given(
    st.sampled_from(sorted(SCENES)), st.sampled_from([1, 2, 7, 1024, 17001]),
    st.sampled_from(FLOATS), st.sampled_from(FLOATS), st.integers(0, 99),
    st.sampled_from([1.0, 1e-44, 1e-30, 1e-14, 1e-6, 1e6, 1e16, 1e30]),
    st.sampled_from([0.0, 1.0, 1e4]),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_faults_of_any_magnitude_and_length(
    scene: str, length: int, left: str, right: str, seed: int, size: float, mean: float
) -> None:
    x, y = in_scene(scene, length, seed, mean)
    assert assert_same(encoded(size * x, left), encoded(size * y, right), (left, right))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
@pytest.mark.parametrize("tolerance", TOLERANCES)
def test_tolerances(dtype: str, tolerance: tuple[float, float]) -> None:
    for odd in (False, True):
        x, y = near_tolerances(odd)
        raw = encoded(x, dtype), encoded(y, dtype)
        assert assert_same(*raw, (dtype, dtype), Tolerance(*tolerance))


@pytest.mark.parametrize("size", [1e-200, 1e-150, 1e150, 1e300])
def test_squares_beyond_float64_are_left_to_numpy(size: float) -> None:
    x = size * np.random.default_rng(0).standard_normal(3000)
    assert by_torch(x, 2 * x, ("float64", "float64"), TOLERANCE) is None
    x[5] = np.nan
    assert by_torch(x, 2 * x, ("float64", "float64"), TOLERANCE) is None


@pytest.mark.parametrize("mean", [0.0, 1.0, 1000.0])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_metrics_are_exact_to_a_millionth(dtype: str, mean: float) -> None:
    """Against sums in long double."""
    rng = np.random.default_rng(4)
    x = encoded(mean + rng.standard_normal(50_000), dtype)
    y = encoded(upcast(x, dtype) * (1 + 1e-2 * rng.standard_normal(x.size)), dtype)
    found = by_torch(x, y, (dtype, dtype), TOLERANCE)
    assert found is not None
    sums = Sums(TOLERANCE)
    sums.merge(found, 0)
    metrics, _ = compute(sums)
    a, b = (upcast(raw, dtype).astype(np.longdouble) for raw in (x, y))
    d, n = b - a, a.size
    want = {
        "mse": (d @ d) / n, "nmse": (d @ d) / (a @ a), "relative_l2": np.sqrt((d @ d) / (a @ a)),
        "cosine": (a @ b) / np.sqrt((a @ a) * (b @ b)), "mean_abs": np.abs(d).sum() / n,
        "max_abs": np.abs(d).max(), "max_rel": (np.abs(d) / np.maximum(np.abs(a), 1e-8)).max(),
    }  # fmt: skip
    for name, value in want.items():
        assert metrics[name] == pytest.approx(float(value), rel=1e-6), name


# Requests, as the process answers them


def asked(
    tmp_path: Path, raw: tuple[Array, Array], dtypes: tuple[str, str], block: int, extra: int = 0
) -> list[dict[str, object]]:
    """The answers about two files, through JSON as they travel."""
    files = []
    for name, values in zip("xy", raw, strict=True):
        (tmp_path / name).write_bytes(bytes(13) + values.tobytes())
        files.append(os.open(tmp_path / name, os.O_RDONLY))
    request = {
        "count": raw[0].size + extra, "block": block, "tolerances": (1.3e-6, 1e-5),
        "places": [{"offset": 13, "dtype": dtype} for dtype in dtypes],
    }  # fmt: skip
    try:
        return [json.loads(json.dumps(answer)) for answer in passes(request, files, CPU)]
    finally:
        for descriptor in files:
            os.close(descriptor)


@pytest.mark.parametrize("block", [1000, 4096, 9999, 10_000, 10_001])
@pytest.mark.parametrize("dtypes", [("float32", "bfloat16"), ("float8_e4m3fn", "float64")])
def test_files_in_blocks(tmp_path: Path, dtypes: tuple[str, str], block: int) -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal(10_000)
    y = x * (1 + 1e-2 * rng.standard_normal(x.size))
    y[7000], y[9999], x[3] = np.nan, 50.0, 0.0
    raw = encoded(x, dtypes[0]), encoded(y, dtypes[1])
    *blocks, end = asked(tmp_path, raw, dtypes, block)
    assert end == {"end": "done"}
    assert len(blocks) == -(-x.size // block)
    sums, done = Sums(TOLERANCE), 0
    for answer in blocks:
        found = pass_of(answer, x.size - done)
        sums.merge(found, done)
        done += found.taken
    assert done == x.size
    assert_held(sums, *raw, dtypes)


def test_a_block_for_numpy_ends_it(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal(3000)
    x[2500] = 1e300
    answers = asked(tmp_path, (x, 2 * x), ("float64", "float64"), 1000)
    assert [answer.get("end") for answer in answers] == [None, None, "numpy"]


def test_a_file_that_is_too_short_is_not_begun(tmp_path: Path) -> None:
    x = np.zeros(3000, np.float32)
    answers = asked(tmp_path, (x, x), ("float32", "float32"), 1000, extra=1)
    assert answers == [{"end": "unreadable"}]
    huge = asked(tmp_path, (x, x), ("float32", "float32"), 1000, extra=1 << 60)
    assert huge == [{"end": "unreadable"}]


@pytest.mark.parametrize(("block", "dtype"), [(0, "float32"), (1 << 40, "float32"), (9, "int32")])
def test_a_request_that_cannot_be_meant_is_refused(tmp_path: Path, block: int, dtype: str) -> None:
    x = np.zeros(3000, np.float32)
    with pytest.raises(ValueError, match=r"block|dtypes"):
        asked(tmp_path, (x, x), (dtype, dtype), block)
