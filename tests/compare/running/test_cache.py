"""The cache: what makes a measurement be made again, and that nothing about it is ever an error."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from concurrent.futures import Executor, Future
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layertui.capture.records import Locator
from layertui.capture.user.paths import cache_dir
from layertui.compare.measuring.measure import measure
from layertui.compare.measuring.pair_reader import PairTask, SideTask
from layertui.compare.model import Failure, Measurement
from layertui.compare.running.cache import FileIdentities, MeasurementCache
from support.kept_results import result_of, works
from support.small_captures import layer_file, opened, two_sides

pytestmark = pytest.mark.filterwarnings("error")


class NoExecutor(Executor):
    """Refuses every task: nothing is left to be measured."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        raise AssertionError("a tensor was to be read")


def task_of(path: Path, count: int = 40_000) -> PairTask:
    side = SideTask(Locator(str(path), "float32", (count,)), "float32")
    return PairTask(side, side)


def key_of(task: PairTask) -> str:
    key = FileIdentities().key(task)
    assert key is not None
    return key


# Keys


@pytest.fixture
def record(tmp_path: Path) -> Path:
    path = tmp_path / "records"
    path.write_bytes(np.random.default_rng(0).bytes(160_000))
    return path


def test_the_key_stays_while_nothing_changes(record: Path) -> None:
    assert key_of(task_of(record)) == key_of(task_of(record))


