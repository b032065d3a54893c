"""`.max` files: every dtype, every way to be damaged, and the same bytes as MAX itself reads."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from layertui.capture import Record, RecordError
from layertui.capture.dtypes import BY_MAX_CODE, DType
from layertui.capture.formats.max_checkpoint import read_header
from layertui.capture.load import load
from support.max_bytes import MAGIC, max_file, zeros

CODES = sorted(BY_MAX_CODE.items())


def read(path: Path) -> list[Record]:
    return read_header(Record(name=path.stem, module=path.stem, path=str(path)))


def write(folder: Path, data: bytes, name: str = "x.max") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(("code", "dtype"), CODES, ids=[d.name for _, d in CODES])
def test_every_dtype_of_the_table(tmp_path: Path, code: int, dtype: DType) -> None:
    bits = bytes((7 * i) % (2 if dtype.kind == "bool" else 256) for i in range(6 * dtype.itemsize))
    path = write(tmp_path, max_file(("x", code, (2, 3), bits)))
    (record,) = read(path)
    assert (record.shape, record.dtype) == ((2, 3), dtype.name)
    assert record.locator is not None
    assert record.locator.offset == len(path.read_bytes()) - len(bits)
    values = load(record.locator)
    assert values.shape == (2, 3)
    assert values.dtype == np.dtype(dtype.storage)
    assert values.tobytes() == bits


def test_scalar_and_empty_tensor(tmp_path: Path) -> None:
    scalar = write(tmp_path, max_file(("s", 0x51, (), struct.pack("<f", 1.5))), "s.max")
    empty = write(tmp_path, max_file(("e", 0x8D, (1, 0), b"")), "e.max")
    (one,), (none,) = read(scalar), read(empty)
    assert one.locator is not None
    assert none.locator is not None
    assert load(one.locator).shape == ()
    assert load(one.locator)[()] == np.float32(1.5)
    assert load(none.locator).shape == (1, 0)


def test_several_tensors_become_several_records(tmp_path: Path) -> None:
    data = max_file(
        ("a(2)-output", 0x51, (2,), struct.pack("<2f", 1, 2)), ("b", 0x8B, (1,), b"\7\0\0\0")
    )
    first, second = read(write(tmp_path, data))
    assert (first.name, first.module, first.slot, first.call) == ("x/a(2)-output", "a", "output", 2)
    assert second.name == "x/b"
    assert first.locator is not None
    assert second.locator is not None
    assert load(first.locator).tolist() == [1, 2]
    assert load(second.locator).tolist() == [7]


GOOD = max_file(zeros("x", 0x51, (2, 3), 4))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "truncated"),
        (GOOD[:23], "truncated"),
        (GOOD[:30], "truncated"),
        (GOOD[:-1], "truncated: 24 bytes of data promised"),
        (b"PK\3\4" + GOOD[4:], "wrong magic"),
        (max_file(zeros("x", 0x51, (2,), 4), version=(1, 0)), "newer"),
        (max_file(zeros("x", 200, (2,), 1)), "unknown .max dtype code 0xc8"),
        (max_file(), "holds no tensor"),
        (max_file(("x", 0x51, (2**32 - 1,) * 255, b"")), "255 dimensions"),
        (max_file(("x", 0x51, (2**32 - 1,) * 2, b"")), "larger than any memory"),
        (max_file(("x", 0x51, (2**20, 2**20), b"")), "truncated"),
        (struct.pack("<8sIIQ", MAGIC, 0, 1, 2**63), "truncated"),
        (struct.pack("<8sIIQ", MAGIC, 0, 1, 8) + b"\xff" * 8, "damaged"),
        (GOOD.replace(struct.pack("<Q", 47), struct.pack("<Q", 3)), "inside the header"),
    ],
)
def test_damage_is_told_in_words(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(RecordError, match=words):
        read(write(tmp_path, data))


def test_file_cut_after_listing_is_noticed_when_loaded(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    (record,) = read(path)
    path.write_bytes(GOOD[:-4])
    assert record.locator is not None
    with pytest.raises(RecordError, match="truncated"):
        load(record.locator)


def test_loaded_values_cannot_be_written(tmp_path: Path) -> None:
    (record,) = read(write(tmp_path, GOOD))
    assert record.locator is not None
    with pytest.raises(ValueError, match="read-only"):
        load(record.locator)[0, 0] = 1


@pytest.mark.max
def test_same_values_as_max_reads(tmp_path: Path, real: Path) -> None:
    buffer = pytest.importorskip("max.driver.buffer")
    made = [
        write(tmp_path, max_file((dtype.name, code, (3,), bytes(range(1, 1 + 3 * dtype.itemsize)))),
              f"{dtype.name}.max")
        for code, dtype in CODES
        if dtype.name.startswith(("int", "uint", "float16", "float32", "float64"))
    ]  # fmt: skip
    for path in [*made, *sorted((real / "llama-f32" / "max_dump").glob("*.max"))[:12]]:
        (record,) = read(path)
        theirs = buffer.load_max_buffer(path)
        assert record.locator is not None
        assert tuple(theirs.shape) == record.shape
        assert theirs.to_numpy().tobytes() == load(record.locator).tobytes(), path.name
