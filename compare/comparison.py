"""The `Comparison`: two captures, aligned; what is measured of them, and how that is judged.

Leads from aligned rows to results, further evidence and a judgement; what each of them is at a time
is in `state`. The terminal and the command line are two views of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING

from ..capture.errors import CaptureError
from ..capture.interpreter.garbage import free_slowly
from ..capture.records import Capture
from .gathering import gather_and_judge, with_symptoms
from .judging.outcome import Demands
from .judging.policy import NoisePolicy, Policy, policy_named
from .matching.align import align
from .matching.sides import open_sides
from .model import (
    Effect,
    Measured,
    Row,
    Symptom,
)
from .rules.by_hand import changed, globs_for, taken_apart
from .rules.rules import HandPair, RecipeRule, Rules
from .running.law_checks import LawCheck, LawProgress
from .running.measuring import evaluated_on, measure_rows, recall_rows, workers_on
from .state import ComparisonState
from .tasks.on_executor import tasks_on
from .weights.models import ModelPaths

if TYPE_CHECKING:
    from ..capture.layer_range import LayerRange
    from .aligned import Aligned
    from .judging.noise.floor import Baselines
    from .laws.evaluate import Evaluate
    from .laws.report import LawReport
    from .measuring.fused import PassDevice
    from .weights.models import Models


class Comparison(ComparisonState):
    """Two captures (headers read), aligned. Rows change only by `realign`; results arrive beside
    them.

    `rtol` and `atol` are the tolerance of `mismatched` (None: by dtype), `ulp` asks for that
    metric, which costs another pass. `model_paths` are the checkpoints that the user named.
    `allow_early_end` and `min_coverage` are what the outcome asks of the whole; `layers` are those
    that are compared (None: all). Raises `CaptureError` where there is none of them.
    """

    def __init__(
        self, reference: Capture, candidate: Capture, rules: Rules | None = None,
        policy: Policy | None = None, *, rtol: float | None = None, atol: float | None = None,
        ulp: bool = False, model_paths: ModelPaths | None = None, allow_early_end: bool = False,
        min_coverage: float = 0.5, layers: LayerRange | None = None,
    ) -> None:  # fmt: skip
        rules = rules or Rules()
        policy = (policy or NoisePolicy()).with_overrides(rules.thresholds)
        if rtol is None and atol is None:
            rtol, atol = policy.tolerance
        self.layers = layers
        aligned = replace(
            self._cut(align(reference, candidate, rules)), rtol=rtol, atol=atol,
            ulp=ulp or "ulp" in policy.metrics,
        )  # fmt: skip
        super().__init__(aligned, policy, Demands(min_coverage, allow_early_end))
        self.model_paths = model_paths or ModelPaths()
        self._models: Models | None = None
        self._baselines: Baselines | None = None
        self._open_baselines()

    def set_policy(self, policy: Policy) -> None:
        """Judge everything anew; the numbers stay. Further captures that it names are read by the
        next `measure`. Raises `CaptureError` where one cannot be opened: the policy stays, too.
        """
        before = self.policy
        self.policy = policy.with_overrides(self.rules.thresholds)
        try:
            self._open_baselines()
        except CaptureError:
            self.policy = before
            raise
        self._judge()

    def _open_baselines(self) -> None:
        """Further captures that the policy names. Raises `CaptureError`."""
        from .judging.noise.floor import open_baselines

        baselines, exact = self.policy.further_captures
        if baselines or exact is not None:
            self._baselines = open_baselines(self.aligned, baselines, exact)
        else:
            self._baselines = None
            self.evidence = replace(self.evidence, floors={}, floor_notes=())

    # Checkpoints

    @property
    def models(self) -> Models:
        """The checkpoints of both captures, opened when they are first asked for. One that cannot
        be opened is said in its notes.
        """
        from .weights.models import find_models

        if self._models is None:
            given = self.model_paths.over(self.rules.models)
            self._models = find_models(self.reference, self.candidate, given, strict=False)
        return self._models

    def use_models(self, paths: ModelPaths) -> Models:
        """Take these checkpoints from now on, and for sides that they leave open those of the
        rules and what is known. Raises `CaptureError`, and then nothing has changed.
        """
        from .weights.models import find_models

        given = paths.over(self.rules.models)
        self._models = find_models(self.reference, self.candidate, given)
        self.model_paths = paths
        self.law_progress = LawProgress()
        self.evidence = replace(self.evidence, laws=None)
        self._judgement = None
        return self._models

    # Measuring

    def measure(
        self, *, executor: Executor | None = None,
        visible: Callable[[], Sequence[int]] | None = None,
        on_results: Callable[[list[int]], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
        use_cache: bool = True, threads: int | None = None, device: PassDevice | None = None,
    ) -> bool:  # fmt: skip
        """Measure what is not measured yet (`running.measuring`), gather what needs all
        measurements, and judge by it. False when `cancelled` said stop; what is done by then is
        kept.
        """
        done = measure_rows(
            self.aligned, self.results, self._judge_one, executor=executor, visible=visible,
            on_results=on_results, cancelled=cancelled, use_cache=use_cache, threads=threads,
            device=device,
        )  # fmt: skip
        if done and self.when_measured is not None:
            self.when_measured()
        with tasks_on(workers_on(executor, threads)):
            changed = self.settle(cancelled) if done else []
            if changed and on_results is not None:
                on_results(changed)
            if not done or not self.judges_by_laws:
                return done
            evaluate_all = evaluated_on(executor, threads, behind=visible is not None)
            return self.check_laws(on_results, cancelled, use_cache, evaluate_all)

    def take(self, index: int, result: Measured) -> None:
        """Store a result and judge it."""
        self.results.take(index, result)
        self._judge_one(index, result)

    def _judge_one(self, index: int, result: Measured) -> None:
        self._judgement = self._analysis = None
        if self.evidence.from_records:  # it was gathered by another result of this row
            self.evidence = replace(self.evidence, from_records=False)
        self._running.take(index, self.policy.judge(self.rows[index], result))

    def recall(self) -> None:
        """Take what earlier runs measured and what the laws said of it; no tensor is measured."""
        recall_rows(self.aligned, self.results, self._judge_one)
        if not self.complete:
            return
        if self.judges_by_laws and self.laws is None:
            report = LawCheck(self.aligned, self.results, self.models).recalled()
            if report is not None:
                self.take_laws(report)
        self.settle()

    def check_laws(
        self, on_results: Callable[[list[int]], None] | None = None,
        cancelled: Callable[[], bool] | None = None, use_cache: bool = True,
        evaluate_all: Evaluate | None = None,
    ) -> bool:  # fmt: skip
        """Hold every layer against its law, and judge anew by what that says; `evaluate_all` on all
        cores if not given. Rows get their local errors as they come. False when `cancelled` said
        stop; the verdicts are then those without.
        """
        if not self.judges_by_laws or self.laws is not None:
            return True
        report = LawCheck(
            self.aligned, self.results, self.models, self.law_progress, on_results, cancelled,
            use_cache, evaluate_all or evaluated_on(),
        ).run()  # fmt: skip
        if report is None:
            return False
        self.take_laws(report)
        changed = self.settle(cancelled)
        if on_results is not None:
            on_results(sorted({*changed, *report.rows}))
        return True

    @property
    def judges_by_laws(self) -> bool:
        """Whether the policy asks where errors come from."""
        return "laws" in self.policy.needs

    def take_laws(self, report: LawReport) -> None:
        """What the laws say, instead of what came while they were being tried."""
        self.evidence = replace(self.evidence, laws=report)
        self.law_progress.locals = {index: row.local for index, row in report.rows.items()}
        self._analysis = None

    def settle(self, cancelled: Callable[[], bool] | None = None) -> list[int]:
        """Gather what needs all measurements and judge by it; the rows whose verdict is another one
        now. Reads records.
        """
        before = self.verdicts
        judged = self._judgement
        old = self._analysis or (judged.analysis if judged is not None else None)
        leavings = [*before, *(old.parts() if old is not None else ())]
        self._analysis = old = judged = None
        self.evidence, judgement = gather_and_judge(
            self.aligned, self.results, self.policy, self.evidence, self.demands, self._baselines,
            None if self.evidence.laws is None else self.models, cancelled,
        )  # fmt: skip
        self._settle_on(judgement)
        changed = [i for i, verdict in enumerate(self.verdicts) if verdict != before[i]]
        del before
        free_slowly(leavings)
        return changed

    def find_symptoms(self, index: int) -> tuple[Symptom, ...]:
        """Work out what the difference on row `index` looks like, the best explanation first.

        Reads a bounded part of the records the first time; empty where that is not possible.
        """
        self.evidence = with_symptoms(
            self.evidence, self.aligned, self.results, self.analysis(), index
        )
        found, judged = self.evidence.symptoms[index], self._judgement
        if judged is not None and judged.first is not None and judged.first.index == index:
            self._judgement = replace(judged, first=replace(judged.first, symptoms=found))
        return found

    def find_effect(self, cancelled: Callable[[], bool] | None = None) -> Effect | None:
        """Work out what the differences come to in the logits; None where none are recorded, or as
        long as pairs are not measured. Reads the logits the first time; raises `CancelledError`.
        """
        from .judging.logits_effect import effect_of

        if self._effect is None:
            if not self.complete:
                return None
            self._effect = (effect_of(self.aligned, self.results, cancelled),)
        return self._effect[0]

    # Pairing by hand

    def taken_apart(self, index: int) -> list[HandPair]:
        """The pairs that the record of a gap had before it was taken out of them by hand."""
        return taken_apart(self.rules, self.rows[index])

    def repair(
        self, pairs: Iterable[HandPair] = (), apart: Iterable[HandPair] = (),
        restored: Iterable[HandPair] = (), recipes: Iterable[RecipeRule] = (),
        forgotten: Iterable[str] = (),
    ) -> None:  # fmt: skip
        """Align again by rules that are changed by hand (`rules.by_hand.changed`)."""
        self.realign(changed(self.rules, pairs, apart, restored, recipes, forgotten))

    def realign(self, rules: Rules) -> None:
        """Align again by other rules. Rows of the same records and recipes keep their results; the
        policy stays, for any thresholds of `rules`.
        """
        known = {_identity(row): r for row, r in zip(self.rows, self.measurements, strict=True)}
        old = self.aligned
        new = self._cut(align(old.reference, old.candidate, rules, old.content))
        new = replace(new, rtol=old.rtol, atol=old.atol, ulp=old.ulp)
        self._start(new, [known.get(_identity(row)) for row in new.rows])

    def _cut(self, aligned: Aligned) -> Aligned:
        """The layers that are asked for."""
        if self.layers is None:
            return aligned
        from .layer_range import cut_layers

        return cut_layers(aligned, self.layers)

    def with_content(self, cancelled: Callable[[], bool] | None = None) -> Comparison:
        """The comparison with what values pair of what names left over; itself where they pair
        nothing, or `cancelled` said stop. Reads records; this one stays as it is.
        """
        from .running.content_matching import match_content

        aligned = match_content(self.aligned, cancelled)
        if aligned is self.aligned:
            return self
        other = copy(self)
        other._start(self._cut(aligned))
        return other

    def globs(self, index: int, *, kind: bool = False) -> tuple[str, ...]:
        """What a recipe rule matches that is meant for a row (`rules.by_hand.globs_for`)."""
        return globs_for(self.rows, index, kind=kind)


def _identity(row: Row) -> tuple[object, ...]:
    return (
        id(row.reference), id(row.candidate), row.recipe_reference, row.recipe_candidate,
        row.problem,
    )  # fmt: skip


def open_comparison(
    reference: str, candidate: str, *, rules: Rules | None = None, policy: Policy | None = None,
    raw: str | None = None, rtol: float | None = None, atol: float | None = None,
    ulp: bool = False, models: ModelPaths | None = None, allow_early_end: bool = False,
    min_coverage: float = 0.5, layers: LayerRange | None = None,
    before_values: Callable[[Aligned], None] = lambda _: None,
) -> Comparison:  # fmt: skip
    """Open two captures and align them, by values what names leave over; without a policy they are
    judged by `noise`, or by the tolerance that is given. `before_values` hears of what names alone
    gave. Raises `CaptureError` when one cannot be opened.
    """
    ref, cand = open_sides(reference, candidate, rules, raw)
    comparison = Comparison(
        ref, cand, rules, policy or policy_named("default", None, rtol, atol), rtol=rtol, atol=atol,
        ulp=ulp, model_paths=models, allow_early_end=allow_early_end, min_coverage=min_coverage,
        layers=layers,
    )  # fmt: skip
    before_values(comparison.aligned)
    return comparison.with_content()
