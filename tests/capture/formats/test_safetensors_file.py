"""safetensors files: as the reference implementation reads them; damaged headers are refused."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from layertui.capture import Record, open_capture
from layertui.capture.errors import CaptureError, RecordError
from layertui.capture.files import FoundFile
from layertui.capture.formats import safetensors_file
from layertui.capture.formats.context import Context
from layertui.capture.formats.registry import format_named
from layertui.capture.load import load

DTYPES = [
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.int16,
    torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.bool,
    torch.float8_e4m3fn, torch.float8_e5m2,
]  # fmt: skip


def listed(path: Path, alone: bool = True) -> list[Record]:
    found = FoundFile(str(path), str(path.parent), path.name, 0)
    context = Context(alone=alone)
    assert format_named("safetensors").claims(found, found.suffix, context)
    return safetensors_file.list_records(found, context)


def written(path: Path, header: Any, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def test_every_dtype_bit_for_bit(tmp_path: Path) -> None:
    random = torch.randint(0, 256, (48,), dtype=torch.uint8)
    tensors = {
        f"block.{dtype}": random.bool() if dtype == torch.bool else random.clone().view(dtype)
        for dtype in DTYPES
    }
    tensors["block.scalar"] = torch.tensor(1.5)
    tensors["block.empty"] = torch.empty(2, 0, 3)
    tensors["block.matrix"] = torch.arange(6, dtype=torch.bfloat16).reshape(1, 2, 3)
    save_file(tensors, tmp_path / "x.safetensors", metadata={"format": "pt"})
    records = {record.name: record for record in listed(tmp_path / "x.safetensors")}
    assert records.keys() == tensors.keys()
    for name, tensor in tensors.items():
        record = records[name]
        assert record.error is None
        assert record.locator is not None
        assert record.shape == tuple(tensor.shape)
        assert record.dtype == str(tensor.dtype).removeprefix("torch.")
        values = load(record.locator)
        assert values.shape == tuple(tensor.shape)
        assert values.tobytes() == tensor.reshape(-1).view(torch.uint8).numpy().tobytes()


def test_real_checkpoints_agree_with_the_reference(real: Path, tmp_path: Path) -> None:
    dump = sorted(real.glob("llama-bf16/torch_dump/0/*.pt"))
    tensors = {path.stem: torch.load(path).contiguous() for path in dump}
    save_file(tensors, tmp_path / "all.safetensors")
    with safe_open(tmp_path / "all.safetensors", "pt") as reference:
        for record in listed(tmp_path / "all.safetensors"):
            tensor = reference.get_tensor(record.name)
            assert record.locator is not None
            bits = tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor
            assert np.array_equal(load(record.locator), bits.numpy())
            assert f"{record.module}-{record.slot}" == record.name


def test_names(tmp_path: Path) -> None:
    tensors = {"model.layers.1.mlp(3)-output_0": torch.ones(1), "x": torch.ones(2)}
    save_file(tensors, tmp_path / "part.safetensors")
    by_key = {record.key: record for record in listed(tmp_path / "part.safetensors", alone=False)}
    named = by_key["model.layers.1.mlp(3)-output_0"]
    assert named.name == named.key
    assert (named.module, named.slot, named.call) == ("model.layers.1.mlp", "output_0", 3)
    assert by_key["x"].name == "part/x"
    assert {record.name for record in listed(tmp_path / "part.safetensors")} == tensors.keys()


def test_one_tensor_a_file_goes_by_the_file(tmp_path: Path) -> None:
    for name in ("model.norm-output", "model.mlp-output"):
        save_file({"tensor": torch.ones(2)}, tmp_path / f"{name}.safetensors")
    capture = open_capture(tmp_path)
    assert {record.name for record in capture.records} == {"model.norm-output", "model.mlp-output"}
    assert {record.slot for record in capture.records} == {"output"}
    assert capture.unreadable == 0


def test_the_same_key_twice_is_shown_and_not_compared(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_file({"model.norm-output": torch.ones(2)}, tmp_path / f"{name}.safetensors")
    capture = open_capture(tmp_path)
    assert [str(record.error)[:14] for record in capture.records] == ["duplicate name"] * 2


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "F4"}, "unknown safetensors dtype 'F4'"),
        ({"dtype": ["F32"]}, "unknown safetensors dtype"),
        ({"shape": [3]}, "8 bytes promised, the shape takes 12"),
        ({"shape": [-2]}, "whole number"),
        ({"shape": [2.0]}, "whole number"),
        ({"shape": [[2]]}, "whole number"),
        ({"shape": "2"}, "not a list"),
        ({"shape": [1] * 40}, "dimensions"),
        ({"shape": [0, 2**62, 2**62], "data_offsets": [0, 0]}, "larger than any memory"),
        ({"data_offsets": [8, 0]}, "rising"),
        ({"data_offsets": [-8, 0]}, "rising"),
        ({"data_offsets": [0]}, "not complete"),
        ({"data_offsets": None}, "not complete"),
        ({"data_offsets": [4, 12]}, "truncated"),
        ({"data_offsets": [2**70, 2**70 + 8]}, "truncated"),
    ],
)
def test_one_damaged_entry_costs_one_record(tmp_path: Path, change: Any, message: str) -> None:
    header = {"a.good": dict(F32, data_offsets=[8, 16]), "a.bad": {**F32, **change}}
    size = 16
    if change.get("data_offsets") == [4, 12]:
        header["a.good"], size = dict(F32, shape=[1], data_offsets=[0, 4]), 11
    path = written(tmp_path / "x.safetensors", header, bytes(size))
    good, bad = listed(path)
    assert good.error is None
    assert message in str(bad.error)
    assert bad.locator is None


def test_overlapping_tensors(tmp_path: Path) -> None:
    header = {
        "a.1": F32,
        "a.2": dict(F32, data_offsets=[4, 12]),
        "a.3": dict(F32, data_offsets=[12, 20]),
    }
    first, second, third = listed(written(tmp_path / "x.safetensors", header, bytes(20)))
    assert "overlap" in str(first.error)
    assert "overlap" in str(second.error)
    assert third.error is None


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{", "not JSON"),
        (b"\xff\xfe\xfd", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a": ' * 100_000, "not JSON"),
        (b"{}", "holds no tensor"),
        (b'{"__metadata__": {"a": "b"}}', "holds no tensor"),
        (b'{"\\ud800": {}}', "not text"),
        (json.dumps({"k": F32})[:-1].encode() + b', "k": ' + json.dumps(F32).encode() + b"}",
         "occurs twice"),
        (b'{"k": {"dtype": "F32", "dtype": "I32", "shape": [2], "data_offsets": [0, 8]}}',
         "occurs twice"),
    ],
    ids=range(11),
)  # fmt: skip
def test_headers_that_are_none(tmp_path: Path, header: bytes, message: str) -> None:
    path = written(tmp_path / "x.safetensors", header, bytes(8))
    with pytest.raises(RecordError, match=message):
        listed(path)


@pytest.mark.parametrize("content", [b"", b"\x01\x00", b"\xff" * 8, b"\xff\xff\0\0\0\0\0\0{}"])
def test_lengths_that_lie(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(RecordError, match=r"truncated|not a safetensors file"):
        listed(tmp_path / "x.safetensors")
    with pytest.raises(CaptureError):
        open_capture(tmp_path / "x.safetensors")


def test_a_tensor_named_shape(tmp_path: Path) -> None:
    """Names that look like the header's own words do not confuse the search for duplicates."""
    save_file({"shape": torch.ones(2), "dtype": torch.ones(3)}, tmp_path / "x.safetensors")
    assert [record.error for record in listed(tmp_path / "x.safetensors")] == [None, None]


