"""Captures by URL: what is there, what is read of it, and what is said where something is wrong.

Object stores are stood in for by fsspec's own `memory://`; `test_s3.py` has a real server.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from layertui.capture import CaptureError, open_capture, read_headers
from layertui.capture.errors import RecordError
from layertui.capture.load import load
from layertui.capture.remote.fsspec_storage import FsspecStorage
from layertui.capture.storage import is_file, is_folder, open_text, register, unregister
from layertui.cli.main import status_of
from layertui.compare.comparison import open_comparison
from layertui.compare.model import Measurement
from support.remote.captures_of_all_kinds import values_of, write_all_kinds

fsspec = pytest.importorskip("fsspec")


class Far:
    """fsspec's file system in memory, and what is asked of it."""

    def __init__(self) -> None:
        self.fs = fsspec.filesystem("memory")

    def keep(self, folder: Path, name: str) -> str:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                self.fs.pipe_file(f"/{name}/{file.relative_to(folder)}", file.read_bytes())
        return f"memory://{name}"

    def put(self, path: str, data: bytes) -> str:
        self.fs.pipe_file(f"/{path}", data)
        return f"memory://{path}"


@pytest.fixture
def far() -> Iterator[Far]:
    held = Far()
    register("memory", FsspecStorage())  # with the cache directory of this test
    yield held
    unregister("memory")
    held.fs.store.clear()
    held.fs.pseudo_dirs[:] = [""]


def saved(folder: Path, name: str, array: np.ndarray) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    np.save(folder / name, array)


def test_every_format_is_read_as_it_is_here(tmp_path: Path, far: Far) -> None:
    pytest.importorskip("torch")
    write_all_kinds(tmp_path / "dump")
    place = far.keep(tmp_path / "dump", "dump")
    here, there = open_capture(tmp_path / "dump"), open_capture(place + "/")
    assert [record.name for record in here.records] == [record.name for record in there.records]
    assert here.format == there.format
    expected, found = values_of(here), values_of(there)
    assert expected.keys() == found.keys() and len(found) == 6
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("side", ["llama-f32/torch_dump", "llama-f32/max_dump"])
def test_a_real_capture_is_the_one_that_it_is_here(side: str, real: Path, far: Far) -> None:
    here, there = open_capture(real / side), open_capture(far.keep(real / side, "dump"))
    assert [record.name for record in here.records] == [record.name for record in there.records]
    assert [record.step for record in here.records] == [record.step for record in there.records]
    assert (here.order_source, here.notes) == (there.order_source, there.notes)
    for one, other in zip(here.records, there.records, strict=True):
        assert one.locator is not None and other.locator is not None
        np.testing.assert_array_equal(load(one.locator), load(other.locator))


def test_a_native_capture(tmp_path: Path, far: Far) -> None:
    pytest.importorskip("torch")
    from layertui.capture import record

    with record(None, tmp_path / "dump") as recorder:
        recorder.add("layers.0", np.arange(5, dtype=np.float32))
    capture = open_capture(far.keep(tmp_path / "dump", "dump"))
    (found,) = values_of(capture).values()
    np.testing.assert_array_equal(found, np.arange(5, dtype=np.float32))
    assert capture.complete


def test_steps_hidden_files_and_folders(tmp_path: Path, far: Far) -> None:
    x = np.ones(3, np.float32)
    for name in ("0/layers.0-output.npy", "1/layers.0-output.npy", "1/deep/2/x-output.npy",
                 ".git/y.npy", "0/.z.npy", "0/layers.1-output.npy"):  # fmt: skip
        saved(tmp_path / "dump", name, x)
    place = far.keep(tmp_path / "dump", "dump")
    here, there = open_capture(tmp_path / "dump"), open_capture(place)
    assert [(r.name, r.step) for r in here.records] == [(r.name, r.step) for r in there.records]
    assert len(there.records) == 4
    assert is_folder(f"{place}/1/deep") and not is_folder(f"{place}/1/none")
    assert is_file(f"{place}/0/layers.0-output.npy") and not is_file(f"{place}/0")


def test_one_file_by_url(far: Far, tmp_path: Path) -> None:
    saved(tmp_path, "x.npy", np.arange(4.0))
    url = far.put("files/x.npy", (tmp_path / "x.npy").read_bytes())
    (record,) = open_capture(url).records
    assert record.locator is not None
    np.testing.assert_array_equal(load(record.locator), np.arange(4.0))


