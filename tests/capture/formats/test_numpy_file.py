"""`.npy` and `.npz`: as numpy reads them, without numpy for the headers, never with pickles."""

from __future__ import annotations

import copy
import io
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layertui.capture import CaptureError, Record, open_capture
from layertui.capture.errors import RecordError
from layertui.capture.files import FoundFile
from layertui.capture.formats import numpy_file
from layertui.capture.formats.context import Context
from layertui.capture.formats.registry import format_named
from layertui.capture.formats.zip_directory import Archive, Entry
from layertui.capture.load import load

DTYPES = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"]


def listed(path: Path, alone: bool = False) -> list[Record]:
    found = FoundFile(str(path), str(path.parent), path.name, 0)
    context = Context(alone=alone)
    assert format_named("numpy file").claims(found, found.suffix, context)
    return numpy_file.list_records(found, context)


def read(path: Path) -> Record:
    (record,) = listed(path)
    (record,) = numpy_file.read_header(record)
    return record


def some(code: str, *shape: int) -> np.ndarray[Any, Any]:
    dtype = np.dtype(code)
    count = int(np.prod(shape)) * dtype.itemsize
    data = np.random.default_rng(3).integers(0, 256, count, np.uint8)
    return (data.astype("?") if code == "?" else data.view(dtype)).reshape(shape)


def check(record: Record, expected: np.ndarray[Any, Any]) -> None:
    assert record.locator is not None
    assert record.shape == record.locator.shape == expected.shape
    assert record.dtype == expected.dtype.name
    values = load(record.locator)
    assert values.shape == expected.shape
    native = expected.astype(expected.dtype.newbyteorder("<"))
    assert values.dtype == native.dtype
    assert np.ascontiguousarray(values).tobytes() == np.ascontiguousarray(native).tobytes()


@pytest.mark.parametrize("code", DTYPES)
def test_every_dtype_bit_for_bit(tmp_path: Path, code: str) -> None:
    np.save(tmp_path / "x.npy", some(code, 3, 4))
    record = read(tmp_path / "x.npy")
    check(record, some(code, 3, 4))
    assert record.locator is not None
    assert record.locator.reader == "raw"


@pytest.mark.parametrize("code", [">i2", ">f4", ">f8", ">c16", ">u1"])
def test_big_endian(tmp_path: Path, code: str) -> None:
    np.save(tmp_path / "x.npy", some(code, 3, 4).copy(order="F"))
    check(read(tmp_path / "x.npy"), some(code, 3, 4))


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (1,), (1, 5), (2, 3, 4), (3, 1, 4, 1)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_shapes_in_both_orders(tmp_path: Path, shape: tuple[int, ...], order: Any) -> None:
    array = some("f4", *shape).copy(order=order)
    np.save(tmp_path / "x.npy", array)
    check(read(tmp_path / "x.npy"), array)
    np.savez_compressed(tmp_path / "y.npz", x=array)
    check(read(tmp_path / "y.npz"), array)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_header_versions(tmp_path: Path, version: tuple[int, int]) -> None:
    array = some("f4", 7)
    with open(tmp_path / "x.npy", "wb") as file:
        np.lib.format.write_array(file, array, version=version)
    check(read(tmp_path / "x.npy"), array)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_members(tmp_path: Path, save: Any) -> None:
    arrays = {
        "model.layers.0.mlp(2)-output": some("f4", 2, 3),
        "plain": some("f8", 5).reshape(5, 1).copy(),
        "turned": some("i4", 3, 4).T,
        "big": some(">f4", 4),
    }
    save(tmp_path / "dump.npz", **arrays)
    records = listed(tmp_path / "dump.npz")
    assert [record.name for record in records] == [
        "dump/model.layers.0.mlp(2)-output", "dump/plain", "dump/turned", "dump/big",
    ]  # fmt: skip
    first = records[0]
    assert (first.module, first.slot, first.call) == ("model.layers.0.mlp", "output", 2)
    for record, array in zip(records, arrays.values(), strict=True):
        (complete,) = numpy_file.read_header(record)
        check(complete, array)
    (complete,) = numpy_file.read_header(records[1])
    assert complete.locator is not None
    assert complete.locator.reader == ("raw" if save is np.savez else "npz")


def test_alone_an_npz_gives_its_own_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "dump.npz", a=np.ones(2), b=np.zeros(2))
    capture = open_capture(tmp_path / "dump.npz")
    assert [record.name for record in capture.records] == ["a", "b"]
    np.save(tmp_path / "c.npy", np.ones(1))
    capture = open_capture(tmp_path)
    assert {record.name for record in capture.records} == {"c", "dump/a", "dump/b"}
    assert capture.unreadable == 0


def test_listing_an_npy_opens_nothing(tmp_path: Path) -> None:
    (record,) = listed(tmp_path / "model.mlp-output_1.npy")
    assert (record.module, record.slot) == ("model.mlp", "output_1")


