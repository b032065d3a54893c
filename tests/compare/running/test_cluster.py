"""Measuring on other executors, and on the workers of a Dask cluster, two of which are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from layertui.capture.remote.urls import sealed
from layertui.cli.errors import UserError
from layertui.cli.main import status_of
from layertui.cli.session import measure_all
from layertui.compare import assert_captures_match
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.running.cluster import ClusterError, look, opened_cluster, refuse_secrets
from support.remote.scheduler import scheduler_process
from support.small_captures import opened, two_sides

PAIRS = 400


class OneByOne(Executor):
    """An executor of nobody's library, that remembers what it was given."""

    def __init__(self) -> None:
        self.given: list[Any] = []

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.given.append(args[0])
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


def test_any_executor_measures(tmp_path: Path) -> None:
    sides = two_sides(tmp_path, 6)
    expected = assert_captures_match(*sides, check=False)
    mine = OneByOne()
    pools = (mine, ThreadPoolExecutor(2), ProcessPoolExecutor(2, get_context("spawn")))
    for number, pool in enumerate(pools):
        os.environ["XDG_CACHE_HOME"] = str(tmp_path / f"cache{number}")  # nothing is remembered
        with pool:
            found = assert_captures_match(*sides, check=False, executor=pool)
        assert found.measurements == expected.measurements
    assert len(mine.given) == 6


def test_tasks_are_told_whole_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sides = two_sides(tmp_path, 2)
    monkeypatch.chdir(tmp_path)
    relative = [os.path.relpath(side, tmp_path) for side in sides]
    mine = OneByOne()
    open_comparison(*relative).measure(executor=mine, use_cache=False)
    paths = {side.locator.path for task in mine.given for side in (task.reference, task.candidate)}
    assert paths and all(Path(path).is_absolute() for path in paths)


def test_what_a_worker_finds(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    path = str(tmp_path / "x")
    assert look({path: 3})[1] == ""
    assert look({path: 4})[1] == f"{path}: is another file, of 3 bytes"
    assert look({path + "y": 4})[1] == f"{path}y: no such file"
    assert "left out" in look({"https://***@nowhere/x": 1})[1]


# --- a real cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two workers in processes of their own; each is started again when it dies."""
    pytest.importorskip("distributed")
    with opened_cluster("local", 2) as found:
        yield found


def scheduler_of(cluster: Any) -> str:
    return cluster.client.scheduler.address


def without_what_changes(comparison: Comparison) -> list[Any]:
    return [comparison.measurements, [v.level for v in comparison.verdicts]]


@pytest.mark.parametrize("at_once", [True, False])
def test_nothing_is_lost_when_two_workers_are_killed_in_the_middle(
    cluster: Any, tmp_path: Path, at_once: bool
) -> None:
    sides = two_sides(tmp_path, PAIRS)
    expected = opened(sides)
    assert expected.measure(use_cache=False)
    found = opened(sides)
    killed: list[int] = []

    def kill(rows: list[int]) -> None:
        if len(killed) == 2 or found.complete:
            return
        there = [pid for pid in cluster.client.run(os.getpid).values() if pid not in killed]
        for pid in there if at_once else there[:1]:
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    assert found.measure(
        executor=cluster.executor, threads=cluster.workers, on_results=kill, use_cache=False
    )
    assert len(set(killed)) == 2 and found.complete
    assert without_what_changes(found) == without_what_changes(expected)


def test_the_report_is_that_of_threads(
    cluster: Any, real: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["compare", *(str(real / "llama-f32" / side) for side in ("torch_dump", "max_dump")),
             "--no-cache"]  # fmt: skip
    assert status_of(words) == 0
    expected = capsys.readouterr().out
    assert status_of([*words, "--scheduler", scheduler_of(cluster)]) == 0
    captured = capsys.readouterr()
    assert captured.out.replace(f" --scheduler {scheduler_of(cluster)}", "") == expected
    assert captured.err == ""


def test_local_starts_one(real: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("distributed")
    sides = [str(real / "llama-f32" / side) for side in ("torch_dump", "max_dump")]
    words = ["compare", *sides, "--scheduler", "local", "--threads", "1", "--no-cache"]
    assert status_of(words) == 0
    assert "FIRST DIVERGENCE" in capsys.readouterr().out


def test_captures_that_workers_do_not_see_are_refused(
    cluster: Any, tmp_path: Path, real: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files in this process's memory are the clearest case of a place that workers have not."""
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for side in ("torch_dump", "max_dump"):
        memory.put(str(real / "llama-f32" / side), f"/here/{side}", recursive=True)
    sides = [f"memory://here/{side}" for side in ("torch_dump", "max_dump")]
    assert status_of(["compare", *sides, "--scheduler", scheduler_of(cluster)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert ": no such file: captures must lie where every worker finds them" in line
    memory.store.clear()


def test_passwords_are_not_sent() -> None:
    hidden = sealed("https://me:word@cluster/x.npy")
    with pytest.raises(ClusterError, match=r"https://\*\*\*@cluster/x.npy: workers are not told"):
        refuse_secrets([hidden])
    refuse_secrets(["s3://bucket/x.npy", "/a/b"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--scheduler", "tcp://127.0.0.1:9"], "no Dask scheduler answers there"),
        (["--scheduler", "nonsense://x"], "unknown address scheme"),
        (["--scheduler", "tcp://127.0.0.1:abc"], "no Dask scheduler answers there"),
        (["--scheduler", "tls://127.0.0.1:9"], "needs the certificates"),
        (["--scheduler", "local", "--processes", "2"], "give one of them"),
        (["--scheduler", "tcp://h:1", "--threads", "2"], "the cluster decides"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("distributed")
    sides = [str(side) for side in two_sides(tmp_path, 2)]
    assert status_of(["compare", *sides, *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_nothing_is_printed_behind_the_line(tmp_path: Path) -> None:
    """A client that failed must not complain when the program ends."""
    pytest.importorskip("distributed")
    words = ["compare", *map(str, two_sides(tmp_path, 2)), "--scheduler", "tls://127.0.0.1:9"]
    done = subprocess.run(
        [sys.executable, "-m", "layertui.cli", *words], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1


def test_a_scheduler_that_goes_away_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    comparison = opened(two_sides(tmp_path, 1500))
    with scheduler_process() as (address, scheduler), opened_cluster(address) as cluster:

        def kill_when_some_are_measured() -> None:
            while not comparison.measured:
                time.sleep(0.01)
            scheduler.kill()

        threading.Thread(target=kill_when_some_are_measured, daemon=True).start()
        with pytest.raises(UserError, match=f"^{address}: the scheduler went away$"):
            measure_all(comparison, use_cache=False, cluster=cluster)
    assert not comparison.complete
