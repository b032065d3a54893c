"""Damaged files of every binary format: an error in words or a value, never anything else."""

from __future__ import annotations

import io
import json
import resource
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from layertui.capture import Capture, open_capture
from layertui.capture.errors import CaptureError, RecordError
from layertui.capture.formats.pickles import tensor_pickle, torch_client
from layertui.capture.load import load
from layertui.capture.values import upcast

FUZZ = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
_MANIFEST_HEADER = b'{"layertui": 1, "framework": "torch"}\n'


def torch_bytes(zipped: bool) -> bytes:
    buffer = io.BytesIO()
    small = torch.float8_e5m2 if zipped else torch.float16  # torch fails on fp8 in the older format
    tensors = {
        "a.b-output": torch.arange(12.0).reshape(3, 4).t(),
        "c": [torch.ones(2).bfloat16(), torch.ones(2).to(small)],
        "n": 3,
    }
    torch.save(tensors, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def numpy_bytes(save: Callable[..., None]) -> bytes:
    buffer = io.BytesIO()
    array = np.arange(12, dtype=np.float32).reshape(3, 4).T
    save(buffer, array) if save is np.save else save(buffer, a=array, b=np.ones(2))
    return buffer.getvalue()


def shard_bytes() -> bytes:
    tensors = {"0": torch.arange(6.0).reshape(2, 3), "1": torch.ones(3).bfloat16()}
    return safetensors.torch.save(tensors)


def manifest_bytes() -> bytes:
    common = {"call": 1, "step": 0, "file": "data-00001.safetensors", "same_as": None}
    lines = [
        {"seq": 0, "module": "a", "slot": "input_0", "shape": [2, 3], "dtype": "float32",
         "key": "0", "call_id": 1, **common},
        {"seq": 1, "module": "a", "slot": "output", "shape": [3], "dtype": "bfloat16",
         "key": "1", "call_id": 1, **common},
        {"seq": 2, "module": "b", "slot": "output", "shape": [6], "dtype": "float32",
         **common, "file": None, "same_as": 0},
        {"meta": {"prompt": "x"}},
        {"end": True, "records": 3},
    ]  # fmt: skip
    return _MANIFEST_HEADER + b"".join(json.dumps(line).encode() + b"\n" for line in lines)


FILES = {
    "x.pt": torch_bytes(zipped=True),
    "old.pt": torch_bytes(zipped=False),
    "x.npy": numpy_bytes(np.save),
    "x.npz": numpy_bytes(np.savez),
    "packed.npz": numpy_bytes(np.savez_compressed),
    "x.safetensors": shard_bytes(),
    "data-00001.safetensors": shard_bytes(),
    "manifest.jsonl": manifest_bytes(),
}
FAST = [name for name in FILES if name != "old.pt"]  # torch itself reads the older format


@pytest.fixture(scope="module", autouse=True)
def little_memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whoever believes a size in a damaged header gets a MemoryError. The child with torch, which
    maps more than that by being there, is started before.
    """
    old = tmp_path_factory.mktemp("old") / "old.pt"
    old.write_bytes(FILES["old.pt"])
    torch_client.list_tensors(str(old))
    if not Path("/proc/self/statm").exists():  # no such limit outside Linux
        yield
        return
    with open("/proc/self/statm") as file:
        mapped = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (mapped + (3 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as around:  # logs beside the capture would be read with it
        place = Path(around, "dump")
        place.mkdir()
        yield place


def survive(folder: Path, name: str, content: bytes) -> Capture | None:
    """Open the capture and load everything; whatever is wrong must be said in one line."""
    for path in folder.iterdir():
        path.unlink()
    if name == "manifest.jsonl":
        (folder / "data-00001.safetensors").write_bytes(FILES["data-00001.safetensors"])
    if name == "data-00001.safetensors":
        (folder / "manifest.jsonl").write_bytes(FILES["manifest.jsonl"])
    (folder / name).write_bytes(content)
    try:
        capture = open_capture(folder)
    except CaptureError as error:
        assert "\n" not in str(error)
        return None
    assert capture.records
    for record in capture.records:
        record.name.encode()
        assert (record.locator is None) == (record.error is not None or record.stats is not None)
        if record.error is not None:
            assert "\n" not in record.error
        if record.locator is not None:
            try:
                raw = load(record.locator)
                assert raw.shape == record.shape
                upcast(raw, record.locator.dtype)
            except RecordError as error:
                assert "\n" not in str(error)
    return capture


@pytest.mark.parametrize("name", FILES)
def test_the_undamaged_file_is_read(folder: Path, name: str) -> None:
    capture = survive(folder, name, FILES[name])
    assert capture is not None
    assert capture.unreadable == 0


@pytest.mark.parametrize("name", FAST)
def test_cut_anywhere(folder: Path, name: str) -> None:
    data = FILES[name]
    ends = {*range(0, len(data), max(1, len(data) // 250)), *range(len(data) - 40, len(data))}
    for end in sorted(ends):
        capture = survive(folder, name, data[:end])
        if capture is not None and name not in ("manifest.jsonl", "x.npy"):
            assert capture.unreadable or len(capture.records) == 3


@pytest.mark.parametrize("name", FAST)
@FUZZ
@given(data=st.data())
def test_flipped_bits(folder: Path, name: str, data: st.DataObject) -> None:
    content = bytearray(FILES[name])
    where = st.integers(0, len(content) * 8 - 1)
    for bit in data.draw(st.lists(where, min_size=1, max_size=4)):
        content[bit // 8] ^= 1 << (bit % 8)
    survive(folder, name, bytes(content))


@pytest.mark.parametrize("name", FAST)
@FUZZ
@given(data=st.data())
def test_replaced_pieces(folder: Path, name: str, data: st.DataObject) -> None:
    content = FILES[name]
    start = data.draw(st.integers(0, len(content)))
    length = data.draw(st.integers(0, 40))
    piece = data.draw(
        st.binary(max_size=20) | st.sampled_from([b"\xff" * 4, b"\xff" * 8, b"9" * 30, b"\0" * 8])
    )
    survive(folder, name, content[:start] + piece + content[start + length :])


@settings(FUZZ, max_examples=40)
@given(place=st.floats(0, 1), piece=st.binary(min_size=1, max_size=8))
def test_damaged_files_that_torch_reads(folder: Path, place: float, piece: bytes) -> None:
    content = FILES["old.pt"]
    start = 20 + int(place * (len(content) - 20))
    survive(folder, "old.pt", content[:start] + piece + content[start + len(piece) :])


@pytest.mark.parametrize("name", FILES)
@settings(FUZZ, max_examples=30)
@given(content=st.binary(max_size=300))
def test_random_bytes(folder: Path, name: str, content: bytes) -> None:
    survive(folder, name, content)


_OPCODES = st.sampled_from([bytes([code]) for code in range(256)])
_SENSIBLE = st.sampled_from(
    [
        b"}", b"]", b")", b"(", b"t", b"\x85", b"\x86", b"\x87", b"q\x00", b"h\x00", b"K\x05",
        b"X\x01\x00\x00\x00a", b"a", b"e", b"s", b"u", b"R", b"Q", b"b", b"2", b"0", b"\x94",
        b"X\x07\x00\x00\x00storage", b"ctorch\nFloatStorage\n", b"ctorch\nSize\n",
        b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch._utils\n_rebuild_parameter\n",
        b"ccollections\nOrderedDict\n", b"cposix\nsystem\n", b"\x93", b"\x8a\x01\xff", b"N",
    ]
)  # fmt: skip


@settings(FUZZ, max_examples=300)
@given(parts=st.lists(_SENSIBLE | _OPCODES, max_size=40))
def test_pickles_of_any_instructions(parts: list[bytes]) -> None:
    try:
        found = tensor_pickle.read_tensors(b"\x80\x02" + b"".join(parts) + b".")
    except RecordError as error:
        assert "\n" not in str(error)
    except tensor_pickle.NeedsTorchError:
        pass
    else:
        assert all(isinstance(tensor, tensor_pickle.Tensor) for _, tensor in found)
