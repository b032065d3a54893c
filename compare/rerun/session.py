"""Reruns of one comparison: a runner that stays alive, results by row, remembered on disk.

The screens and the command line hold one `RerunSession`. Its methods that wait (`start`, `rerun`)
are for a worker thread; everything else returns at once. What the runner wrote lies in a private
directory until `close`, so that outputs can be looked at like any other tensor. Neither capture is
ever written to.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ...capture.runners.guard import Guard
from ...capture.runners.layers import RerunError
from ...capture.runners.process import RunnerProcess
from ...capture.runners.protocol import Hello
from ...capture.runners.spec import RunnerSpec, identity
from ..measuring.pair_reader import PairTask
from ..model import Row, by_values
from . import remembered as memory
from .answers import AnsweringProcess
from .inputs import Injector
from .judge import Judgement, judge, within
from .layers import Layer, Layers, inside, why_no_layer
from .results import Question, RerunProgress, RerunResult
from .run import Run, never, nothing, single_task

if TYPE_CHECKING:
    from ..comparison import Comparison
    from .answers import KeptAnswers
    from .results import Cancelled, Tell


class RerunSession:
    """Reruns for one comparison. `keep_outputs` leaves the rerun's tensors for looking at,
    `keep_inputs` what was fed as well,
    `use_cache` takes and leaves results on disk, `own_inputs` lets the candidate have its own
    tensors where the reference has none, `answers` are taken instead of asking the runner.
    """

    def __init__(
        self, comparison: Comparison, spec: RunnerSpec | None = None, *,
        keep_outputs: bool = True, keep_inputs: bool = False, use_cache: bool = True,
        own_inputs: bool = False, answers: KeptAnswers | None = None,
    ) -> None:  # fmt: skip
        self.comparison = comparison
        self.results: dict[int, RerunResult] = {}
        self._asked: RunnerSpec | None = spec
        self.keep = keep_outputs
        self.cache = use_cache
        self.keep_inputs = keep_inputs
        self.own_inputs = own_inputs
        self._answers = answers
        self.guard: Guard | None = None
        self.process: RunnerProcess | None = None
        self.injector: Injector | None = None
        self.number = 0
        self._busy = threading.Lock()
        self._closed = False
        self._halt = False

    @cached_property
    def layers(self) -> Layers:
        """What rows each layer has; gone through when something is rerun for the first time."""
        return Layers(self.comparison)

    def __enter__(self) -> RerunSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- which runner

    @property
    def asked(self) -> RunnerSpec | None:
        """The runner that was given or chosen; None where none was."""
        return self._asked

    @property
    def spec(self) -> RunnerSpec | None:
        """The runner that will be used: as given, as chosen before, or as the capture tells."""
        if self._asked is not None:
            return self._asked
        capture = self.comparison.candidate
        known = memory.recall(capture)
        if known is not None and known.missing() is None:
            return known
        told = memory.proposed(capture)
        return told if memory.trusted(told) else None

    def needs(self) -> Question | None:
        """What must be asked of the user first; None when reruns can start."""
        spec = self.spec
        if spec is not None and spec.missing() is None:
            return None
        proposal = spec or memory.recall(self.comparison.candidate)
        proposal = proposal or memory.proposed(self.comparison.candidate)
        return Question(proposal.missing() or "whether this code may be run", proposal)

    def choose(self, spec: RunnerSpec) -> None:
        """Use this runner from now on; it is remembered for this capture once it has started.
        Results are dropped when it is another one.
        """
        if spec != self._asked:
            self.stop()
            self.results.clear()
        self._asked = spec

    def may_take_minutes(self, rows: Iterable[int]) -> bool:
        """True when layers without a result would be compiled first. Remembered ones count as
        without until `recall`.
        """
        spec = self.spec
        found = (self.layers.of_row(index) for index in rows)
        new = any(layer is not None and not self._has(layer) for layer in found)
        return new and spec is not None and spec.compiles

    @property
    def hello(self) -> Hello | None:
        """What the running runner said of itself; None while there is none."""
        return self.process.hello if self.process is not None else None

    # --- running

    def start(self, tell: Tell | None = None, cancelled: Cancelled | None = None) -> Hello:
        """Start the runner, if it does not run. Raises `RerunError`, `RerunCancelledError`."""
        if self.process is not None and self.process.alive and self.injector is not None:
            return self.injector.hello
        spec = self.spec
        if spec is None or spec.missing() is not None:
            question = self.needs()
            raise RerunError(f"not known: {question.text if question else 'the runner'}")
        if self._closed:
            raise RerunError("the session is closed")
        if self.guard is None:
            self.guard = Guard()
        self.process = self._process(spec, self.guard)

        def progress(text: str) -> None:
            if tell is not None:
                tell(RerunProgress(0, 0, "", text))

        hello = self.process.start(progress, cancelled or never)
        self.injector = Injector(self.comparison, hello, self.own_inputs)
        if self._asked is not None:
            memory.remember(self.comparison.candidate, self._asked)
        if self.cache:
            memory.remember_hello(identity(spec), hello)
        return hello

    def _process(self, spec: RunnerSpec, guard: Guard) -> RunnerProcess:
        command = spec.start_command()
        more: dict[str, Any] = {"model": spec.model or "", "timeout": spec.seconds,
                                "environment": spec.environment()}  # fmt: skip
        if self._answers is not None:
            return AnsweringProcess(command, guard, self._answers, **more)
        return RunnerProcess(command, guard, **more)

    def rerun(
        self, rows: Iterable[int], tell: Tell | None = None, cancelled: Cancelled | None = None,
        *, fresh: bool = False,
    ) -> bool:  # fmt: skip
        """Rerun the layers of `rows`, in execution order. Blocks; False when `cancelled` said stop.

        Results arrive in `results`, for all outputs of each layer, problems of single layers
        included. Layers with a result are not run again unless `fresh`; nor are those with one on
        disk. Raises `RerunError` when no rerun is possible at all: the runner does not start, or
        dies again and again.
        """

        def stopped() -> bool:
            return self._halt or self._closed or (cancelled is not None and cancelled())

        with self._busy:
            layers = self._wanted(rows)
            waiting = [layer for layer in layers if fresh or not self._has(layer)]
            return Run(self, waiting, tell or nothing, stopped, fresh).work()

    def recall(self, rows: Iterable[int] | None = None) -> list[int]:
        """Take what earlier sessions found, without a runner; returns the rows that have results
        now, none where no runner is known. Reads samples of the records: for a worker thread.
        """
        if self.spec is None:
            return []
        layers = self.layers.all if rows is None else self._wanted(rows)
        with self._busy:
            waiting = [layer for layer in layers if not self._has(layer)]
            return Run(self, waiting, nothing, never, False).recall()

    def _wanted(self, rows: Iterable[int]) -> list[Layer]:
        found: dict[tuple[int, ...], Layer] = {}
        for index in rows:
            layer = self.layers.of_row(index)
            if layer is not None:
                found[layer.outputs] = layer
            else:
                self._no_layer(index)
        return sorted(found.values(), key=lambda layer: layer.outputs[0])

    def _no_layer(self, index: int) -> None:
        row = self.comparison.rows[index]
        self.results[index] = RerunResult(index, row.canonical, None, problem=why_no_layer(row))

    def _has(self, layer: Layer) -> bool:
        results = [self.results.get(index) for index in layer.outputs]
        return all(found is not None and found.problem is None for found in results)

    def stop(self) -> None:
        """End the runner, and a `rerun` that waits for it; results and outputs stay."""
        if self.process is None:
            return
        self._halt = True
        self.process.kill()
        with self._busy:
            self._halt = False
            self.process.end()
            self.injector = None

    def close(self) -> None:
        """End the runner and remove everything that it wrote."""
        self._closed = True
        if self.process is not None:
            self.process.kill()
        if self.guard is not None:
            self.guard.close()
        if self.process is not None:
            self.process.end()

    # --- what came out

    def judgement(self, index: int) -> Judgement:
        """What is wrong at a row, by what has been rerun so far."""
        row = self.comparison.rows[index]
        own = self._alone(index)
        if own.kind != "wrong":
            return own
        return within(own, self._wrong_parts(row))

    def _alone(self, index: int) -> Judgement:
        found = self.results.get(index)
        if found is None:
            return Judgement("unknown", "not rerun")
        if found.judgement is not None:
            return found.judgement
        comparison = self.comparison
        return judge(
            comparison.policy, comparison.rows[index], by_values(comparison.measurements[index]),
            found.inputs, found.single, found.problem,
        )  # fmt: skip

    def _wrong_parts(self, row: Row) -> list[str]:
        rows = self.comparison.rows
        parts = [i for i in self.results if inside(rows[i], row) and self._alone(i).kind == "wrong"]
        parts.sort()
        innermost = [
            i
            for i in parts
            if not any(inside(rows[other], rows[i]) for other in parts if other != i)
        ]
        return list(dict.fromkeys(rows[i].canonical for i in innermost))

    def wrong_rows(self) -> list[int]:
        """Rows of the layers that are wrong on their own, those that only contain one left out."""
        return [index for index in sorted(self.results) if self.judgement(index).kind == "wrong"]

    def pair_task(self, index: int) -> PairTask | None:
        """The reference's record against the rerun's, for any view of a pair; None where the
        rerun's tensor is not there (rerun with `fresh`).
        """
        found = self.results.get(index)
        if found is None or found.output is None:
            return None
        return single_task(self.comparison, index, found.output)
