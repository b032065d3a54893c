"""How fast pairs are measured: all metrics, beside a torch script with two and bare reading.

    python benchmarks/compare_throughput.py [--megabytes 256] [--threads 1,2,4]

For float32 and bfloat16 pairs of files in the page cache, one thread each:

- `read`: both files with `pread` into one buffer, nothing computed;
- `torch`: what MAX's compare_tensors computes (greatest absolute and relative difference with their
  indices, after `.float()`), on mapped files, `torch.set_num_threads(1)`;
- `layertui`: every metric of `layertui compare`.

Then layertui with more threads and with processes, over several pairs. Each figure is the best of
`--repeat`; rounds are interleaved so that a busy machine hits all alike. Read the ratios, not the
gigabytes.
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


def shared_out(pool: Executor, workers: int, one: PairTask, repeat: int) -> float:
    """Least seconds for a file's worth of pairs, each a quarter of it, on so many workers."""
    list(pool.map(measure, [one] * (2 * workers)))  # they are all up and running after that
    best = float("inf")
    for _ in range(repeat):
        best = min(best, seconds(lambda: list(pool.map(measure, [one] * (4 * workers)))))
    return best / workers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=256, help="of float32, a side")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", default=f"1,{os.cpu_count()}")
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
    for _ in range(repeat):
        for name, run in runs.items():
            best[name] = min(best[name], seconds(run))
    gigabytes = 2 * count * size / 1e9
    for name, took in best.items():
        print(f"{dtype:9} {name:9} {gigabytes / took:6.2f} GB/s")
    print(f"{dtype:9} layertui is {best['torch'] / best['layertui']:.1f} x torch, one thread each")
    print(
        f"{dtype:9} layertui is {best['read'] / best['layertui']:.2f} x merely reading both sides"
    )
    quarter = task(folder, dtype, count // 4)
    for number in [int(text) for text in threads.split(",")]:
        with ThreadPoolExecutor(number) as pool:
            took = shared_out(pool, number, quarter, repeat)
        print(f"{dtype:9} {number} threads   {gigabytes / took:6.2f} GB/s")
        with process_pool(number) as pool:
            took = shared_out(pool, number, quarter, repeat)
        print(f"{dtype:9} {number} processes {gigabytes / took:6.2f} GB/s")


if __name__ == "__main__":
    main()
