"""The pool of processes: same numbers, quiet at Ctrl-C, gone when the parent is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from layertui.compare.running.processes import process_pool
from support.small_captures import opened, two_sides

PARENT = """
import os, sys, time
from layertui.compare.running.processes import process_pool

if __name__ == "__main__":
    with process_pool(1) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        time.sleep(60)
"""


def test_results_are_those_of_threads(tmp_path: Path) -> None:
    sides = two_sides(tmp_path, 6)
    expected = opened(sides)
    assert expected.measure(use_cache=False)
    found = opened(sides)
    with process_pool(2) as pool:
        assert found.measure(executor=pool, threads=2, use_cache=False)
    assert found.measurements == expected.measurements


def test_ctrl_c_is_left_to_the_parent() -> None:
    with process_pool(1) as pool:
        worker = pool.submit(os.getpid).result()
        os.kill(worker, signal.SIGINT)
        assert pool.submit(os.getpid).result() == worker


def test_no_worker_outlives_a_killed_parent(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py")], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 120
    while _runs(worker):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