class Evil:
    """Runs a command when unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        import os

        return os.system, (self.command,)


def test_pickles_are_refused_and_not_run(tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    evil = np.array([Evil(f"touch {trap}")], dtype=object)
    np.save(tmp_path / "e.npy", evil, allow_pickle=True)
    np.savez(tmp_path / "e.npz", evil=evil)
    for name in ("e.npy", "e.npz"):
        with pytest.raises(RecordError, match=r"refused: (an array of Python|pickle wants posix)"):
            read(tmp_path / name)
    assert not trap.exists()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(3, "V2"), "does not say what it is"),
        (np.zeros(3, "V1"), "does not say what it is"),
        (np.zeros(3, [("a", "f4"), ("b", "i4")]), "structured"),
        (np.zeros(3, "U5"), "unknown numpy dtype"),
        (np.zeros(3, "M8[s]"), "unknown numpy dtype"),
        (np.zeros(3, np.longdouble), "unknown numpy dtype"),
    ],
)
def test_types_that_are_no_tensor(tmp_path: Path, array: Any, message: str) -> None:
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(RecordError, match=message):
        read(tmp_path / "x.npy")


def npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY\x01\x00",
        b"\x93NUMPY\x07\x00" + bytes(100),
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(100),
        b"PK\x03\x04" + bytes(100),
        npy("{}"),
        npy("{'descr': '<f4', 'fortran_order': False}"),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", bytes(7)),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", bytes(8)),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1 1,), }", bytes(8)),
        npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({2**62}, 0, {2**62}), }}"),
        npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({'1, ' * 40}), }}", bytes(8)),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 9000 + ",), }"),
        npy("{'descr': '<f4', 'fortran_order': __import__('os').abort(), 'shape': (1,), }"),
        npy("(" * 60000),
        npy("{'descr': [" + "(" * 60000),
    ],
)
def test_damaged_headers(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(RecordError) as raised:
        read(tmp_path / "x.npy")
    assert "\n" not in str(raised.value)


def test_truncated_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.ones(1000))
    data = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "x.npz").write_bytes(data[:-30])
    with pytest.raises(RecordError, match="truncated"):
        listed(tmp_path / "x.npz")


def member(path: Path, content: bytes, method: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.npy", content)


def test_member_shorter_than_its_header_says(tmp_path: Path) -> None:
    head = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000,), }"
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        member(tmp_path / "x.npz", npy(head, bytes(100)), method)
        with pytest.raises(RecordError, match="truncated"):
            read(tmp_path / "x.npz")


def test_zip_bomb_is_refused(tmp_path: Path) -> None:
    """The sizes in the directory are made to say 1 TiB, as a bomb's would."""
    count = 1 << 38
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({count},), }}"
    member(tmp_path / "x.npz", npy(head, bytes(1000)))
    data = bytearray((tmp_path / "x.npz").read_bytes())
    at = data.rfind(b"PK\x01\x02")
    data[at + 24 : at + 28] = (0xFFFFFFF0).to_bytes(4, "little")
    (tmp_path / "x.npz").write_bytes(data)
    with pytest.raises(RecordError, match="refused"):
        read(tmp_path / "x.npz")


def test_other_compression_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.ones(100))
    member(tmp_path / "x.npz", buffer.getvalue(), zipfile.ZIP_BZIP2)
    with pytest.raises(RecordError, match="method 12"):
        read(tmp_path / "x.npz")


def test_wrong_checksum_is_found_on_loading(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", a=np.arange(1000.0))
    data = bytearray((tmp_path / "x.npz").read_bytes())
    at = data.rfind(b"PK\x01\x02")
    data[at + 16] ^= 1
    (tmp_path / "x.npz").write_bytes(data)
    record = read(tmp_path / "x.npz")
    assert record.locator is not None
    with pytest.raises(RecordError, match="checksum"):
        load(record.locator)


def test_headers_need_no_numpy(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones(3))
    np.savez_compressed(tmp_path / "b.npz", x=np.ones(3))
    program = (
        "import sys; from layertui.capture import open_capture; "
        f"assert open_capture({str(tmp_path)!r}).unreadable == 0; print('numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def test_the_contents_of_an_archive_are_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten thousand members took minutes, the whole table of contents for each of them."""
    times = 0
    list_entries = Archive.list_entries

    def counted(archive: Archive) -> dict[str, Entry]:
        nonlocal times
        times += 1
        return list_entries(archive)

    monkeypatch.setattr(Archive, "list_entries", counted)
    arrays = {f"t{number}": some("f4", 3, number + 1) for number in range(40)}
    np.savez_compressed(tmp_path / "x.npz", **arrays)  # pyright: ignore[reportArgumentType]
    records = open_capture(tmp_path / "x.npz").records
    for record, expected in zip(records, arrays.values(), strict=True):
        check(record, expected)
    assert times == 1


def test_an_archive_that_was_written_anew_is_listed_anew(tmp_path: Path) -> None:
    for number in range(3):
        np.savez(tmp_path / "x.npz", **{f"t{number}": some("f4", 3, 4)})  # pyright: ignore[reportArgumentType]
        assert [record.name for record in open_capture(tmp_path / "x.npz").records] == [
            f"t{number}"
        ]


def test_members_that_share_their_bytes_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("first.npy", npy_bytes(np.zeros(4096, np.float32)))
        (entry,) = archive.filelist
        for number in range(3000):
            again = copy.copy(entry)
            again.filename = again.orig_filename = f"layers.{number}.x.npy"
            archive.filelist.append(again)
            archive.NameToInfo[again.filename] = again
    with pytest.raises(CaptureError, match="the bytes of two members overlap"):
        open_capture(path)


def npy_bytes(array: np.ndarray[Any, Any]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()
