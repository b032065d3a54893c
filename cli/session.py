"""What the commands share: from options to a measured comparison, with progress on the terminal."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import copy_context
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

from .errors import UserError
from .output import stderr_is_terminal

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

    from ..capture.layer_range import LayerRange
    from ..compare.aligned import Aligned
    from ..compare.checks.two_sides import EachAlone
    from ..compare.comparison import Comparison
    from ..compare.device.worker import TorchDevice
    from ..compare.judging.options import JudgingOptions
    from ..compare.judging.policy import Policy
    from ..compare.model import Effect
    from ..compare.running.cluster import Cluster

T = TypeVar("T")

# What judging imports when all is measured, which takes longer than judging.
_OF_JUDGING = ("compare.judging.errors", "compare.judging.noise.analysis",
               "compare.judging.noise.expert_routing", "compare.judging.sameness",
               "compare.judging.logits_effect", "compare.matching.content.instead")  # fmt: skip
_OF_LAWS = ("compare.laws.linear.quantised_copy", "compare.running.law_threads")


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
    from ..compare.notes.places import notes_on

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
    device: TorchDevice | None = None,
) -> None:  # fmt: skip
    """Measure every pair, with progress on stderr when it is a terminal; on a `cluster` if given,
    in `processes` if given and numpy does the sums: threads are as fast with the compiled ones, and
    it says so. A `device` helps the threads. Raises `UserError` where the cluster is lost.

    The work runs in a thread of its own, so that Ctrl-C is heard at once: it raises
    `KeyboardInterrupt` here after the work was told to stop.
    """
    from ..compare.measuring.kernel import compiled_module

    if processes and compiled_module() is not None:
        note = f"layertui: --processes is no longer needed: measuring in {processes} threads"
        print(note, file=sys.stderr)
        threads, processes = processes, None
    stop = threading.Event()
    failed: list[BaseException] = []

    def work() -> None:
        try:
            with _pool_of(processes) as pool:
                comparison.measure(
                    executor=cluster.executor if cluster else pool,
                    cancelled=lambda: stop.is_set() or (cluster is not None and cluster.lost),
                    use_cache=use_cache,
                    threads=cluster.workers if cluster else processes or threads,
                    device=device,
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


def _pool_of(processes: int | None) -> AbstractContextManager[Executor | None]:
    """Worker processes; none where none are asked for."""
    if not processes:
        return nullcontext()
    from ..compare.running.processes import process_pool

    return process_pool(processes)


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


@contextmanager
def device_at(name: str) -> Iterator[TorchDevice | None]:
    """The GPU of `--device`, which meanwhile helps to measure; None for `cpu`. Says in the end how
    it was lost, if it was. Raises `UserError` where there is none.
    """
    if name == "cpu":
        yield None
        return
    from ..compare.device.process import DeviceError
    from ..compare.device.worker import opened_device

    try:
        with opened_device(name) as device:
            yield device
    except DeviceError as error:
        raise UserError(str(error)) from error
    if device.lost:
        print(f"layertui: {device.lost}", file=sys.stderr)


@contextmanager
def checks_noted(comparison: Comparison) -> Iterator[None]:
    """Look whether the captures are fit to be compared, and put what is found into their notes: at
    each of them alone beside the work inside, which measures their pairs; at both after it.

    Beside the judging, what reports say of the logits is worked out: mostly outside the
    interpreter's lock.
    """
    stop = threading.Event()
    alone = _beside(lambda: _checked_alone(comparison, stop))
    effects: list[Future[Effect | None]] = []
    comparison.when_measured = lambda: effects.append(_beside(comparison.find_effect))
    try:
        yield
    except BaseException:
        stop.set()
        raise
    finally:
        comparison.when_measured = None
    found = alone.result()
    from ..compare.checks.two_sides import check_pair, note_findings

    note_findings(comparison, check_pair(comparison, alone=found))
    for effect in effects:
        effect.result()


def _beside(work: Callable[[], T]) -> Future[T]:
    """What `work` returns, on a thread that the program's end does not wait for."""
    from concurrent.futures import Future

    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(work())
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=copy_context().run, args=(run,), daemon=True).start()
    return answer


def _checked_alone(comparison: Comparison, stop: threading.Event) -> EachAlone:
    for name in (*_OF_JUDGING, *(_OF_LAWS if comparison.judges_by_laws else ())):
        if not stop.is_set():
            import_module(f"..{name}", __package__)
    from ..compare.checks.two_sides import check_each

    return check_each(comparison, stop.is_set)


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
