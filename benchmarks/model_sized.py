"""A pair of the size of a model's run, compared from start to end: time, memory, and where both go.

    python benchmarks/model_sized.py [--scale 1] [--threads 2] [--repeat 3] [--work DIR]
    python benchmarks/model_sized.py --gigabytes 100

The first makes two captures of the shape of Llama 3.1 8B over 256 tokens: 837 records in bfloat16
with inputs and outputs of every module, 32 layers, 5 GB for both (`--scale 0.25`: 8 layers). Norms,
attention, activations and sums are computed; projections give random numbers, the candidate's with
rounding noise. The second repeats one block of 64 MB a side, which is not zero, through hard
links: as many records as make up so many gigabytes, of which the disk holds two blocks.

A child process then compares them as `layertui compare` does, without a cache and without a
checkpoint. In turns with it, both captures are merely read, with `pread` into a buffer of 256 KiB,
by one thread and by as many as the comparison has. Printed are the least seconds of each (processor
time beside them, which a busy machine changes less), the ratios, the greatest resident size, and
the stages: wall time where stages follow each other, processor time of all workers for what they do
side by side. The bars: 3 x the time of reading by one thread, without holding layers against their
laws; 1 GB of memory.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

from model_sized_captures import BLOCK_BYTES, write_blocks, write_model_run

HERE = Path(__file__)
MOST_MEMORY = 1e9
MOST_TIMES_READING = 3.0


# The child: the comparison, with clocks around its stages


class Stages:
    """Seconds by stage, without those of stages inside it; each thread has its own stack."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = defaultdict(float)
        self.processor: dict[str, float] = defaultdict(float)
        self._local = threading.local()
        self._lock = threading.Lock()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        stack: list[list[float]] = self._local.__dict__.setdefault("stack", [])
        stack.append([0.0, 0.0])
        wall, processor = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            inside = stack.pop()
            wall, processor = time.perf_counter() - wall, time.thread_time() - processor
            with self._lock:
                self.wall[name] += wall - inside[0]
                self.processor[name] += processor - inside[1]
            if stack:
                stack[-1][0] += wall
                stack[-1][1] += processor

    def around(self, owner: Any, name: str, stage: str) -> None:
        """Let a function of a module or class count as a stage."""
        inner: Callable[..., Any] = getattr(owner, name)

        @wraps(inner)
        def timed(*args: Any, **options: Any) -> Any:
            with self.stage(stage):
                return inner(*args, **options)

        setattr(owner, name, timed)


LAWS = "laws"
CHECKS = "checks of both sides"
WAITING = "waiting for what follows"  # the thread that measures tells of it
# What workers do side by side: their wall time is that of waiting for each other, too.
WORKERS = (
    "reading and sums", "sample and structure", "a pair's other work", "checks of each side",
)  # fmt: skip


def compare_in_this_process(reference: str, candidate: str, threads: int) -> None:
    """Prints what was measured as JSON; begins and ends as the command does."""
    started = time.perf_counter()
    stages = Stages()
    with stages.stage("imports"):
        from layertui.capture.interpreter.garbage import leave_to_the_system, no_full_collection
        from layertui.cli import session
        from layertui.cli.commands.compare import report
        from layertui.compare import comparison as comparisons
        from layertui.compare.judging.options import JudgingOptions
        from layertui.compare.measuring import measure as measuring
        from layertui.compare.reports import Settings
        from layertui.compare.running import scheduler
    stages.around(scheduler, "measure", "a pair's other work")
    stages.around(measuring, "_add_all", "reading and sums")
    stages.around(measuring, "_structure", "sample and structure")
    stages.around(session, "_checked_alone", "checks of each side")
    stages.around(comparisons, "measure_rows", "measuring")
    stages.around(comparisons.Comparison, "settle", "judging")
    stages.around(comparisons.Comparison, "check_laws", LAWS)
    options = JudgingOptions()
    with no_full_collection():
        with stages.stage("opening and aligning"):
            compared = session.open_pair(reference, candidate, options)
        with stages.stage(CHECKS), session.checks_noted(compared), stages.stage(WAITING):
            session.measure_all(compared, threads, use_cache=False)
        with stages.stage("report"):
            text = report(compared, "text", Settings("layertui compare", options.metric, False))
    print(json.dumps({
        "wall": dict(stages.wall), "processor": dict(stages.processor),
        "inside": time.perf_counter() - started, "pairs": compared.to_measure,
        "status": compared.exit_status(),
        "resident": greatest_resident_size(),
        "said": next(line for line in text.splitlines() if "verdicts" in line),
    }))  # fmt: skip
    leave_to_the_system()


def greatest_resident_size() -> int:
    """Bytes, of this program alone: `getrusage` counts what its parent had when it was started."""
    text = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", text).group(1))


# The parent: reading, and the child in turns


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


def compare_in_a_child(reference: Path, candidate: Path, threads: int) -> dict[str, Any]:
    command = [sys.executable, str(HERE), "--child", str(reference), str(candidate)]
    started = time.perf_counter()
    child = subprocess.Popen([*command, "--threads", str(threads)], stdout=subprocess.PIPE)
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
    for _ in range(repeat):
        for count, took in reading.items():
            took.append(seconds(lambda count=count: read_all(files, count)))
        runs.append(compare_in_a_child(sides[0], sides[1], threads))
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
    laws = best["wall"].get(LAWS, 0.0)
    for count, took in reading.items():
        print(
            f"comparing takes {whole / min(took):.2f} x reading with {count} thread(s), "
            f"{(whole - laws) / min(took):.2f} x without the laws"
        )
    resident = max(run["resident"] for run in runs)
    print(f"greatest resident size {resident / 1e6:.0f} MB")
    print_stages(best)
    return whole - laws <= MOST_TIMES_READING * min(reading[1]) and resident < MOST_MEMORY


def print_stages(run: dict[str, Any]) -> None:
    wall, processor = run["wall"], run["processor"]
    start = run["seconds"] - run["inside"]
    after_each_other = {"start of the interpreter": start} | {
        name: took for name, took in wall.items() if name not in (*WORKERS, WAITING)
    }
    for name, took in after_each_other.items():
        print(f"  {name:28} {took:7.2f} s  {took / run['seconds']:5.1%} of the wall time")
    for name in WORKERS:
        share = processor.get(name, 0.0) / run["used"]
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
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        reference, candidate = options.child
        compare_in_this_process(reference, candidate, options.threads)
        return
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
