"""What the commands share: from options to a measured comparison, with progress on the terminal."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from .errors import UserError
from .output import stderr_is_terminal

if TYPE_CHECKING:
    from ..capture.layer_range import LayerRange
    from ..compare.aligned import Aligned
    from ..compare.comparison import Comparison
    from ..compare.judging.options import JudgingOptions
    from ..compare.judging.policy import Policy
    from ..compare.running.cluster import Cluster


def policy_of(judging: JudgingOptions) -> Policy:
    """The policy that is asked for. Raises `UserError` where options contradict each other."""
    from ..compare.judging.policy import PolicyError

    try:
        return judging.make_policy()
    except PolicyError as error:
        raise UserError(str(error)) from error


def open_pair(
    reference: str, candidate: str, judging: JudgingOptions, layers: LayerRange | None = None,
    before_values: Callable[[Aligned], None] = lambda _: None,
) -> Comparison:  # fmt: skip
    """Open and align both captures, or some `layers` of them, and remember the checkpoints that
    were given for them.

    `before_values` hears of what names alone paired, before values are read. Raises `CaptureError`,
    also for a checkpoint that cannot be opened, `RulesError`, `UserError`.
    """
    from ..compare.comparison import open_comparison
    from ..compare.weights.models import ModelPaths, remember_models

    comparison = open_comparison(
        reference, candidate, rules=judging.make_rules(), policy=policy_of(judging),
        raw=judging.raw, rtol=judging.rtol, atol=judging.atol, ulp=judging.wants_ulp,
        models=judging.models, allow_early_end=judging.allow_early_end,
        min_coverage=judging.min_coverage, layers=layers, before_values=before_values,
    )  # fmt: skip
    from ..compare.notes.notes_file import notes_on

    comparison.row_notes = notes_on(comparison.reference.path, judging.rules)
    for problem in comparison.row_notes.problems:
        print(f"layertui: {problem}", file=sys.stderr)
    if judging.models.over(comparison.rules.models) != ModelPaths():
        comparison.use_models(judging.models)
        remember_models(reference, candidate, judging.models)
    return comparison


def measure_all(
    comparison: Comparison, threads: int | None = None, use_cache: bool = True,
    processes: int | None = None, cluster: Cluster | None = None,
) -> None:  # fmt: skip
    """Measure every pair, with progress on stderr when it is a terminal; on a `cluster` if given,
    in `processes` if given and numpy does the sums: threads are as fast with the compiled ones, and
    it says so. Raises `UserError` where the cluster is lost.

    The work runs in a thread of its own, so that Ctrl-C is heard at once: it raises
    `KeyboardInterrupt` here after the work was told to stop.
    """
    from ..compare.measuring.kernel import compiled_module
    from ..compare.running.processes import process_pool

    if processes and compiled_module() is not None:
        note = f"layertui: --processes is no longer needed: measuring in {processes} threads"
        print(note, file=sys.stderr)
        threads, processes = processes, None
    stop = threading.Event()
    failed: list[BaseException] = []

    def work() -> None:
        try:
            with process_pool(processes) if processes else nullcontext() as pool:
                comparison.measure(
                    executor=cluster.executor if cluster else pool,
                    cancelled=lambda: stop.is_set() or (cluster is not None and cluster.lost),
                    use_cache=use_cache,
                    threads=cluster.workers if cluster else processes or threads,
                )  # fmt: skip
        except BaseException as error:
            failed.append(error)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    try:
        _watch(comparison, worker)
    except KeyboardInterrupt:
        stop.set()
        worker.join(2.0)
        raise
    if cluster is not None and cluster.lost:
        raise UserError(f"{cluster.address}: the scheduler went away")
    if failed:
        raise failed[0]


@contextmanager
def cluster_at(address: str | None, workers: int | None) -> Iterator[Cluster | None]:
    """The cluster of `--scheduler`, which meanwhile does all that is read for; None without. Raises
    `UserError` where there is none, or its workers do not see the captures.
    """
    if address is None:
        yield None
        return
    from ..compare.running.cluster import ClusterError, opened_cluster
    from ..compare.running.measuring import workers_on
    from ..compare.tasks.on_executor import tasks_on

    try:
        with (
            opened_cluster(address, workers) as cluster,
            tasks_on(workers_on(cluster.executor, cluster.workers)),
        ):
            yield cluster
    except ClusterError as error:
        raise UserError(str(error)) from error


def note_checks(comparison: Comparison) -> None:
    """Look whether the captures are fit to be compared, and put what is found into their notes."""
    from ..compare.checks.two_sides import check_pair, note_findings

    note_findings(comparison, check_pair(comparison))


def _watch(comparison: Comparison, worker: threading.Thread) -> None:
    show = stderr_is_terminal()
    started = time.monotonic()
    while worker.is_alive():
        worker.join(0.2)
        if show and time.monotonic() - started > 0.5:
            done, total = comparison.measured, comparison.to_measure
            print(f"\rmeasured {done} of {total} pairs\x1b[K", end="", file=sys.stderr, flush=True)
    if show:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
