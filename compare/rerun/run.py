"""Some layers rerun, one after the other, or recalled from what earlier runs left."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ...capture.records import Locator
from ...capture.runners.layers import RerunError
from ...capture.runners.process import RerunCancelledError, located_in, write_tensors
from ...capture.runners.protocol import Answer, Hello
from ...capture.runners.spec import identity
from ..measuring.measure import measure
from ..measuring.pair_reader import CancelledError, PairTask, SideTask
from ..model import Failure, Measurement, Row, by_values
from ..recipes.errors import RecipeError
from ..running.cache import ENGINE, FileIdentities, MeasurementCache
from . import remembered as memory
from .fed import tensor_of
from .inputs import Injection, Injector
from .judge import worst
from .layers import Layer, rows_of
from .results import RerunProgress, RerunResult

if TYPE_CHECKING:
    from ...capture.runners.guard import Guard
    from ...capture.runners.process import RunnerProcess
    from ...capture.runners.spec import RunnerSpec
    from ..comparison import Comparison
    from .results import Cancelled, Tell


_CRASHES = 3  # in a row, after which reruns of many layers stop


class RerunHost(Protocol):
    """What a run asks of the session that it belongs to (see `session.RerunSession`)."""

    comparison: Comparison
    results: dict[int, RerunResult]
    cache: bool
    keep: bool
    keep_inputs: bool
    own_inputs: bool
    guard: Guard | None
    process: RunnerProcess | None
    injector: Injector | None
    number: int

    @property
    def spec(self) -> RunnerSpec | None: ...

    def start(self, tell: Tell | None = None, cancelled: Cancelled | None = None) -> Hello: ...


@dataclass(slots=True)
class Run:
    """One call of `rerun`."""

    session: RerunHost
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
        cache = MeasurementCache() if self.session.cache else None
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
        known = self._identity() if self.session.cache else None
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
        injector = session.injector
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
        if not session.keep:
            for locator in outputs.values():
                Path(locator.path).unlink(missing_ok=True)

    def _problem(self, layer: Layer, words: str, failed: bool) -> None:
        process = self.session.process
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
            known = by_values(comparison.measurements[index])
            found.append((index, known or measure(comparison.task(index), self.cancelled)))
        if not found:
            return None, None
        index, result = worst(found)
        return result, index

    def _single(self, index: int, layer: Layer, outputs: dict[str, Locator]) -> RerunResult:
        comparison = self.session.comparison
        row = comparison.rows[index]
        assert row.candidate is not None
        locator = output_of(row, layer, outputs)
        if locator is None:
            given = ", ".join(outputs)
            words = f"the rerun returned no {row.candidate.slot}, only {given}"
            return RerunResult(index, layer.name, None, problem=words, failed=True)
        kept = locator if self.session.keep else None
        if row.problem_level is not None:
            wrong = Failure(row.problem or row.problem_level, level=row.problem_level)
            return RerunResult(index, layer.name, wrong, output=kept)
        if locator.shape != row.candidate.shape:
            words = (
                f"the rerun returned shape {list(locator.shape)}, the captured record has "
                f"{list(row.candidate.shape or ())}"
            )
            wrong = Failure(words, "candidate", "shape")
            return RerunResult(index, layer.name, wrong, output=kept)
        single = measure(single_task(comparison, index, locator), self.cancelled)
        return RerunResult(index, layer.name, single, output=kept)

    # --- asking the runner

    def _ask(
        self, layer: Layer, injection: Injection
    ) -> tuple[Answer, dict[str, Locator], tuple[tuple[str, Locator], ...]]:
        """The answer, the outputs, and what was fed where that is kept."""
        session = self.session
        process, guard = session.process, session.guard
        assert process is not None and guard is not None
        session.number += 1
        stem = guard.directory / f"{session.number}"
        given, into = Path(f"{stem}-in.safetensors"), Path(f"{stem}-out.safetensors")
        try:
            self._write(given, injection)
            answer, outputs = process.rerun(
                injection.runner_layer, given, into, lambda text: self._say(layer, text),
                self.cancelled, injection.call,
            )  # fmt: skip
            fed = located_in(given) if session.keep_inputs else {}
            return answer, outputs, tuple(fed.items())
        except OSError as error:
            raise RerunError(f"{error.filename or given}: {error.strerror or error}") from error
        finally:
            if not session.keep_inputs:
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
        how = comparison.aligned
        settings = how.rtol, how.atol, how.ulp, row.slot, row.recipe_candidate
        digest.update(repr(settings).encode())
        if comparison.measurable(index):
            self._identities.feed(digest, comparison.task(index).reference)
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


def output_of(row: Row, layer: Layer, outputs: dict[str, Locator]) -> Locator | None:
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


def single_task(comparison: Comparison, index: int, locator: Locator) -> PairTask:
    task = comparison.task(index)
    candidate = SideTask(locator, locator.dtype, task.candidate.recipe, task.candidate.others)
    return replace(task, candidate=candidate)


def never() -> bool:
    return False


def nothing(_: RerunProgress) -> None:
    """Nobody wants to know."""
