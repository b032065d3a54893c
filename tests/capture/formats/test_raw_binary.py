"""Raw dumps: dtype and shape come from MAX's log lines or from `--raw`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from layertui.capture import CaptureError, Record, open_capture
from layertui.capture.load import load

LINE = "Writing debug binary tensor {type} of {size} bytes to '{path}'\n"


def log_line(path: str, kind: str, size: int) -> str:
    return LINE.format(type=kind, size=size, path=path)


def by_name(path: Path, raw: str | None = None) -> dict[str, Record]:
    return {record.name: record for record in open_capture(path, raw=raw).records}


def test_log_in_the_directory_names_type_and_order(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    (tmp_path / "model.layers.layers.0.mlp-output").write_bytes(values.tobytes())
    (tmp_path / "a.scalar").write_bytes(b"\7\0\0\0")
    (tmp_path / "notes.md").write_text("not a tensor")
    (tmp_path / "run.log").write_text(
        "starting\n"
        + log_line("out/model.layers.layers.0.mlp-output", "2x3xf32", 24)
        + log_line("out/a.scalar", "ui32", 4)
    )
    capture = open_capture(tmp_path)
    assert [r.name for r in capture.records] == ["model.layers.layers.0.mlp-output", "a.scalar"]
    assert (capture.order_known, capture.order_source) == (True, "run.log")
    mlp, scalar = capture.records
    assert (mlp.module, mlp.slot, mlp.format) == (
        "model.layers.layers.0.mlp",
        "output",
        "raw binary",
    )
    assert mlp.locator is not None
    np.testing.assert_array_equal(load(mlp.locator), values)
    assert (scalar.shape, scalar.dtype) == ((), "uint32")


def test_log_beside_the_directory(tmp_path: Path) -> None:
    dump = tmp_path / "BINARY"
    dump.mkdir()
    (dump / "x_f32").write_bytes(bytes(32))
    (tmp_path / "other.log").write_text(log_line("elsewhere/unrelated", "4xf32", 16))
    (tmp_path / "stderr.log").write_text(log_line("out/BINARY/x_f32", "2x4xf32", 32))
    capture = open_capture(dump)
    assert capture.records[0].shape == (2, 4)
    assert capture.order_source == "stderr.log beside the directory"


def test_real_log_describes_real_file_sizes(real: Path, tmp_path: Path) -> None:
    sizes = {"x_f32": 32, "big_f32": 10240, "x_bf16": 16, "empty": 0, "scalar": 4, "x_bool": 8,
             "a.b-output_0": 32, "name(2)-output": 32}  # fmt: skip
    dump = tmp_path / "BINARY"
    dump.mkdir()
    for name, size in sizes.items():
        (dump / name).write_bytes(bytes(size))
    console = (real / "console" / "print_styles_console.txt").read_text()
    (tmp_path / "console.txt").write_text(console)
    records = by_name(dump)
    assert set(records) == set(sizes)
    assert all(record.error is None and record.locator for record in records.values())
    assert records["empty"].shape == (0, 4)
    assert records["x_bf16"].dtype == "bfloat16"
    assert records["name(2)-output"].call == 2


def test_steps_may_have_different_shapes(tmp_path: Path) -> None:
    dump = tmp_path / "out"
    for step, rows in ((0, 10), (1, 1)):
        (dump / str(step)).mkdir(parents=True)
        (dump / str(step) / "h").write_bytes(bytes(rows * 8))
    (tmp_path / "run.log").write_text(
        log_line("out/0/h", "10x2xf32", 80) + log_line("out/1/h", "1x2xf32", 8)
    )
    whole = open_capture(dump)
    assert [(r.step, r.shape) for r in whole.records] == [(0, (10, 2)), (1, (1, 2))]
    assert whole.order_known
    (dump / "run.log").write_text((tmp_path / "run.log").read_text())
    (alone,) = open_capture(dump / "1").records
    assert (alone.step, alone.shape, alone.error) == (0, (1, 2), None)


def test_names_file_and_log_together(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).write_bytes(bytes(4))
    (tmp_path / "tensor_names.txt").write_text("second\nfirst\n")
    (tmp_path / "run.log").write_text(
        log_line("o/first", "f32", 4) + log_line("o/second", "f32", 4)
    )
    capture = open_capture(tmp_path)
    assert [r.name for r in capture.records] == ["second", "first"]
    assert capture.order_source == "tensor_names.txt"


def test_raw_option_describes_what_no_log_does(tmp_path: Path) -> None:
    (tmp_path / "layer.0").write_bytes(bytes(12))
    (tmp_path / "readme.txt").write_text("hello")
    (tmp_path / "table.json").write_text("{}")
    records = by_name(tmp_path, "3xf32")
    assert list(records) == ["layer.0"]
    assert (records["layer.0"].shape, records["layer.0"].dtype) == ((3,), "float32")
    (single,) = open_capture(tmp_path / "layer.0", raw="3x2xbf16").records
    assert (single.shape, single.dtype) == ((3, 2), "bfloat16")


@pytest.mark.parametrize(
    "raw", ["", "3xf33", "axbxf32", "3x-1xf32", "float", "3x", "9" * 5000 + "xf32"]
)
def test_senseless_raw_option_is_a_usage_error(tmp_path: Path, raw: str) -> None:
    (tmp_path / "x").write_bytes(bytes(12))
    if raw == "float":  # torch's word for float32: a scalar, which 12 bytes are not
        with pytest.raises(CaptureError, match="holds 12 bytes"):
            open_capture(tmp_path, raw=raw)
        return
    with pytest.raises(CaptureError, match="--raw") as caught:
        open_capture(tmp_path, raw=raw)
    assert "\n" not in str(caught.value)


def test_size_must_be_exact(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(bytes(11))
    (tmp_path / "long").write_bytes(bytes(13))
    (tmp_path / "right").write_bytes(bytes(12))
    records = by_name(tmp_path, "3xf32")
    assert records["short"].error == "truncated: 3xfloat32 needs 12 bytes, the file has 11"
    assert records["long"].error == "holds 13 bytes, 3xfloat32 needs 12"
    assert records["right"].error is None
    assert records["short"].locator is None
    assert records["long"].locator is None


def test_unknown_dtype_in_a_log_is_an_unreadable_record(tmp_path: Path) -> None:
    for name in ("a.x", "y"):
        (tmp_path / name).write_bytes(bytes(4))
    (tmp_path / "run.log").write_text(log_line("o/a.x", "4xf99", 4) + log_line("o/y", "4xsi8", 4))
    records = by_name(tmp_path)
    assert records["a.x"].error == "unknown dtype 'f99'"
    assert records["y"].error is None


def test_damaged_log_line_costs_only_its_own_file(tmp_path: Path) -> None:
    for name in ("x", "y"):
        (tmp_path / name).write_bytes(bytes(4))
    (tmp_path / "run.log").write_text(log_line("o/x", "?x4xf32", 4) + log_line("o/y", "4xsi8", 4))
    capture = open_capture(tmp_path)
    assert [r.name for r in capture.records] == ["y"]
    assert capture.notes == ["1 file of unknown format skipped: x"]
