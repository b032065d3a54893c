"""Damaged dumps of other tools: an error in words or a value, never anything else, and never more
memory than the file has.
"""

from __future__ import annotations

import base64
import io
import json
import pickle
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.distributed.checkpoint.state_dict_saver import save

from layertui.capture import Capture, open_capture
from layertui.capture.errors import CaptureError, RecordError
from layertui.capture.formats.pickles.torch_client import list_tensors
from layertui.capture.load import load_any

FUZZ = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture,
    ],
)  # fmt: skip
Files = dict[str, bytes]  # the first one is damaged


def npy(array: Any) -> str:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return base64.b64encode(buffer.getvalue()).decode()


def tensor(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def gguf() -> bytes:
    import struct

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    head = b"GGUF" + struct.pack("<IQQ", 3, 2, 2)
    head += text("general.alignment") + struct.pack("<II", 4, 32)
    head += text("tokens") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("b")
    head += text("x") + struct.pack("<IQQIQ", 2, 4, 2, 0, 0)
    head += text("q") + struct.pack("<IQIQ", 1, 32, 8, 32)
    return head + bytes(-len(head) % 32) + np.arange(8, dtype="<f4").tobytes() + b"\0\x3c" * 17


def packed_by_msgpack_numpy() -> bytes:
    """Two arrays as maps with dtype, shape and data, as msgpack-numpy writes them."""

    def text(word: str) -> bytes:
        return bytes([0xA0 | len(word)]) + word.encode()

    array = (
        b"\x85" + text("nd") + b"\xc3" + text("type") + text("<f4") + text("kind") + b"\xc4\x00"
        + text("shape") + b"\x92\x02\x03" + text("data") + b"\xc4\x18" + bytes(range(24))
    )  # fmt: skip
    return b"\x82" + text("layers.0.mlp") + array + text("layers.1.mlp") + array


def msgpack() -> bytes:
    def array(values: np.ndarray) -> bytes:  # type: ignore[type-arg]
        name, raw = str(values.dtype).encode(), values.tobytes()
        sizes = bytes([0x90 + values.ndim, *values.shape])
        inner = b"\x93" + sizes + bytes([0xA0 + len(name)]) + name + b"\xc4" + bytes([len(raw)])
        inner += raw
        return b"\xc7" + bytes([len(inner), 1]) + inner

    parts = b"\xa1a" + array(np.arange(6, dtype="<f4").reshape(2, 3))
    return b"\x82" + parts + b"\xa1b\x81\xa1c" + array(np.ones(2, "<f8"))


def tree() -> dict[str, Any]:
    leaf = {"shape": "torch.Size([1, 2])", "dtype": "torch.float32",
            "value": ["tensor([[1.0000e+00, 2.0000e+00]])"], "mean": "tensor(1.5e+00)"}  # fmt: skip
    norm = {"module_path": "M.norm", "inputs": {"args": [leaf]}, "outputs": leaf}
    layer = {"module_path": "M.layers.0", "inputs": {"kwargs": {"x": leaf}}, "children": []}
    return {"module_path": "M", "inputs": {}, "children": [layer, norm]}


def msprobe(name: str | None) -> dict[str, Any]:
    leaf: dict[str, Any] = {"dtype": "torch.float32", "shape": [2], "Max": 1.0, "Norm": 2.0}
    if name:
        leaf["data_name"] = name
    call = {"input_args": [leaf], "input_kwargs": {}, "output": [leaf]}
    return {"task": "tensor", "data": {"Module.m.Linear.forward.0": call}}


def metadata() -> Files:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        save({"a.b": torch.arange(6.0)}, checkpoint_id=folder, no_dist=True)
        files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    return {".metadata": files.pop(".metadata"), **files}


def onnx() -> bytes:
    def field(number: int, data: bytes) -> bytes:
        return bytes([number << 3 | 2, len(data)]) + data

    scopes = field(1, b"pkg.torch.onnx.name_scopes") + field(2, b"['', 'm.fc', 'n']")
    node = field(1, b"x") + field(2, b"y") + field(9, scopes)
    return field(7, field(1, node) + field(12, field(1, b"y")))


LLAMA = (
    b"common_debug_cb_eval: x-0 = (f32) ADD(a{8, 2, 1, 1}, }) = {8, 2, 1, 1}\n[\n [\n"
    b"  [ 1.0, 2.0, 3.0, ..., 4.0, 5.0, 6.0 ],\n  [ 1.0, 2.0, 3.0, ..., 4.0, 5.0, 6.0 ],\n ],\n]\n"
    b"sum = 42.0\n"
)
ARRAYS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": [np.ones(2), None]}
NPZ = io.BytesIO()
np.savez(NPZ, y=np.ones(2))
DUMPS: dict[str, Files] = {
    "pickle 2": {"x.pkl": pickle.dumps(ARRAYS, 2)},
    "pickle 5": {"x.pkl": pickle.dumps(ARRAYS, 5)},
    "tensors in a pickle": {"x.pkl": pickle.dumps({"t": torch.arange(3.0), "a": np.ones(2)}, 4)},
    "arrays in a torch file": {"x.pt": tensor({**ARRAYS, "t": torch.ones(2)})},
    "object array": {"x.npy": base64.b64decode(npy(np.array(ARRAYS, object)))},
    "checkpoint": {"x.bin": tensor({"model": {"a.b": torch.ones(2)}})},
    "gguf": {"x.gguf": gguf()},
    "msgpack": {"x.msgpack": msgpack()},
    "msgpack-numpy": {"x.msgpack": packed_by_msgpack_numpy()},
    "tree": {"M_debug_tree_FULL_TENSORS.json": json.dumps(tree()).encode()},
    "msprobe": {"dump.json": json.dumps(msprobe(None)).encode()},
    "msprobe tensors": {
        "dump.json": json.dumps(msprobe("a.pt")).encode(),
        "dump_tensor_data/a.pt": tensor(torch.ones(2)),
    },
    "polygraphy": {
        "x.json": json.dumps(
            {"lst": [["r", [{"outputs": {"y": {"values": {"array": npy(np.ones(2))}}}}]]]}
        ).encode()
    },
    "json": {"x.json": b'{"a": [[1.5, 2], [3, null]], "b": {"shape": [2], "data": [1, 2]}}'},
    "json lines": {"x.jsonl": b'{"name": "a", "values": [1.5]}\n{"name": "b", "values": [2]}\n'},
    "table": {"x.csv": b"a,b\n1.5,2\n3,nan\n"},
    "header": {"x.txt": b"shape = (2, 2)\n1.5 2.5\n3.5 4.5\n"},
    "llama.cpp": {"x.log": LLAMA},
    "sglang": {
        "step=0___rank=0___dump_index=3___name=q.pt": tensor(
            {"value": torch.ones(2), "meta": {"name": "q", "step": 0, "dump_index": 3}}
        )
    },
    "passes": {
        "TP0_PP0_Rank0_pid7/Pass00001.pt": tensor({"model": torch.ones(2), "m.a": torch.ones(2)})
    },
    "dcp": metadata(),
    "dcp data": dict(reversed(metadata().items())),
    "onnx": {"g.onnx": onnx(), "x.npz": NPZ.getvalue()},
    "labels": {"x.log": b"layer 0\nmlp\ntensor([[1., 2.],\n        [3., 4.]])\n"},
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def little_memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whoever believes a size in a damaged header gets a MemoryError."""
    old = tmp_path_factory.mktemp("old") / "old.pt"
    torch.save({"a": torch.ones(2)}, old, _use_new_zipfile_serialization=False)
    list_tensors(str(old))  # the child with torch maps more than the limit by being there
    if not Path("/proc/self/statm").exists():
        yield
        return
    with open("/proc/self/statm") as file:
        mapped = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (mapped + (3 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("around") / "dump"


def survive(folder: Path, files: Files, content: bytes | None = None) -> Capture | None:
    """Open the capture and load everything; whatever is wrong must be said in one line."""
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
    for index, (name, data) in enumerate(files.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if content is not None and index == 0 else data)
    try:
        capture = open_capture(folder)
    except CaptureError as error:
        assert "\n" not in str(error)
        return None
    assert capture.records
    for record in capture.records:
        record.name.encode()
        assert record.locator is not None or record.error or record.stats
        assert "\n" not in (record.error or "")
        if record.locator is not None:
            try:
                assert tuple(load_any(record.locator).shape) == record.shape
            except RecordError as error:
                assert "\n" not in str(error)
    for note in capture.notes:
        assert "\n" not in note
    return capture


@pytest.mark.parametrize("kind", DUMPS)
def test_the_undamaged_dump_is_read(folder: Path, kind: str) -> None:
    capture = survive(folder, DUMPS[kind])
    assert capture is not None
    assert capture.unreadable == 0


@pytest.mark.parametrize("kind", DUMPS)
def test_cut_anywhere(folder: Path, kind: str) -> None:
    data = next(iter(DUMPS[kind].values()))
    for end in sorted(
        {*range(0, len(data), max(1, len(data) // 60)), *range(len(data) - 9, len(data))}
    ):
        survive(folder, DUMPS[kind], data[: max(0, end)])


@pytest.mark.parametrize("kind", DUMPS)
@FUZZ
@given(data=st.data())
def test_flipped_bits(folder: Path, kind: str, data: st.DataObject) -> None:
    content = bytearray(next(iter(DUMPS[kind].values())))
    for bit in data.draw(st.lists(st.integers(0, len(content) * 8 - 1), min_size=1, max_size=4)):
        content[bit // 8] ^= 1 << (bit % 8)
    survive(folder, DUMPS[kind], bytes(content))


@pytest.mark.parametrize("kind", DUMPS)
@FUZZ
@given(data=st.data())
def test_replaced_pieces(folder: Path, kind: str, data: st.DataObject) -> None:
    content = next(iter(DUMPS[kind].values()))
    start = data.draw(st.integers(0, len(content)))
    length = data.draw(st.integers(0, 40))
    large = [
        b"\xff" * 4,
        b"\xff" * 8,
        b"9" * 30,
        b"\0" * 8,
        b"-1",
        b"1e999",
        b"[[",
        b"\x7f\xff" * 4,
    ]
    piece = data.draw(st.binary(max_size=20) | st.sampled_from(large))
    survive(folder, DUMPS[kind], content[:start] + piece + content[start + length :])


HOSTILE = {
    "nested lists": {"x.json": b'{"a": ' + b"[" * 100_000 + b"1" + b"]" * 100_000 + b"}"},
    "many numbers": {"x.json": b"[" + b"1," * 2_000_000 + b"1]"},
    "shape of 2^60": {"x.json": b'{"a": {"shape": [1152921504606846976], "data": [1, 2]}}'},
    "deep tree": {
        "M_debug_tree_SUMMARY.json": b'{"module_path": "M", "children": [' * 900 + b"]}" * 900
    },
    "gguf of 2^60 tensors": {"x.gguf": gguf()[:8] + (1 << 60).to_bytes(8, "little") + gguf()[16:]},
    "msgpack of 4 billion items": {"x.msgpack": b"\xdf\xff\xff\xff\xff" + b"\xa1a\x01" * 9},
    "nested msgpack": {"x.msgpack": b"\x91" * 100_000},
    "varints": {"g.onnx": b"\xff" * 100_000, "x.npz": NPZ.getvalue()},
    "line of brackets": {"x.csv": b"[" * 5_000_000},
    "one line": {"x.csv": b"1," * 3_000_000},
    "labels": {"x.log": b"layer 0\n" * 300_000 + b"q = tensor([1.])\n"},
    "names": {"x.log": b"a." * 2_000_000 + b" = tensor([1.])\n"},
    "headers": {"x.log": b"ggml_debug: x = (f32) ADD(a{1}, }) = {9, 9, 9, 9}\n" * 100_000},
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_dumps_cost_seconds(folder: Path, kind: str) -> None:
    began = time.process_time()
    survive(folder, HOSTILE[kind])
    assert time.process_time() - began < 20


@pytest.mark.parametrize(
    "name", ["x.log", "x.txt", "x.csv", "x.json", "x.pkl", "x.gguf", "x.msgpack", "x.bin", "x.npy",
             "x.safetensors", "x.pt", "dump.json", "a_debug_tree_SUMMARY.json", "x.distcp"],
)  # fmt: skip
@pytest.mark.parametrize("head", [b"", b"q = tensor([1.0,\n", b"1.5, 2.5\n"])
def test_sparse_files_of_64_gigabytes(tmp_path: Path, name: str, head: bytes) -> None:
    with open(tmp_path / name, "wb") as file:
        file.write(head)
        file.truncate(64 << 30)
    began = time.process_time()
    try:
        capture = open_capture(tmp_path)
    except CaptureError as error:
        assert "\n" not in str(error)
    else:
        assert capture.unreadable == len(capture.records)
    assert time.process_time() - began < 20
