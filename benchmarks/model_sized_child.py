"""The child of `model_sized`: compares two captures as `layertui compare` does, with clocks around
its stages, and prints what they say as JSON.

    python benchmarks/model_sized_child.py REFERENCE CANDIDATE THREADS clocked|timed|lawless

It imports what the command imports and little else. Unless it is `clocked`, the clocks in the
threads that measure are left out, which are read ten times for every pair; `lawless` does not hold
layers against their laws, nor imports what that needs.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any


class Stages:
    """Seconds by stage, without those of stages inside it; each thread has its own stack and
    clocks, so that none waits for another.
    """

    def __init__(self) -> None:
        self._local = threading.local()
        self._clocks: list[tuple[str, float, float]] = []

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
            self._clocks.append((name, wall - inside[0], processor - inside[1]))
            if stack:
                stack[-1][0] += wall
                stack[-1][1] += processor

    def seconds(self, of_processor: bool) -> dict[str, float]:
        """By stage; on the wall, or of the processor."""
        found: dict[str, float] = defaultdict(float)
        for name, wall, processor in self._clocks:
            found[name] += processor if of_processor else wall
        return found

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
    "a pair's other work", "reading and sums", "sample and structure", "checks of each side",
)  # fmt: skip


def compare_in_this_process(
    reference: str, candidate: str, threads: int, how: str
) -> None:  # fmt: skip
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
    if how == "lawless":
        setattr(comparisons.Comparison, "judges_by_laws", property(lambda _: False))  # noqa: B010
    if how == "clocked":
        for owner, name, stage in zip(
            (scheduler, measuring, measuring, session),
            ("measure", "_add_all", "_structure", "_checked_alone"), WORKERS, strict=True,
        ):  # fmt: skip
            stages.around(owner, name, stage)
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
        "wall": stages.seconds(False), "processor": stages.seconds(True),
        "inside": time.perf_counter() - started, "pairs": compared.to_measure,
        "status": compared.exit_status(),
        "resident": greatest_resident_size(),
        "said": next(line for line in text.splitlines() if "verdicts" in line),
    }))  # fmt: skip
    leave_to_the_system()


def greatest_resident_size() -> int:
    """Bytes, of this program alone: `getrusage` counts what its parent had when it was started."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    compare_in_this_process(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