def test_ten_thousand_tensors_are_listed_quickly(tmp_path: Path) -> None:
    header = {
        f"model.layers.{i}.mlp-output": {
            "dtype": "F32", "shape": [1, 2], "data_offsets": [8 * i, 8 * i + 8],
        }
        for i in range(10_000)
    }  # fmt: skip
    path = written(tmp_path / "x.safetensors", header, bytes(80_000))
    times = []
    for _ in range(3):
        start = time.process_time()
        assert len(listed(path)) == 10_000
        times.append(time.process_time() - start)
    assert min(times) < 0.5  # 0.05 s on an idle core


def test_thousands_of_tensors_in_the_same_bytes_are_one_line(tmp_path: Path) -> None:
    same = {"dtype": "F32", "shape": [256], "data_offsets": [0, 1024]}
    text = json.dumps({f"layers.{number}.x": same for number in range(5000)}).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(1024))
    with pytest.raises(CaptureError, match="the bytes of 5000 of 5000 tensors overlap"):
        open_capture(path)


def long_header(names: list[str]) -> dict[str, Any]:
    return {
        name: {"dtype": "F32", "shape": [1], "data_offsets": [4 * at, 4 * at + 4]}
        for at, name in enumerate(names)
    }


@pytest.mark.parametrize("odd", ["plain", 'a},"b', '{"x":{},"', "ü},\\", '},"'])
def test_headers_of_a_megabyte_are_parsed_as_a_whole_one_is(tmp_path: Path, odd: str) -> None:
    names = [f"layers.{n}.mlp.{odd}" for n in range(20_000)]
    header = long_header(names)
    for separators in ((",", ":"), (", ", ": ")):
        text = json.dumps(header, separators=separators, ensure_ascii=False).encode()
        assert len(text) > 1 << 20
        data = len(text).to_bytes(8, "little") + text + bytes(4 * len(names))
        (tmp_path / "x.safetensors").write_bytes(data)
        found = safetensors_file.read_file_header(str(tmp_path / "x.safetensors"))
        assert found.tensors == header and list(found.tensors) == names


def test_a_key_that_occurs_twice_far_apart_is_an_error(tmp_path: Path) -> None:
    text = json.dumps(long_header([f"layers.{n}" for n in range(20_000)]))
    again = json.dumps(long_header(["layers.3"]))
    text = text[:-1] + "," + again[1:]
    (tmp_path / "x.safetensors").write_bytes(
        len(text).to_bytes(8, "little") + text.encode() + bytes(80_000)
    )
    with pytest.raises(RecordError, match="a key occurs twice"):
        safetensors_file.read_file_header(str(tmp_path / "x.safetensors"))


@pytest.mark.parametrize("end", ["", "}", "},", '},"', ",", "]"])
def test_a_long_header_that_ends_too_early_or_late_is_damaged(tmp_path: Path, end: str) -> None:
    text = json.dumps(long_header([f"layers.{n}" for n in range(20_000)]), separators=(",", ":"))
    text = text[:-2] + end if end != "]" else text + end
    (tmp_path / "x.safetensors").write_bytes(
        len(text).to_bytes(8, "little") + text.encode() + bytes(80_000)
    )
    with pytest.raises(RecordError, match="not JSON"):
        safetensors_file.read_file_header(str(tmp_path / "x.safetensors"))
