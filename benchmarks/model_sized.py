"""A pair of the size of a model's run, compared from start to end: time, memory, and where both go.

    python benchmarks/model_sized.py [--scale 1] [--threads 2] [--repeat 3] [--work DIR]
    python benchmarks/model_sized.py --gigabytes 100

The first makes two captures of the shape of Llama 3.1 8B over 256 tokens: 837 records in bfloat16
with inputs and outputs of every module, 32 layers, 5 GB for both (`--scale 0.25`: 8 layers). Norms,
attention, activations and sums are computed; projections give random numbers, the candidate's with
rounding noise. The second repeats one block of 64 MB a side, which is not zero, through hard
links: as many records as make up so many gigabytes, of which the disk holds two blocks.

A child process then compares them as `layertui compare` does, without a cache and without a
checkpoint, and another does not hold layers against their laws either. In turns with them, both
captures are merely read, with `pread` into a buffer of 256 KiB, by one thread and by as many as the
comparison has. Printed are the least seconds of each (processor time beside them, which a busy
machine changes less), the ratios, the greatest resident size, and the stages: wall time where
stages follow each other, processor time of all workers for what they do side by side. The bars:
without the laws 3 x the time of reading by one thread; 1 GB of memory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from model_sized_captures import BLOCK_BYTES, write_blocks, write_model_run
from model_sized_child import WAITING, WORKERS

CHILD = Path(__file__).with_name("model_sized_child.py")
MOST_MEMORY = 1e9
MOST_TIMES_READING = 3.0


def read_all(paths: list[Path], threads: int) -> None:
    """All bytes of all files, once for every name."""

    def read(path: Path) -> None:
        buffer = memoryview(bytearray(1 << 18))
        with open(path, "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(read, paths))


def seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def compare_in_a_child(
    reference: Path, candidate: Path, threads: int, how: str
) -> dict[str, Any]:  # fmt: skip
    """What a child says that compares `how` it can (see there), with its seconds."""
    command = [sys.executable, str(CHILD), str(reference), str(candidate), str(threads), how]
    # Compiled modules are kept, as those of an installed package are.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env=env)
    assert child.stdout is not None
    found: dict[str, Any] = json.loads(child.stdout.read())
    _, _, usage = os.wait4(child.pid, 0)
    found["seconds"] = time.perf_counter() - started
    found["used"] = usage.ru_utime + usage.ru_stime
    return found


def report(folder: Path, threads: int, repeat: int) -> bool:
    """Whether the bars are met."""
    sides = [folder / "reference", folder / "candidate"]
    files = [path for side in sides for path in sorted(side.glob("*.safetensors"))]
    size = sum(path.stat().st_size for path in files)
    reading: dict[int, list[float]] = {count: [] for count in sorted({1, threads})}
    runs: list[dict[str, Any]] = []
    lawless: list[dict[str, Any]] = []
    for _ in range(repeat):
        for count, took in reading.items():
            took.append(seconds(lambda count=count: read_all(files, count)))
        runs.append(compare_in_a_child(sides[0], sides[1], threads, "timed"))
        lawless.append(compare_in_a_child(sides[0], sides[1], threads, "lawless"))
    clocked = compare_in_a_child(sides[0], sides[1], threads, "clocked")
    best = min(runs, key=lambda run: run["seconds"])
    print(f"{best['pairs']} pairs, {size / 1e9:.2f} GB in all; exit status {best['status']}")
    print(best["said"].strip())
    for count, took in reading.items():
        print(
            f"reading, {count} thread(s)      {min(took):7.2f} s {size / min(took) / 1e9:6.2f} GB/s"
        )
    whole = best["seconds"]
    print(
        f"comparing, {threads} thread(s)    {whole:7.2f} s {size / whole / 1e9:6.2f} GB/s, "
        f"processor {min(run['used'] for run in runs):.2f} s"
    )
    without = min(run["seconds"] for run in lawless)
    print(f"the same without the laws  {without:7.2f} s")
    for count, took in reading.items():
        print(
            f"comparing takes {whole / min(took):.2f} x reading with {count} thread(s), "
            f"{without / min(took):.2f} x without the laws"
        )
    resident = max(run["resident"] for run in (*runs, *lawless))
    print(f"greatest resident size {resident / 1e6:.0f} MB")
    print_stages(best, clocked)
    return without <= MOST_TIMES_READING * min(reading[1]) and resident < MOST_MEMORY


def print_stages(run: dict[str, Any], clocked: dict[str, Any]) -> None:
    """Of a run; what its threads did side by side by one with `clocked` threads."""
    wall, processor = run["wall"], clocked["processor"]
    start = run["seconds"] - run["inside"]
    after_each_other = {"start of the interpreter": start} | {
        name: took for name, took in wall.items() if name != WAITING
    }
    for name, took in after_each_other.items():
        print(f"  {name:28} {took:7.2f} s  {took / run['seconds']:5.1%} of the wall time")
    for name in WORKERS:
        share = processor.get(name, 0.0) / clocked["used"]
        print(
            f"    {name:26} {processor.get(name, 0.0):7.2f} s  {share:5.1%} of the processor time"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="A pair of the size of a model's run.")
    parser.add_argument("--scale", type=float, default=1.0, help="of 32 layers")
    parser.add_argument("--gigabytes", type=float, help="one block repeated to so much")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--work", type=Path, help="where the captures are made")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.work) as name:
        folder = Path(name)
        if options.gigabytes is None:
            write_model_run(folder, max(1, round(32 * options.scale)))
        else:
            write_blocks(folder, max(1, round(options.gigabytes * 1e9 / 2 / BLOCK_BYTES)))
        met = report(folder, options.threads, options.repeat)
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
