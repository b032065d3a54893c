"""Reruns of one comparison: a runner that stays alive, results by row, remembered on disk.

The screens and the command line hold one `RerunSession`. Its methods that wait (`start`, `rerun`)
are for a worker thread; everything else returns at once. What the runner wrote lies in a private
directory until `close`, so that outputs can be looked at like any other tensor. Neither capture is
ever written to.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from ...capture.records import Locator
from ...capture.runners.guard import Guard
from ...capture.runners.layers import RerunError
from ...capture.runners.process import (
    RerunCancelledError,
    RunnerProcess,
    located_in,
    write_tensors,
)
from ...capture.runners.protocol import Answer, Hello
from ...capture.runners.spec import RunnerSpec, identity
from ..measuring.measure import measure
from ..measuring.pair_reader import CancelledError, PairTask, SideTask
from ..model import Failure, Measurement, Row
from ..recipes.errors import RecipeError
from ..running.cache import ENGINE, FileIdentities, MeasurementCache
from ..running.scheduler import pair_task
from . import remembered as memory
from .inputs import Injection, Injector, tensor_of
from .judge import Judgement, judge, within, worst
from .layers import Layer, Layers, inside

if TYPE_CHECKING:
    from ..comparison import Comparison

_CRASHES = 3  # in a row, after which reruns of many layers stop


@dataclass(frozen=True, slots=True)
class RerunResult:
    """What the rerun of a row's layer gave.

    `single` is the reference's output against the rerun's, None with a `problem` in words.
    `inputs` is the input that differs most, `input_row` its row. `output` is where the rerun's
    tensor lies, for as long as the session lives; None for results of earlier sessions. `given`
    is what the layer was fed, by slot, where inputs are kept.
    `failed` tells a rerun that went wrong from one that is not possible. `seconds` and
    `compile_seconds` are the runner's, None where it does not say. `judgement` is set where it was
    made by other means than from these errors.
    """

    row: int
    layer: str
    single: Measurement | Failure | None
    inputs: Measurement | Failure | None = None
    input_row: int | None = None
    problem: str | None = None
    failed: bool = False
    seconds: float | None = None
    compile_seconds: float | None = None
    output: Locator | None = None
    remembered: bool = False
    given: tuple[tuple[str, Locator], ...] = ()
    notes: tuple[str, ...] = ()
    judgement: Judgement | None = None


@dataclass(frozen=True, slots=True)
class RerunProgress:
    """Layers `done` of `total`, and what is done now; `rows` have just got results."""

    done: int
    total: int
    layer: str = ""
    text: str = ""
    rows: tuple[int, ...] = ()


Tell = Callable[[RerunProgress], None]
Cancelled = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Question:
    """What must be asked before anything can be rerun; `proposal` fills the dialog."""

    text: str
    proposal: RunnerSpec


class RerunSession:
    """Reruns for one comparison. `keep_outputs` leaves the rerun's tensors for looking at,
    `keep_inputs` what was fed as well,
    `use_cache` takes and leaves results on disk, `own_inputs` lets the candidate have its own
    tensors where the reference has none.
    """

    def __init__(
        self, comparison: Comparison, spec: RunnerSpec | None = None, *,
        keep_outputs: bool = True, keep_inputs: bool = False, use_cache: bool = True,
        own_inputs: bool = False,
    ) -> None:  # fmt: skip
        self.comparison = comparison
        self.layers = Layers(comparison)
        self.results: dict[int, RerunResult] = {}
        self._asked: RunnerSpec | None = spec
        self._keep = keep_outputs
        self._cache = use_cache
        self._keep_inputs = keep_inputs
        self.own_inputs = own_inputs
        self._guard: Guard | None = None
        self._process: RunnerProcess | None = None
        self._injector: Injector | None = None
        self._number = 0
        self._busy = threading.Lock()
        self._closed = False
        self._halt = False

    def __enter__(self) -> RerunSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- which runner

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
        return new and spec is not None and spec.kind == "max"

    @property
    def hello(self) -> Hello | None:
        """What the running runner said of itself; None while there is none."""
        return self._process.hello if self._process is not None else None

    # --- running

    def start(self, tell: Tell | None = None, cancelled: Cancelled | None = None) -> Hello:
        """Start the runner, if it does not run. Raises `RerunError`, `RerunCancelledError`."""
        if self._process is not None and self._process.alive and self._injector is not None:
            return self._injector.hello
        spec = self.spec
        if spec is None or spec.missing() is not None:
            question = self.needs()
            raise RerunError(f"not known: {question.text if question else 'the runner'}")
        if self._closed:
            raise RerunError("the session is closed")
        if self._guard is None:
            self._guard = Guard()
        self._process = RunnerProcess(
            spec.start_command(), self._guard, model=spec.model or "", timeout=spec.seconds,
            environment=spec.environment(),
        )  # fmt: skip

        def progress(text: str) -> None:
            if tell is not None:
                tell(RerunProgress(0, 0, "", text))

        hello = self._process.start(progress, cancelled or _never)
        self._injector = Injector(self.comparison, hello, self.own_inputs)
        if self._asked is not None:
            memory.remember(self.comparison.candidate, self._asked)
        if self._cache:
            memory.remember_hello(identity(spec), hello)
        return hello

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
            return _Run(self, waiting, tell or _nothing, stopped, fresh).work()

    def recall(self, rows: Iterable[int] | None = None) -> list[int]:
        """Take what earlier sessions found, without a runner; returns the rows that have results
        now. Reads samples of the records: for a worker thread.
        """
        layers = self.layers.all if rows is None else self._wanted(rows)
        with self._busy:
            waiting = [layer for layer in layers if not self._has(layer)]
            return _Run(self, waiting, _nothing, _never, False).recall()

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
        lacking = "the candidate has no such record" if row.candidate is None else (
            "its layer has no output on both sides"
        )  # fmt: skip
        self.results[index] = RerunResult(index, row.canonical, None, problem=lacking)

    def _has(self, layer: Layer) -> bool:
        results = [self.results.get(index) for index in layer.outputs]
        return all(found is not None and found.problem is None for found in results)

    def stop(self) -> None:
        """End the runner, and a `rerun` that waits for it; results and outputs stay."""
        if self._process is None:
            return
        self._halt = True
        self._process.kill()
        with self._busy:
            self._halt = False
            self._process.end()
            self._injector = None

    def close(self) -> None:
        """End the runner and remove everything that it wrote."""
        self._closed = True
        if self._process is not None:
            self._process.kill()
        if self._guard is not None:
            self._guard.close()
        if self._process is not None:
            self._process.end()

    # --- what came out

    def judgement(self, index: int) -> Judgement:
        """Who is to blame for a row, by what has been rerun so far."""
        row = self.comparison.rows[index]
        own = self._alone(index)
        if own.blame != "wrong":
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
            comparison.policy, comparison.rows[index], comparison.measurements[index],
            found.inputs, found.single, found.problem,
        )  # fmt: skip

    def _wrong_parts(self, row: Row) -> list[str]:
        rows = self.comparison.rows
        parts = [
            i for i in self.results if inside(rows[i], row) and self._alone(i).blame == "wrong"
        ]
        parts.sort()
        innermost = [
            i
            for i in parts
            if not any(inside(rows[other], rows[i]) for other in parts if other != i)
        ]
        return list(dict.fromkeys(rows[i].canonical for i in innermost))

    def blamed(self) -> list[int]:
        """Rows of the layers that are wrong on their own, those that only contain one left out."""
        return [index for index in sorted(self.results) if self.judgement(index).blame == "wrong"]

    def pair_task(self, index: int) -> PairTask | None:
        """The reference's record against the rerun's, for any view of a pair; None where the
        rerun's tensor is not there (rerun with `fresh`).
        """
        found = self.results.get(index)
        if found is None or found.output is None:
            return None
        return _single_task(self.comparison, index, found.output)


@dataclass(slots=True)
class _Run:
    """One call of `rerun`."""

    session: RerunSession
    layers: list[Layer]
    tell: Tell
    cancelled: Cancelled
    fresh: bool
    _identities: FileIdentities = field(default_factory=FileIdentities)
    _earlier: Injector | None = None  # by what the same runner said before
    _done: int = 0
    _crashes: int = 0

    def work(self) -> bool:
        """Run every layer; False when told to stop."""
        cache = MeasurementCache() if self.session._cache else None
        known = self._identity() if cache is not None else None
        try:
            for layer in self.layers:
                if self.cancelled():
                    return False
                if self.fresh or not self._remembered(layer, cache, known):
                    self._say(layer, "")
                    self._layer(layer, cache, known)
                self._done += 1
                self.tell(RerunProgress(self._done, len(self.layers), layer.name, "",
                                        layer.outputs))  # fmt: skip
        except (RerunCancelledError, CancelledError):
            return False
        finally:
            if cache is not None:
                cache.close()
        return True

    def recall(self) -> list[int]:
        """Only what is on disk; the rows found."""
        known = self._identity() if self.session._cache else None
        if known is None:
            return []
        cache = MeasurementCache()
        try:
            found = [layer for layer in self.layers if self._remembered(layer, cache, known)]
        finally:
            cache.close()
        return rows_of(found)

    def _identity(self) -> str | None:
        spec = self.session.spec
        return None if spec is None or spec.missing() is not None else identity(spec)

    def _say(self, layer: Layer, text: str) -> None:
        self.tell(RerunProgress(self._done, len(self.layers), layer.name, text))

    def _layer(self, layer: Layer, cache: MeasurementCache | None, known: str | None) -> None:
        session = self.session
        hello = session.start(lambda progress: self._say(layer, progress.text), self.cancelled)
        injector = session._injector
        assert injector is not None
        try:
            injection = injector.injection(layer)
            inputs, input_row = self._inputs(injection)
            keys = self._keys(layer, injection, hello, known) if known else {}
        except RerunError as error:
            self._problem(layer, str(error), failed=False)
            return
        try:
            answer, outputs, given = self._ask(layer, injection)
        except RerunError as error:
            if self.cancelled():
                raise RerunCancelledError from error
            self._problem(layer, str(error), failed=True)
            return
        self._crashes = 0
        for index in layer.outputs:
            result = self._single(index, layer, outputs)
            single = result.single
            session.results[index] = replace(
                result, inputs=inputs, input_row=input_row, seconds=answer.seconds,
                compile_seconds=answer.compile_seconds, notes=injection.notes, given=given,
            )  # fmt: skip
            if cache is not None and index in keys and isinstance(single, Measurement):
                cache.put([(keys[index], single)])
        if not session._keep:
            for locator in outputs.values():
                Path(locator.path).unlink(missing_ok=True)

    def _problem(self, layer: Layer, words: str, failed: bool) -> None:
        process = self.session._process
        for index in layer.outputs:
            self.session.results[index] = RerunResult(
                index, layer.name, None, problem=words, failed=failed
            )
        if process is not None and process.alive:
            return
        self._crashes += 1
        if self._crashes >= _CRASHES:
            raise RerunError(f"the runner failed {_CRASHES} times in a row: {words}")

    # --- measuring

    def _inputs(self, injection: Injection) -> tuple[Measurement | Failure | None, int | None]:
        """How different the inputs were that came in, by the one that differs most."""
        comparison = self.session.comparison
        found: list[tuple[int, Measurement | Failure]] = []
        for index in dict.fromkeys(injection.rows):
            known = comparison.measurements[index]
            found.append((index, known or measure(pair_task(comparison, index), self.cancelled)))
        if not found:
            return None, None
        index, result = worst(found)
        return result, index

    def _single(self, index: int, layer: Layer, outputs: dict[str, Locator]) -> RerunResult:
        comparison = self.session.comparison
        row = comparison.rows[index]
        assert row.candidate is not None
        locator = _output_of(row, layer, outputs)
        if locator is None:
            given = ", ".join(outputs)
            words = f"the rerun gave no {row.candidate.slot}, only {given}"
            return RerunResult(index, layer.name, None, problem=words, failed=True)
        kept = locator if self.session._keep else None
        if row.problem_level is not None:
            wrong = Failure(row.problem or row.problem_level, level=row.problem_level)
            return RerunResult(index, layer.name, wrong, output=kept)
        if locator.shape != row.candidate.shape:
            words = (
                f"the rerun gave shape {list(locator.shape)}, the captured record has "
                f"{list(row.candidate.shape or ())}"
            )
            wrong = Failure(words, "candidate", "shape")
            return RerunResult(index, layer.name, wrong, output=kept)
        single = measure(_single_task(comparison, index, locator), self.cancelled)
        return RerunResult(index, layer.name, single, output=kept)

    # --- asking the runner

    def _ask(
        self, layer: Layer, injection: Injection
    ) -> tuple[Answer, dict[str, Locator], tuple[tuple[str, Locator], ...]]:
        """The answer, the outputs, and what was fed where that is kept."""
        session = self.session
        process, guard = session._process, session._guard
        assert process is not None and guard is not None
        session._number += 1
        stem = guard.directory / f"{session._number}"
        given, into = Path(f"{stem}-in.safetensors"), Path(f"{stem}-out.safetensors")
        try:
            self._write(given, injection)
            answer, outputs = process.rerun(
                injection.runner_layer, given, into, lambda text: self._say(layer, text),
                self.cancelled, injection.call,
            )  # fmt: skip
            fed = located_in(given) if session._keep_inputs else {}
            return answer, outputs, tuple(fed.items())
        except OSError as error:
            raise RerunError(f"{error.filename or given}: {error.strerror or error}") from error
        finally:
            if not session._keep_inputs:
                with contextlib.suppress(OSError):
                    given.unlink()

    def _write(self, given: Path, injection: Injection) -> None:
        tensors = {fed.slot: tensor_of(fed) for fed in injection.fed}
        if injection.offsets:
            ends = b"".join(end.to_bytes(4, "little") for end in injection.offsets)
            tensors["row_offsets"] = ("uint32", (len(injection.offsets),), ends)
        write_tensors(given, tensors)

    # --- remembering

    def _keys(self, layer: Layer, injection: Injection, hello: Hello, known: str) -> dict[int, str]:
        """What the results of this rerun are remembered under, by row."""
        base = blake2b(digest_size=24)
        said = (ENGINE, "rerun", known, hello.framework, hello.framework_version,
                injection.runner_layer, injection.offsets,
                json.dumps(injection.call, sort_keys=True))  # fmt: skip
        base.update(repr(said).encode())
        try:
            for fed in injection.fed:
                shape = (fed.slot, fed.undo, fed.shape, fed.dtype, fed.heads_last, fed.ragged)
                base.update(repr(shape).encode())
                self._identities.feed(base, fed.task)
            return {index: self._key(index, base) for index in layer.outputs}
        except (OSError, RecipeError):
            return {}

    def _key(self, index: int, base: blake2b) -> str:
        comparison = self.session.comparison
        row = comparison.rows[index]
        digest = base.copy()
        digest.update(repr((comparison.rtol, comparison.atol, comparison.ulp, row.slot,
                            row.recipe_candidate)).encode())  # fmt: skip
        if comparison.measurable(index):
            self._identities.feed(digest, pair_task(comparison, index).reference)
        return digest.hexdigest()

    def _remembered(self, layer: Layer, cache: MeasurementCache | None, known: str | None) -> bool:
        """Take the results of an earlier session; False where one is missing."""
        if cache is None or known is None:
            return False
        if self._earlier is None:
            hello = memory.recall_hello(known)
            if hello is None:
                return False
            self._earlier = Injector(self.session.comparison, hello, self.session.own_inputs)
        try:
            injection = self._earlier.injection(layer)
        except RerunError:
            return False  # said when the runner is asked
        keys = self._keys(layer, injection, self._earlier.hello, known)
        found = cache.get(keys.values())
        if set(keys) != set(layer.outputs) or any(key not in found for key in keys.values()):
            return False
        inputs, input_row = self._inputs(injection)
        for index, key in keys.items():
            self.session.results[index] = RerunResult(
                index, layer.name, found[key], inputs, input_row, remembered=True
            )
        return True


def _output_of(row: Row, layer: Layer, outputs: dict[str, Locator]) -> Locator | None:
    """The rerun's output that answers to a row's candidate record."""
    assert row.candidate is not None
    for slot in (row.candidate.slot, row.slot):
        other = {"output": "output_0", "output_0": "output"}.get(slot, slot)
        for name in (slot, other):
            if name in outputs:
                return outputs[name]
    if len(outputs) == 1 and len(layer.outputs) == 1:
        return next(iter(outputs.values()))
    return None


def _single_task(comparison: Comparison, index: int, locator: Locator) -> PairTask:
    task = pair_task(comparison, index)
    candidate = SideTask(locator, locator.dtype, task.candidate.recipe, task.candidate.others)
    return replace(task, candidate=candidate)


def _never() -> bool:
    return False


def _nothing(_: RerunProgress) -> None:
    """Nobody wants to know."""


def rows_of(layers: Sequence[Layer]) -> list[int]:
    """The output rows of several layers."""
    return [index for layer in layers for index in layer.outputs]
