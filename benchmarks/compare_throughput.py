"""How fast pairs are measured: all metrics, beside a torch script with two and bare reading.

    python benchmarks/compare_throughput.py [--megabytes 256] [--threads 1,2,4]

For float32 and bfloat16 pairs of files in the page cache, one thread each:

- `read`: both files with `pread` into one buffer, nothing computed;
- `torch`: what MAX's compare_tensors computes (greatest absolute and relative difference with their
  indices, after `.float()`), on mapped files, `torch.set_num_threads(1)`;
- `layertui`: every metric of `layertui compare`.

Then layertui with more threads and with processes, and threads that merely read, over several
pairs. Each figure is the best of
`--repeat`; rounds are interleaved so that a busy machine hits all alike. Read the ratios, not the
gigabytes; where others use the machine, those of processor time.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from layertui.capture.records import Locator
from layertui.compare.measuring.measure import measure
from layertui.compare.measuring.pair_reader import PairTask, SideTask
from layertui.compare.model import Measurement
from layertui.compare.running.processes import process_pool

DTYPES = {"float32": (4, torch.float32), "bfloat16": (2, torch.bfloat16)}


def make_files(folder: Path, count: int) -> None:
    """A reference and a candidate with rounding noise, in both dtypes."""
    random = np.random.default_rng(0)
    x = random.standard_normal(count, dtype=np.float32)
    y = x * (1 + 1e-6 * random.standard_normal(count, dtype=np.float32))
    for name, values in (("x", x), ("y", y)):
        values.tofile(folder / f"{name}.float32")
        (values.view(np.uint32) >> 16).astype(np.uint16).tofile(folder / f"{name}.bfloat16")


def read_both(folder: Path, dtype: str, buffer: bytearray) -> None:
    for name in ("x", "y"):
        with open(folder / f"{name}.{dtype}", "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def torch_script(folder: Path, dtype: str, count: int) -> None:
    a, b = (
        torch.from_file(str(folder / f"{n}.{dtype}"), size=count, dtype=DTYPES[dtype][1]).float()
        for n in ("x", "y")
    )
    absolute = (a - b).abs()
    worst = absolute.argmax()
    absolute.flatten()[worst].item()
    relative = absolute / b.abs().clamp_min(1e-12)
    worst = relative.argmax()
    relative.flatten()[worst].item()


def task(folder: Path, dtype: str, count: int) -> PairTask:
    sides = [
        SideTask(Locator(str(folder / f"{name}.{dtype}"), dtype, (count,)), dtype) for name in "xy"
    ]
    return PairTask(*sides)


def seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def read_pair(one: PairTask) -> None:
    """The bytes of a pair, in pieces of 256 KiB."""
    buffer = bytearray(1 << 18)
    for side in (one.reference, one.candidate):
        left = side.locator.count * DTYPES[side.dtype][0]
        with open(side.locator.path, "rb", buffering=0) as file:
            while left > 0:
                left -= file.readinto(buffer)


def shared_out(
    pools: dict[str, Executor], workers: int, one: PairTask, repeat: int
) -> dict[str, float]:
    """Least seconds for a file's worth of pairs, each a quarter of it, on so many workers: of every
    pool, and of threads that merely read them; in turns.
    """
    runs: dict[str, Callable[[], object]] = {}
    for name, pool in pools.items():
        list(pool.map(measure, [one] * (2 * workers)))  # they are all up and running after that
        runs[name] = lambda pool=pool: list(pool.map(measure, [one] * (4 * workers)))
    threads = pools["threads"]
    runs["reading"] = lambda: list(threads.map(read_pair, [one] * (4 * workers)))
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(repeat):
        for name, run in runs.items():
            best[name] = min(best[name], seconds(run) / workers)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=256, help="of float32, a side")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", default=f"1,{os.cpu_count()}", help="how many; one first")
    options = parser.parse_args()
    torch.set_num_threads(1)
    count = options.megabytes * (1 << 20) // 4
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_files(folder, count)
        for dtype, (size, _) in DTYPES.items():
            report(folder, dtype, count, size, options.repeat, options.threads)


def report(folder: Path, dtype: str, count: int, size: int, repeat: int, threads: str) -> None:
    buffer = bytearray(1 << 18)
    checked = measure(task(folder, dtype, count))
    assert isinstance(checked, Measurement) and checked.count == count
    runs: dict[str, Callable[[], object]] = {
        "read": lambda: read_both(folder, dtype, buffer),
        "torch": lambda: torch_script(folder, dtype, count),
        "layertui": lambda: measure(task(folder, dtype, count)),
    }
    best = dict.fromkeys(runs, float("inf"))
    used: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeat):
        for name, run in runs.items():
            started = time.process_time()
            best[name] = min(best[name], seconds(run))
            used[name].append(time.process_time() - started)
    gigabytes = 2 * count * size / 1e9
    for name, took in best.items():
        print(f"{dtype:9} {name:9} {gigabytes / took:6.2f} GB/s")
    print(f"{dtype:9} layertui is {best['torch'] / best['layertui']:.1f} x torch, one thread each")
    print(
        f"{dtype:9} layertui is {best['read'] / best['layertui']:.2f} x merely reading both sides"
    )
    middle = {name: float(np.median(took)) for name, took in used.items()}
    print(
        f"{dtype:9} by the medians of processor time {middle['torch'] / middle['layertui']:.1f} x "
        f"torch, {middle['read'] / middle['layertui']:.2f} x reading"
    )
    quarter = task(folder, dtype, count // 4)
    with_threads: dict[int, float] = {}
    for number in [int(text) for text in threads.split(",")]:
        with ThreadPoolExecutor(number) as pool, process_pool(number) as processes:
            took = shared_out({"threads": pool, "processes": processes}, number, quarter, repeat)
        for name, seconds_of_it in took.items():
            print(f"{dtype:9} {number} {name:11} {gigabytes / seconds_of_it:6.2f} GB/s")
        with_threads[number] = took["threads"]
        print(
            f"{dtype:9} {number} thread(s): {with_threads[1] / took['threads']:.2f} x one, "
            f"{took['reading'] / took['threads']:.2f} x as many that merely read"
        )


if __name__ == "__main__":
    main()