def test_names_that_lead_elsewhere_are_left_out(far: Far, tmp_path: Path) -> None:
    saved(tmp_path, "x.npy", np.ones(3))
    data = (tmp_path / "x.npy").read_bytes()
    far.put("secret.npy", data)
    for name in ("dump/a-output.npy", "dump/../secret.npy", "dump/./b.npy", "dump//c.npy"):
        far.fs.store[f"/{name}"] = far.fs.store["/secret.npy"]
    assert [record.name for record in open_capture("memory://dump").records] == ["a-output"]


def test_comparing_reads_little_twice_and_nothing_when_it_is_known(
    real: Path, far: Far, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = [far.keep(real / "llama-f32" / side, side) for side in ("torch_dump", "max_dump")]
    here = [str(real / "llama-f32" / side) for side in ("torch_dump", "max_dump")]
    assert status_of(["compare", *here, "--format", "csv"]) == 0
    expected = capsys.readouterr().out
    assert status_of(["compare", *sides, "--format", "csv"]) == 0
    found = capsys.readouterr().out
    for there, place in zip(sides, here, strict=True):
        found = found.replace(there, place)
    assert found == expected


@pytest.mark.parametrize("command", ["compare", "show", "check", "explain", ""])
def test_every_command_takes_urls(
    command: str, real: Path, far: Far, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = [far.keep(real / "llama-f32" / side, side) for side in ("torch_dump", "max_dump")]
    words = {"show": ["show", *sides, "#12"], "": ["--no-tui", *sides]}
    assert status_of(words.get(command, [command, *sides])) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("command", ["compare", "show", "check", "explain", ""])
def test_what_is_not_there_is_one_line_that_names_the_url(
    command: str, real: Path, far: Far, capsys: pytest.CaptureFixture[str]
) -> None:
    here = str(real / "llama-f32" / "torch_dump")
    words = [word for word in (command, here, "memory://none/dump") if word]
    assert status_of(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "layertui: memory://none/dump: no such file or directory"


def test_a_file_cut_short_is_one_line_that_names_the_url(
    far: Far, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(tmp_path, "x.npy", np.ones(1000, np.float32))
    url = far.put("files/x.npy", (tmp_path / "x.npy").read_bytes()[:500])
    assert status_of(["compare", url, url]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"layertui: {url}: truncated: ")


def test_a_file_cut_short_among_others_is_its_row_alone(
    real: Path, far: Far, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = [far.keep(real / "llama-f32" / side, side) for side in ("torch_dump", "max_dump")]
    name = next(name for name in far.fs.store if "torch_dump/0/" in name and "q_proj" in name)
    far.fs.pipe_file(name, far.fs.store[name].getvalue()[:-10])
    assert status_of(["compare", *sides]) == 1
    out = capsys.readouterr().out
    assert ("unreadable" in out and "damaged" in out) or "truncated" in out


def test_an_object_that_goes_away_meanwhile_is_an_error_not_zeros(far: Far, tmp_path: Path) -> None:
    saved(tmp_path, "x-output.npy", np.ones(1_000_000, np.float32))
    place = far.keep(tmp_path, "dump")
    (record,) = open_capture(place).records
    assert record.locator is not None
    far.fs.rm("/dump/x-output.npy")
    with pytest.raises(RecordError, match="cannot be read: no such file"):
        load(record.locator)


def test_an_object_that_became_shorter_meanwhile(far: Far, tmp_path: Path) -> None:
    saved(tmp_path, "x-output.npy", np.ones(1_000_000, np.float32))
    place = far.keep(tmp_path, "dump")
    (record,) = open_capture(place).records
    assert record.locator is not None
    whole = far.fs.store["/dump/x-output.npy"].getvalue()
    far.fs.pipe_file("/dump/x-output.npy", whole[:100_000])
    with pytest.raises(RecordError, match="cannot be read: truncated: "):
        load(record.locator)


def test_an_object_that_was_replaced_is_read_anew(far: Far, tmp_path: Path) -> None:
    for value in (1.0, 2.0):
        saved(tmp_path, "x-output.npy", np.full(100_000, value, np.float32))
        place = far.keep(tmp_path, "dump")
        register("memory", FsspecStorage())  # some seconds later
        (record,) = open_capture(place).records
        assert record.locator is not None
        assert set(load(record.locator).tolist()) == {value}


def test_a_long_record_is_not_taken_into_memory(
    far: Far, tmp_path: Path, private_home: Path
) -> None:
    x = np.arange(12_000_000, dtype=np.float32)
    saved(tmp_path, "x-output.npy", x)
    (record,) = open_capture(far.keep(tmp_path, "dump")).records
    assert record.locator is not None
    loaded = load(record.locator)
    np.testing.assert_array_equal(loaded, x)
    base = loaded
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    assert isinstance(base, memoryview) and type(base.obj).__name__ == "mmap"
    kept = private_home / "cache" / "layertui" / "blocks"
    assert [path for path in kept.iterdir() if path.is_file()] == []  # it has no name


def test_results_are_remembered_without_reading_again(
    far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path, "x-output.npy", np.ones(300_000, np.float32))
    place = far.keep(tmp_path, "dump")
    monkeypatch.setenv("LAYERTUI_REMOTE_CACHE", "0")
    register("memory", FsspecStorage())
    first = open_comparison(place, place)
    first.measure(threads=1)
    again = open_comparison(place, place)
    again.recall()
    (result,) = again.measurements
    assert isinstance(result, Measurement) and result.max_abs == 0.0


def test_texts_are_read(far: Far) -> None:
    url = far.put("log.txt", "some\nlines\u00e9\n".encode())
    with open_text(url) as file:
        assert file.read() == "some\nlines\u00e9\n"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nothing://x/y", "nothing://: of no kind that fsspec reads"),
        ("file:///tmp/x", "file://: of no kind that fsspec reads"),
    ],
)
def test_kinds_of_urls_that_are_not_read(url: str, said: str) -> None:
    with pytest.raises(CaptureError, match=said):
        open_capture(url)


def test_a_word_of_a_capture_leads_to_no_server(far: Far, tmp_path: Path) -> None:
    """A capture may say where its checkpoint was; only the user may name a URL."""
    from layertui.capture.records import Capture
    from layertui.compare.weights.models import find_models

    far.put("model/config.json", b"{}")
    sides = [
        Capture("x", "", [], "unknown", False, run={"model": "memory://model"}) for _ in range(2)
    ]
    assert find_models(*sides).notes == ()


def test_hdf5_in_place_and_packed(far: Far, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    x = np.arange(300_000, dtype=np.float32)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["layers.0/output"] = x
        file.create_dataset("layers.1/output", data=x, chunks=(1000,), compression="gzip")
    capture = open_capture(far.put("files/x.h5", (tmp_path / "x.h5").read_bytes()))
    found = values_of(capture)
    assert len(found) == 2
    for array in found.values():
        np.testing.assert_array_equal(array, x)


def test_parquet(far: Far, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    x = np.arange(1000, dtype=np.float32)
    parquet.write_table(pyarrow.table({"layers.0-output": x}), tmp_path / "x.parquet")
    capture = open_capture(far.put("files/x.parquet", (tmp_path / "x.parquet").read_bytes()))
    (array,) = values_of(capture).values()
    np.testing.assert_array_equal(array, x)


def test_a_damaged_hdf5_file_is_one_line(far: Far, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("h5py")
    url = far.put("files/x.h5", b"\x89HDF\r\n\x1a\n" + bytes(100))
    assert status_of(["show", url]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"layertui: {url}: damaged HDF5 file: ")


def test_headers_are_asked_for_together_and_only_when_they_are_read(
    far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(600):
        saved(tmp_path, f"layers.{number}-output.npy", np.ones(2, np.float32))
    place = far.keep(tmp_path, "dump")
    asked: list[int] = []
    expect = FsspecStorage.expect

    def watched(self: FsspecStorage, paths: Sequence[str]) -> None:
        asked.append(len(paths))
        expect(self, paths)

    monkeypatch.setattr(FsspecStorage, "expect", watched)
    capture = open_capture(place, headers=False)
    assert asked == [] and len(capture.records) == 600
    assert read_headers(capture)
    assert sum(asked) == 600 and max(asked) == 256
    assert all(record.shape == (2,) for record in capture.records)


def test_what_the_network_fails_is_tried_again(
    far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAYERTUI_REMOTE_CACHE", "0")
    register("memory", FsspecStorage())
    saved(tmp_path, "x-output.npy", np.arange(100.0))
    (record,) = open_capture(far.keep(tmp_path, "dump")).records
    failures = [ConnectionResetError("reset"), OSError("again")]
    whole = type(far.fs).cat_file

    def flaky(self: object, *args: object, **kwargs: object) -> bytes:
        if failures:
            raise failures.pop()
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(type(far.fs), "cat_file", flaky)
    monkeypatch.setattr("layertui.capture.remote.file_systems.time.sleep", lambda _: None)
    assert record.locator is not None
    np.testing.assert_array_equal(load(record.locator), np.arange(100.0))
    assert failures == []
