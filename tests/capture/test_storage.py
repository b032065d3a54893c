"""Captures that lie elsewhere, and what reads them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import layertui.capture as capture_package
from layertui.capture import CaptureError, open_capture, storage
from layertui.capture.errors import RecordError
from layertui.capture.first_names import first_names
from layertui.capture.load import load
from layertui.compare.comparison import open_comparison
from layertui.compare.model import Measurement
from support.memory_storage import SCHEME, MemoryStorage
from support.remote.captures_of_all_kinds import values_of, write_all_kinds

torch = pytest.importorskip("torch")


@pytest.fixture
def memory() -> Iterator[MemoryStorage]:
    held = MemoryStorage()
    storage.register(SCHEME, held)
    yield held
    storage.unregister(SCHEME)


def test_every_format_is_read_from_another_storage(tmp_path: Path, memory: MemoryStorage) -> None:
    write_all_kinds(tmp_path / "dump")
    place = memory.keep(tmp_path / "dump", "far")
    here, there = open_capture(tmp_path / "dump"), open_capture(place)
    assert [record.name for record in here.records] == [record.name for record in there.records]
    assert here.format == there.format
    assert first_names(place) == first_names(str(tmp_path / "dump"))
    expected, found = values_of(here), values_of(there)
    assert expected.keys() == found.keys() and len(found) == 6
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("side", ["llama-f32/torch_dump", "llama-f32/max_dump"])
def test_a_real_capture_elsewhere_equals_the_one_here(
    side: str, real: Path, memory: MemoryStorage
) -> None:
    here, there = open_capture(real / side), open_capture(memory.keep(real / side, "far"))
    assert [record.name for record in here.records] == [record.name for record in there.records]
    assert (here.order_source, here.notes) == (there.order_source, there.notes)
    for one, other in zip(here.records, there.records, strict=True):
        assert one.locator is not None and other.locator is not None
        np.testing.assert_array_equal(load(one.locator), load(other.locator))


def test_pairs_are_measured_across_storages(tmp_path: Path, memory: MemoryStorage) -> None:
    write_all_kinds(tmp_path / "dump")
    place = memory.keep(tmp_path / "dump", "far")
    comparison = open_comparison(str(tmp_path / "dump"), place)
    comparison.measure(use_cache=False, threads=1)
    results = [result for result in comparison.measurements if isinstance(result, Measurement)]
    assert len(results) == 6
    assert {result.max_abs for result in results} == {0.0}


def test_a_native_capture_is_read_from_another_storage(
    tmp_path: Path, memory: MemoryStorage
) -> None:
    from layertui.capture import record

    with record(None, tmp_path / "dump") as recorder:
        recorder.add("layers.0", np.arange(5, dtype=np.float32))
    place = memory.keep(tmp_path / "dump", "far")
    (found,) = values_of(open_capture(place)).values()
    np.testing.assert_array_equal(found, np.arange(5, dtype=np.float32))
    assert open_capture(place).complete


def test_what_is_not_there_is_one_clear_line(memory: MemoryStorage) -> None:
    with pytest.raises(CaptureError, match=r"^memory://none: no such file or directory$"):
        open_capture("memory://none")


def test_a_file_cut_short_elsewhere_is_an_error_not_zeros(
    tmp_path: Path, memory: MemoryStorage
) -> None:
    (tmp_path / "dump").mkdir()
    np.save(tmp_path / "dump" / "x.npy", np.ones(1000, np.float32))
    place = memory.keep(tmp_path / "dump", "far")
    (record,) = open_capture(place).records
    assert record.locator is not None
    memory.held[f"{place}/x.npy"] = memory.held[f"{place}/x.npy"][:500]
    with pytest.raises(RecordError, match="truncated"):
        load(record.locator)


@given(st.binary(max_size=3000), st.integers(0, 4000), st.integers(0, 4000))
def test_local_files_give_the_bytes_asked_for(data: bytes, offset: int, length: int) -> None:
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        with storage.open_file(file.name) as opened:
            assert opened.size == len(data)
            assert opened.read_at(offset, length) == data[offset : offset + length]
            buffer = bytearray(length)
            got = opened.read_into(memoryview(buffer), offset)
            assert bytes(buffer[:got]) == data[offset : offset + length]
        if length and offset + length <= len(data):
            assert storage.LOCAL.map(file.name, offset, length) == data[offset : offset + length]


# The modules that may touch files themselves: the storage, and what writes captures or runs models.
_MAY = (
    "storage.py", "remote/", "user/", "writing.py", "sizes.py", "extras.py", "recorder/",
    "runners/", "engines/", "models/", "demo/", "cpp/", "snippets/",
    "formats/pickles/torch_child.py", "formats/pickles/torch_client.py",
)  # fmt: skip
_OF_OS = {"open", "stat", "lstat", "fstat", "scandir", "listdir", "pread", "preadv", "walk"}
_OF_PATH = {"exists", "lexists", "isfile", "isdir", "islink", "getsize", "realpath", "getmtime"}


def _touches_files(call: ast.Call) -> bool:
    function = call.func
    if isinstance(function, ast.Name):
        return function.id in ("open", "Path")
    if not isinstance(function, ast.Attribute):
        return False
    owner = ast.unparse(function.value)
    return (
        (owner == "os" and function.attr in _OF_OS)
        or (owner == "os.path" and function.attr in _OF_PATH)
        or (owner == "np" and function.attr in ("memmap", "fromfile", "load"))
    )


def test_only_the_storage_touches_the_files_of_captures() -> None:
    (root,) = map(Path, capture_package.__path__)
    found = [
        f"{name}:{node.lineno}: {ast.unparse(node)}"
        for file in sorted(root.rglob("*.py"))
        if not (name := str(file.relative_to(root))).startswith(_MAY)
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and _touches_files(node)
    ]
    assert [line for line in found if "Path.home()" not in line] == []