@pytest.mark.parametrize("place", [0, 5000, 77_777, 99_001, 159_999])
def test_new_content_of_equal_size_and_time_has_another_key(record: Path, place: int) -> None:
    """Wherever the byte is, also between the samples."""
    before, status = key_of(task_of(record)), record.stat()
    data = bytearray(record.read_bytes())
    data[place] ^= 1
    record.write_bytes(bytes(data))
    os.utime(record, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert record.stat().st_mtime_ns == status.st_mtime_ns
    assert record.stat().st_size == status.st_size
    assert key_of(task_of(record)) != before


def test_whatever_changes_the_numbers_changes_the_key(record: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(record.read_bytes())
    task = task_of(record)
    side = task.reference
    locator = side.locator
    sides = [
        replace(side, recipe="flip(0)"),
        replace(side, recipe="flip(-1)"),
        replace(side, dtype="bfloat16"),
        replace(side, locator=replace(locator, path=str(other))),
        replace(side, locator=replace(locator, dtype="int32")),
        replace(side, locator=replace(locator, shape=(200, 200))),
        replace(side, locator=replace(locator, shape=(39_000,))),
        replace(side, locator=replace(locator, shape=(39_000,), offset=4)),
        replace(side, locator=replace(locator, shape=(100, 100), strides=(1, 100))),
        replace(side, locator=replace(locator, shape=(100, 100), strides=(100, 1))),
        replace(side, locator=replace(locator, reader="text")),
        replace(side, locator=replace(locator, reader="text", key="a")),
        replace(side, recipe='concat(0, "a", "b")',
                others=(("a", locator), ("b", replace(locator, path=str(other))))),
        replace(side, recipe='concat(0, "a", "b")',
                others=(("b", locator), ("a", replace(locator, path=str(other))))),
        replace(side, recipe='concat(0, "\udcff")'),
    ]  # fmt: skip
    tasks = [task, replace(task, rtol=0.0), replace(task, atol=0.0), replace(task, ulp=True)]
    tasks += [replace(task, candidate=one) for one in sides]
    tasks += [replace(task, reference=one) for one in sides]
    keys = [key_of(one) for one in tasks]
    assert len(set(keys)) == len(keys)


def test_a_file_that_cannot_be_looked_at_has_no_key(tmp_path: Path) -> None:
    assert FileIdentities().key(task_of(tmp_path / "gone")) is None
    assert FileIdentities().key(task_of(tmp_path)) is None


# Storage


def test_what_is_put_is_got(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "cache.sqlite"
    results = {f"key{i}": result_of(i) for i in range(3)}
    cache = MeasurementCache(path)
    cache.put(results.items())
    cache.close()
    cache.close()
    again = MeasurementCache(path)
    assert again.get([*results, "unknown"]) == results
    assert again.get([]) == {}
    again.put([("key0", results["key1"])])
    assert again.get(["key0"]) == {"key0": results["key1"]}
    again.close()
    assert again.get(["key0"]) == {}


def test_thousands_of_keys(tmp_path: Path) -> None:
    cache, result = MeasurementCache(tmp_path / "c"), result_of()
    cache.put((f"k{i}", result) for i in range(2500))
    assert len(cache.get(f"k{i}" for i in range(3000))) == 2500
    cache.close()


def test_a_real_measurement_survives_whole(tmp_path: Path, record: Path) -> None:
    found = measure(replace(task_of(record), ulp=True))
    assert isinstance(found, Measurement)
    cache = MeasurementCache(tmp_path / "c")
    cache.put([("k", found)])
    (again,) = cache.get(["k"]).values()
    assert asdict(again) == asdict(found)
    assert repr(again) == repr(found)
    cache.close()


@pytest.mark.parametrize(
    "value", ["", "{", "5", "[]", "null", '"x"', "{}", '{"shape": 3}', "NaN", '{"mse": 1}']
)
def test_entries_of_another_make_are_passed_over(tmp_path: Path, value: str) -> None:
    cache = MeasurementCache(tmp_path / "c")
    cache.put([("good", result_of())])
    with sqlite3.connect(tmp_path / "c") as db:
        db.execute("INSERT INTO measurements VALUES ('bad', ?)", (value,))
    db.close()
    assert list(cache.get(["bad", "good"])) == ["good"]
    cache.close()


@pytest.mark.parametrize(
    "content", [b"no database", b"SQLite format 3\0" + b"\xff" * 5000, b"\0" * 9]
)
def test_a_damaged_file_is_made_anew(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c"
    path.write_bytes(content)
    (tmp_path / "c-wal").write_bytes(b"left behind")
    assert works(path)
    assert works(path)


@pytest.mark.parametrize("place", [30, 100, 4096, 8000, 20_000])
def test_a_file_damaged_in_the_middle_is_no_error(tmp_path: Path, place: int) -> None:
    path = tmp_path / "c"
    cache = MeasurementCache(path)
    cache.put((f"k{i}", result_of()) for i in range(100))
    cache.close()
    data = bytearray(path.read_bytes())
    data[place : place + 400] = b"\xa5" * 400
    path.write_bytes(bytes(data))
    works(path)
    path.write_bytes(bytes(data[: len(data) // 2]))
    works(path)


def test_places_that_cannot_be_written_are_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    folder = tmp_path / "folder"
    folder.mkdir()
    assert not works(file / "below" / "c")
    assert not works(folder)
    assert not works(Path("/proc/nowhere/c"))
    assert not works(Path("/dev/null"))
    other = tmp_path / "other"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE measurements (a INTEGER)")
    db.close()
    assert not works(other)
    for home in ("/proc/nowhere", str(file), "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", home)
        monkeypatch.setenv("HOME", home)
        MeasurementCache().close()
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # a user without a home
    MeasurementCache().close()


READ_ONLY = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from support.kept_results import result_of, works
result_of()  # whatever is imported late
if os.getuid() == 0:  # root may write anywhere
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
assert not os.access(sys.argv[1], os.W_OK)
print(works(Path(sys.argv[1]) / sys.argv[3]))
"""


@pytest.mark.parametrize("name", ["old", "new"])
def test_a_directory_that_is_read_only_is_no_error(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cache = MeasurementCache(Path(folder) / "old")
        cache.put([("other", result_of())])
        cache.close()
        Path(folder, "old").chmod(0o444)
        Path(folder).chmod(0o555)
        done = subprocess.run(
            [sys.executable, "-c", READ_ONLY, folder, str(Path(__file__).parents[2]), name],
            capture_output=True,
            text=True,
        )
        Path(folder).chmod(0o755)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "False\n")


WRITER = """
import sys
from pathlib import Path
from layertui.compare.running.cache import MeasurementCache
from layertui.compare.model import Measurement
name, path = sys.argv[1:]
result = Measurement((1,), 1, 1, True)
for turn in range(40):
    cache = MeasurementCache(Path(path))
    cache.put((f"{name}-{turn}-{i}", result) for i in range(25))
    assert len(cache.get(f"{name}-{turn}-{i}" for i in range(25))) == 25
    cache.close()
"""


def test_two_processes_at_once(tmp_path: Path) -> None:
    path = tmp_path / "c"
    both = [
        subprocess.Popen([sys.executable, "-c", WRITER, name, str(path)], stderr=subprocess.PIPE)
        for name in ("one", "two")
    ]
    for process in both:
        _, errors = process.communicate(timeout=300)
        assert (process.returncode, errors) == (0, b"")
    cache = MeasurementCache(path)
    keys = [
        f"{name}-{turn}-{i}" for name in ("one", "two") for turn in range(40) for i in range(25)
    ]
    assert len(cache.get(keys)) == len(keys)
    cache.close()


# Whole comparisons


def test_reopening_gives_all_results_without_reading_a_tensor(tmp_path: Path) -> None:
    sides = two_sides(tmp_path, 6)
    first = opened(sides)
    assert first.measure()
    assert (cache_dir() / "measurements.sqlite").exists()
    again = opened(sides)
    assert again.measure(executor=NoExecutor())
    assert again.measurements == first.measurements
    assert again.verdicts == first.verdicts
    assert all(isinstance(result, Measurement) for result in again.measurements)


def test_only_what_changed_is_measured_again(tmp_path: Path) -> None:
    sides = two_sides(tmp_path, 6)
    opened(sides).measure()
    path = layer_file(sides[1], 3)
    np.save(path, np.load(path) + 1)
    again = opened(sides)
    assert again.measure(executor=NoExecutor())
    bad = [i for i, result in enumerate(again.measurements) if isinstance(result, Failure)]
    assert bad == [3]
    looser = opened(sides, rtol=0.5, atol=0.0)
    looser.measure(executor=NoExecutor())
    assert all(isinstance(result, Failure) for result in looser.measurements)


def test_failures_are_not_remembered(tmp_path: Path) -> None:
    sides = two_sides(tmp_path, 2)
    broken = opened(sides)
    whole = layer_file(sides[0], 1).read_bytes()
    layer_file(sides[0], 1).write_bytes(whole[:-8])
    broken.measure()
    assert isinstance(broken.measurements[1], Failure)
    layer_file(sides[0], 1).write_bytes(whole)
    mended = opened(sides)
    mended.measure()
    assert isinstance(mended.measurements[1], Measurement)


def test_without_the_cache_nothing_is_written(tmp_path: Path) -> None:
    comparison = opened(two_sides(tmp_path, 2))
    assert comparison.measure(use_cache=False)
    assert not cache_dir().exists()
