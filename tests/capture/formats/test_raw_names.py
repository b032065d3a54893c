"""Raw files whose names say dtype and shape, where their sizes agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layertui.capture import Record, open_capture
from layertui.capture.load import load


def values(count: int, dtype: str = "<f4") -> np.ndarray[Any, Any]:
    return (np.arange(count) % 100).astype(dtype)


def by_name(path: Path) -> dict[str, Record]:
    return {record.name: record for record in open_capture(path).records}


@pytest.mark.parametrize(
    ("file", "name", "dtype", "shape"),
    [
        ("layers.{}.q_1x8x64_f32.bin", "layers.{}.q", "float32", (1, 8, 64)),
        ("layers.{}.q.f32.1x8x64.bin", "layers.{}.q", "float32", (1, 8, 64)),
        ("layers.{}.q_1_8_64_float32.raw", "layers.{}.q", "float32", (1, 8, 64)),
        ("layers.{}.q-1x8x64-FP32.dat", "layers.{}.q", "float32", (1, 8, 64)),
        ("layers.{}.q_1x8x64xf16.bin", "layers.{}.q", "float16", (1, 8, 64)),
        ("layers.{}.q_1x8x64.bf16", "layers.{}.q", "bfloat16", (1, 8, 64)),
        ("layers.{}.q_[1,8,64]_int32.bin", "layers.{}.q", "int32", (1, 8, 64)),
        ("layers.{}.q_(1, 8, 64)_f64.bin", "layers.{}.q", "float64", (1, 8, 64)),
        ("layer {} attn out_8x64_f32.bin", "layer {} attn out", "float32", (8, 64)),
        ("layers.{}.q_fp16_8_64.bin", "layers.{}.q", "float16", (8, 64)),
        # The number of the layer is no axis, whichever it is.
        ("layer_{}_8_64_f32.bin", "layer_{}", "float32", (8, 64)),
        ("layer_{}_1_8_64_f32.bin", "layer_{}", "float32", (1, 8, 64)),
    ],
)
def test_names(tmp_path: Path, file: str, name: str, dtype: str, shape: tuple[int, ...]) -> None:
    storage = {"float32": "<f4", "float16": "<f2", "bfloat16": "<u2", "int32": "<i4",
               "float64": "<f8"}[dtype]  # fmt: skip
    for layer in range(4):
        (tmp_path / file.format(layer)).write_bytes(values(512, storage).tobytes())
    records = by_name(tmp_path)
    assert sorted(records) == [name.format(layer) for layer in range(4)]
    for record in records.values():
        assert (record.dtype, record.shape, record.error) == (dtype, shape, None)
        assert record.locator is not None
        np.testing.assert_array_equal(load(record.locator).reshape(-1), values(512, storage))


def test_a_size_that_is_another_is_refused(tmp_path: Path) -> None:
    for layer, count in enumerate((512, 500, 513)):
        (tmp_path / f"a.{layer}_1x8x64_f32.bin").write_bytes(values(count).tobytes())
        (tmp_path / f"b.{layer}_8_64_f32.raw").write_bytes(values(count).tobytes())
    (tmp_path / "b.3_8_64_f32.raw").write_bytes(values(512).tobytes())
    errors = {name: record.error for name, record in by_name(tmp_path).items()}
    for kind, shape in (("a", "1x8x64"), ("b", "8x64")):
        assert errors[f"{kind}.0"] is None
        said = f"{shape}xfloat32 needs 2048"
        assert errors[f"{kind}.1"] == f"truncated: {said} bytes, the file has 2000"
        assert errors[f"{kind}.2"] == f"holds 2052 bytes, {said}"


@pytest.mark.parametrize(
    "file", ["layer_0_1x8x64.bin", "model_f32.bin", "weights_3_f32.bin", "1x8x64_f32.bin.txt"]
)
def test_what_says_less_is_not_read(tmp_path: Path, file: str) -> None:
    (tmp_path / file).write_bytes(values(512).tobytes())
    np.save(tmp_path / "other.npy", values(3))
    assert list(by_name(tmp_path)) == ["other"]


def test_what_the_user_says_wins(tmp_path: Path) -> None:
    path = tmp_path / "q_1x8x64_f32.bin"
    path.write_bytes(values(512).tobytes())
    (record,) = open_capture(tmp_path, raw="512xf32").records
    assert (record.name, record.shape) == (path.name, (512,))


def test_sizes_beyond_reason(tmp_path: Path) -> None:
    (tmp_path / f"q_{'x'.join(['999999999999'] * 15)}_f32.bin").write_bytes(b"1234")
    np.save(tmp_path / "other.npy", values(3))
    assert "truncated" in (by_name(tmp_path)["q"].error or "")
