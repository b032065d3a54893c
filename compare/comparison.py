"""The `Comparison`: both captures, the aligned rows, and what is known of each so far.

The terminal and the command line are two views of it. It measures pairs on an executor that it is
given, remembers results on disk, and judges them by a policy that can be replaced at any time.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from threading import Event
from typing import TYPE_CHECKING

from ..capture.errors import CaptureError
from ..capture.open import open_capture
from ..capture.records import Capture, Record
from .judging.policy import (
    DtypePolicy,
    NoisePolicy,
    Policy,
    metrics_needed,
    policy_named,
    with_overrides,
)
from .matching.align import align
from .model import (
    Cause,
    Counts,
    Effect,
    ExecutionOrder,
    Failure,
    FirstDivergence,
    Local,
    Measurement,
    Row,
    Symptom,
    Verdict,
)
from .rules.rules import HandPair, RecipeRule, Rules, glob_of, globs_of_kind
from .vocabulary import Level, Origin
from .weights.models import ModelPaths

if TYPE_CHECKING:
    from .judging.dropout import ByStatistics
    from .judging.expert_routing import Routing
    from .judging.layouts import Layout
    from .judging.noise_floor import Baselines, Floor
    from .judging.noise_policy import Analysis
    from .judging.outcome import Outcome
    from .judging.sameness import Sameness
    from .laws.report import LawReport, LawRow
    from .measuring.pair_reader import PairTask
    from .weights.models import Models

Result = Measurement | Failure | None


def default_threads() -> int:
    """Worker threads where the user does not say: two, to read one pair while another is
    measured.

    More are no faster: numpy's steps over a block take microseconds, and handing the interpreter's
    lock over between them takes as long. `processes.process_pool` does scale.
    """
    return min(2, os.cpu_count() or 1)


@dataclass(slots=True)
class Comparison:
    """Two captures (headers read), aligned. `rows` never change; results arrive beside them.

    `rtol` and `atol` are the tolerance of `mismatched` (None: by dtype), `ulp` asks for that
    metric, which costs another pass. `model_paths` are the checkpoints that the user named.
    `allow_early_end`: the candidate may end before the reference.
    """

    reference: Capture
    candidate: Capture
    rules: Rules = field(default_factory=Rules)
    policy: Policy = field(default_factory=NoisePolicy)
    rtol: float | None = None
    atol: float | None = None
    ulp: bool = False
    model_paths: ModelPaths = field(default_factory=ModelPaths)
    allow_early_end: bool = False
    rows: list[Row] = field(init=False)
    measurements: list[Result] = field(init=False)
    verdicts: list[Verdict] = field(init=False)
    failing: list[int] = field(init=False)
    order: ExecutionOrder = field(init=False)
    ignored_reference: list[Record] = field(init=False)
    ignored_candidate: list[Record] = field(init=False)
    routings: dict[int, Routing] = field(init=False, default_factory=dict)
    floors: dict[int, Floor] = field(init=False, default_factory=dict)
    layouts: dict[int, Layout] = field(init=False, default_factory=dict)
    _models: Models | None = field(init=False, default=None, repr=False)
    laws: LawReport | None = field(init=False, default=None, repr=False)
    locals: dict[int, Local] = field(init=False, default_factory=dict, repr=False)
    laws_progress: tuple[int, int] = field(init=False, default=(0, 0))
    by_statistics: ByStatistics | None = field(init=False, default=None, repr=False)
    same: Sameness | None = field(init=False, default=None)
    _baselines: Baselines | None = field(init=False, default=None, repr=False)
    _analysis: Analysis | None = field(init=False, default=None, repr=False)
    _symptoms: dict[int, tuple[Symptom, ...]] = field(init=False, default_factory=dict)
    _output_causes: dict[int, tuple[Cause, ...]] = field(init=False, default_factory=dict)
    _effect: tuple[Effect | None] | None = field(init=False, default=None, repr=False)

    def __post_init__(self) -> None:
        self.policy = with_overrides(self.policy, self.rules.thresholds)
        if isinstance(self.policy, DtypePolicy) and self.rtol is None and self.atol is None:
            self.rtol, self.atol = self.policy.rtol, self.policy.atol
        self.ulp = self.ulp or "ulp" in metrics_needed(self.policy)
        self._align()
        self._open_baselines()

    def _align(self) -> None:
        alignment = align(self.reference, self.candidate, self.rules)
        self.rows, self.order = alignment.rows, alignment.order
        self.ignored_reference = alignment.ignored_reference
        self.ignored_candidate = alignment.ignored_candidate
        self._note_limits()
        self.measurements = [None] * len(self.rows)
        self.routings, self.floors, self.layouts, self._symptoms = {}, {}, {}, {}
        self._output_causes = {}
        self.by_statistics = None
        self.same = None
        self._forget_laws()
        self._effect = None
        self._analysis = None
        self._judge_all()

    def _note_limits(self) -> None:
        """Say which layers a thresholds file does not know."""
        from .rules.learned_limits import coverage_notes

        if self.rules.thresholds:
            notes = coverage_notes(self.rules.thresholds, self.rows)
            self.reference.notes.extend(n for n in notes if n not in self.reference.notes)

    def _judge_all(self) -> None:
        from .judging.noise_floor import with_floor

        if isinstance(self.policy, NoisePolicy) and self.complete:
            verdicts = self.analysis().verdicts()
            for index, floor in self.floors.items():
                verdicts[index] = with_floor(verdicts[index], floor)
            if self.by_statistics is not None:
                laws = self.laws.rows if self.laws is not None else {}
                verdicts = self.by_statistics.verdicts(
                    self.rows, self.measurements, verdicts, laws, self.rules.thresholds
                )
        else:
            verdicts = [
                self.policy.judge(row, result)
                for row, result in zip(self.rows, self.measurements, strict=True)
            ]
        self.verdicts = verdicts
        self.failing = [i for i, verdict in enumerate(self.verdicts) if verdict.fails]

    def set_policy(self, policy: Policy) -> None:
        """Judge everything anew; the numbers stay. Further captures that it names are read by the
        next `measure`. Raises `CaptureError` where one cannot be opened: the policy stays, too.
        """
        before = self.policy
        self.policy = with_overrides(policy, self.rules.thresholds)
        try:
            self._open_baselines()
        except CaptureError:
            self.policy = before
            raise
        self._judge_all()

    def _open_baselines(self) -> None:
        """Further captures that the policy names. Raises `CaptureError`."""
        from .judging.noise_floor import open_baselines

        policy = self.policy
        if isinstance(policy, NoisePolicy) and (policy.baselines or policy.exact):
            self._baselines = open_baselines(self, policy.baselines, policy.exact)
        else:
            self._baselines, self.floors = None, {}

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
        self._forget_laws()
        return self._models

    # Progress

    def measurable(self, index: int) -> bool:
        """True for a pair whose values can be compared."""
        row = self.rows[index]
        return row.kind == "pair" and row.problem_level is None

    @property
    def to_measure(self) -> int:
        """Pairs whose values can be compared."""
        return sum(1 for i in range(len(self.rows)) if self.measurable(i))

    @property
    def measured(self) -> int:
        """Pairs measured so far, failures included."""
        return sum(1 for result in self.measurements if result is not None)

    @property
    def complete(self) -> bool:
        """True when there is nothing left to measure."""
        return not any(
            result is None and self.measurable(i) for i, result in enumerate(self.measurements)
        )

    def measure(
        self, *, executor: Executor | None = None,
        visible: Callable[[], Sequence[int]] | None = None,
        on_results: Callable[[list[int]], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
        use_cache: bool = True, threads: int | None = None,
    ) -> bool:  # fmt: skip
        """Measure what is not measured yet: what `visible` names first, then in order.

        Blocks; `on_results` is called from this thread, at most ten times a second, with the rows
        that got results. False when `cancelled` said stop; what is done by then is kept.
        """
        from .running.scheduler import Scheduler

        own = executor is None
        stop = Event()
        pool = executor or ThreadPoolExecutor(threads or default_threads(), "layertui-measure")
        try:
            run = Scheduler(self, pool, visible, on_results, cancelled, use_cache, stop, own)
            done = run.run(threads or default_threads())
        finally:
            stop.set()
            if own:
                pool.shutdown(wait=True, cancel_futures=True)
        changed = self.settle(cancelled) if done else []
        if changed and on_results is not None:
            on_results(changed)
        return done and self.check_laws(on_results, cancelled, use_cache)

    def check_laws(
        self, on_results: Callable[[list[int]], None] | None = None,
        cancelled: Callable[[], bool] | None = None, use_cache: bool = True,
    ) -> bool:  # fmt: skip
        """Hold every layer against its law, and judge anew by what that says. Rows get their local
        errors as they come. False when `cancelled` said stop; the verdicts are then those without.
        """
        from .running.law_checks import LawCheck

        if not self.judges_by_laws or self.laws is not None:
            return True
        report = LawCheck(self, on_results, cancelled, use_cache).run()
        if report is None:
            return False
        self.take_laws(report)
        changed = self.settle(cancelled)
        if on_results is not None:
            on_results(sorted({*changed, *report.rows}))
        return True

    def _forget_laws(self) -> None:
        self.laws, self.locals, self.laws_progress = None, {}, (0, 0)

    @property
    def judges_by_laws(self) -> bool:
        """Whether the policy asks where errors come from."""
        return isinstance(self.policy, NoisePolicy)

    def take_laws(self, report: LawReport) -> None:
        """What the laws say, instead of what came while they were being tried."""
        self.laws = report
        self.locals = {index: row.local for index, row in report.rows.items()}
        self._analysis = None

    def recall(self) -> None:
        """Take what earlier runs measured and what the laws said of it; nothing is read."""
        from .running.law_checks import LawCheck
        from .running.scheduler import Scheduler

        with ThreadPoolExecutor(1) as pool:
            Scheduler(self, pool, None, None, None, True, Event(), True).recall()
        if not self.complete:
            return
        if self.judges_by_laws and self.laws is None:
            report = LawCheck(self).recalled()
            if report is not None:
                self.take_laws(report)
        self.settle()

    def settle(self, cancelled: Callable[[], bool] | None = None) -> list[int]:
        """Judge by what needs all measurements; the rows whose verdict is another one now."""
        from .judging.dropout import judging_of
        from .judging.expert_routing import find_routings
        from .judging.layouts import explained_layouts

        self.routings = find_routings(self)
        self.by_statistics = judging_of(self)
        if self._baselines is not None:
            self.floors = self._baselines.floors(self, cancelled)
            self.reference.notes.extend(
                note for note in self._baselines.notes if note not in self.reference.notes
            )
        before, self._analysis, self.layouts = self.verdicts, None, {}
        self._judge_all()
        if isinstance(self.policy, NoisePolicy) and self.complete:
            self.layouts = explained_layouts(self)
            if self.layouts:
                self._analysis = None
                self._judge_all()
        self._note_arithmetic()
        for side, note in self.by_statistics.notes if self.by_statistics is not None else ():
            notes = (self.reference if side == "reference" else self.candidate).notes
            notes.extend([] if note in notes else [note])
        self._note_sameness()
        self.candidate.notes.extend(
            note for note in self.arithmetic_notes() if note not in self.candidate.notes
        )
        first = self.first_divergence()
        if first is not None:
            self.symptoms(first.index)
            self._try_output(first)
        return [i for i, verdict in enumerate(self.verdicts) if verdict != before[i]]

    def _note_arithmetic(self) -> None:
        """Say when the values of a side, or its products, are coarser than its records."""
        if not isinstance(self.policy, NoisePolicy) or not self.complete:
            return
        analysis = self.analysis()
        arithmetic = None if analysis.arithmetic is None else analysis.arithmetic.words
        for side, words in (
            (self.reference, analysis.grids.words("reference")),
            (self.candidate, analysis.grids.words("candidate")), (self.candidate, arithmetic),
        ):  # fmt: skip
            if words is not None and words not in side.notes:
                side.notes.append(words)

    def _note_sameness(self) -> None:
        """Say before all else that the candidate is the reference."""
        from .judging.sameness import equal_bits, same_files

        self.same = same_files(self.reference, self.candidate)
        if self.same is None and self.complete:
            self.same = equal_bits(self)
        if self.same is not None and self.same.words not in self.candidate.notes:
            self.candidate.notes.insert(0, self.same.words)

    def analysis(self) -> Analysis:
        """Where errors come from, by what is measured so far; kept until a result comes."""
        from .judging.noise_policy import Analysis
        from .judging.policy import before_policy

        if self._analysis is None:
            overrides = self.rules.thresholds
            settled = [
                before_policy(row, result, overrides)
                for row, result in zip(self.rows, self.measurements, strict=True)
            ]
            laws = self.laws.rows if self.laws is not None else {}
            self._analysis = Analysis(
                self.rows, self.measurements, self.routings, settled, laws, self.layouts
            )
        return self._analysis

    @property
    def analysed(self) -> bool:
        """True when everything is measured and `analysis` is there at once."""
        return self._analysis is not None and self.complete

    def task(self, index: int) -> PairTask:
        """What an executor needs to measure the pair on row `index`."""
        from .running.scheduler import pair_task

        return pair_task(self, index)

    def take(self, index: int, result: Measurement | Failure) -> None:
        """Store a result and judge it."""
        self.measurements[index] = result
        self._analysis = None
        verdict = self.verdicts[index] = self.policy.judge(self.rows[index], result)
        at = bisect_left(self.failing, index)
        known = at < len(self.failing) and self.failing[at] == index
        if verdict.fails and not known:
            self.failing.insert(at, index)
        elif known and not verdict.fails:
            del self.failing[at]

    # Findings

    def origin(self, index: int) -> Origin | None:
        """Whether a pair's error was made there, came with its inputs, or is rounding; None for
        gaps and what is not measured.
        """
        return self.analysis().origin(index)

    @property
    def first_index(self) -> int | None:
        """The row of the first divergence so far; cheap, unlike the whole finding."""
        if not self.failing:
            return None
        if isinstance(self.policy, NoisePolicy):
            made = (i for i in self.failing if self.verdicts[i].origin != "inherited")
            return next(made, self.failing[0])
        return self.failing[0]

    def first_divergence(self) -> FirstDivergence | None:
        """The first failing pair among those measured so far: of those that the policy judges by
        their origin, the first that was made.
        """
        index = self.first_index
        return None if index is None else self.finding(index)

    def findings(self) -> tuple[FirstDivergence, ...]:
        """Every divergence that was made where it shows, in execution order. One cause in several
        layers is one finding, at the first of them.
        """
        found: list[FirstDivergence] = []
        said: set[tuple[str, str]] = set()
        for index in self.failing:
            if self.verdicts[index].origin == "inherited":
                continue
            law = self.law_row(index)
            if law is not None and law.causes:
                place = law.kind, law.causes[0].name
                if law.causes[0].layers > 1 and place in said:
                    continue
                said.add(place)
            finding = self.finding(index)
            if not any(_is_repeated(finding, other) for other in found):
                found.append(finding)
        return tuple(found)

    def finding(self, index: int) -> FirstDivergence:
        """A failing row as a finding: the module to look into, and why."""
        row, verdict = self.rows[index], self.verdicts[index]
        analysis = self.analysis()
        module, reason = row.canonical, verdict.reason
        if analysis.origin(index) == "made":
            module = analysis.to_blame(index)
        if module != row.canonical:
            reason = f"introduced inside {module}, whose records before this input agree: {reason}"
        law = self._law_of_finding(index, module)
        return FirstDivergence(
            index,
            module,
            row.reference.name if row.reference else "",
            row.candidate.name if row.candidate else "",
            row.slot,
            verdict.level,
            reason,
            analysis.confidence(index),
            self.known_symptoms(index),
            self._output_causes.get(index) if law is None else law.causes,
            "" if law is None else law.model_difference,
        )

    def _try_output(self, first: FirstDivergence) -> None:
        """Look for causes that need no law, where none applies: in the output alone."""
        from .laws.same_inputs import causes_of_output
        from .running.law_checks import scene_of

        row = self.rows[first.index]
        plain = first.module == row.canonical and row.slot == "output"
        if self.laws is None or self.law_row(first.index) is not None or not plain:
            return
        if first.index not in self._output_causes:
            from .laws.numerics.quantities import Key

            key = Key(row.canonical, row.slot, row.step, row.call)
            expected = self.analysis().expected(first.index)
            found = causes_of_output(scene_of(self), key, expected)
            if found:
                self._output_causes[first.index] = found

    def _law_of_finding(self, index: int, module: str) -> LawRow | None:
        """The law of a row; where it names no cause that of the module to look into, which may have
        been held against another of its records (what it made of a wrong value).
        """
        own = self.law_row(index)
        if (own is not None and own.causes) or self.laws is None:
            return own
        step = self.rows[index].step
        for law in self.laws.broken:
            if law.module == module and law.causes and self.rows[law.row].step == step:
                return law
        return own

    def law_row(self, index: int) -> LawRow | None:
        """A row against its law; None where none applies, or before the laws were tried."""
        return self.laws.rows.get(index) if self.laws is not None else None

    def causes(self, index: int) -> tuple[Cause, ...] | None:
        """What explains the local error of a row, the best first; None where nothing was tried."""
        row = self.law_row(index)
        return row.causes if row is not None else None

    def derived(self, index: int) -> tuple[str, ...]:
        """The inputs that a row's law was held against though they were not recorded."""
        row = self.law_row(index)
        return row.derived if row is not None else ()

    def arithmetic_notes(self) -> tuple[str, ...]:
        """Which side computed more coarsely than it recorded, in sentences."""
        return self.laws.notes if self.laws is not None else ()

    def known_symptoms(self, index: int) -> tuple[Symptom, ...]:
        """Symptoms that were worked out before: nothing is read."""
        return self._symptoms.get(index, ())

    def has_symptoms(self, index: int) -> bool:
        """Whether they were worked out, even where that found nothing."""
        return index in self._symptoms

    def symptoms(self, index: int) -> tuple[Symptom, ...]:
        """What the difference on row `index` looks like, the best explanation first.

        Reads a bounded part of the records the first time; empty where that is not possible.
        """
        from .measuring.bounded_sample import UNREADABLE
        from .symptoms.diagnosis import symptoms_of

        if index not in self._symptoms:
            try:
                self._symptoms[index] = symptoms_of(self, index)
            except UNREADABLE:
                self._symptoms[index] = ()
        return self._symptoms[index]

    @property
    def known_effect(self) -> Effect | None:
        """The effect where `effect` worked it out before: nothing is read."""
        return self._effect[0] if self._effect is not None else None

    def effect(self, cancelled: Callable[[], bool] | None = None) -> Effect | None:
        """What the differences come to in the logits; None where none are recorded, or as long as
        pairs are not measured. Reads the logits the first time; raises `CancelledError`.
        """
        from .judging.logits_effect import effect_of

        if self._effect is None:
            if not self.complete:
                return None
            self._effect = (effect_of(self, cancelled),)
        return self._effect[0]

    def verdict_of(self, row: Row, result: Result) -> Verdict:
        """The verdict of a row that may have other recipes than the comparison's; such a one is
        judged by itself.
        """
        own = row == self.rows[row.index] and result == self.measurements[row.index]
        return self.verdicts[row.index] if own else self.policy.judge(row, result)

    def first_is_final(self) -> bool:
        """True when no row before the first divergence still waits for its measurement."""
        end = self.failing[0] if self.failing else len(self.rows)
        return not any(self.verdicts[i].level == "pending" for i in range(end))

    def level_counts(self) -> dict[Level, int]:
        """Rows by level."""
        counts: dict[Level, int] = {}
        for verdict in self.verdicts:
            counts[verdict.level] = counts.get(verdict.level, 0) + 1
        return counts

    @property
    def counts(self) -> Counts:
        """Rows and records as they stand; a record that failed to load counts as unreadable."""
        from .coverage import count

        return count(self)

    def outcome(self, min_coverage: float = 0.5) -> Outcome:
        """What the comparison comes to: the exit status and its reasons."""
        from .judging.outcome import outcome_of

        return outcome_of(self, min_coverage)

    def exit_status(self, min_coverage: float = 0.5) -> int:
        """0 or 1 (see `outcome`); pairs not measured yet count as failing."""
        return self.outcome(min_coverage).status

    # Pairing by hand

    def taken_apart(self, index: int) -> list[HandPair]:
        """The pairs that the record of a gap had before it was taken out of them by hand."""
        row = self.rows[index]
        record = row.reference or row.candidate
        if row.kind == "pair" or record is None:
            return []
        side = "reference" if row.reference is not None else "candidate"
        return [pair for pair in self.rules.unpaired if getattr(pair, side) == record.name]

    def repair(
        self, pairs: Iterable[HandPair] = (), apart: Iterable[HandPair] = (),
        restored: Iterable[HandPair] = (), recipes: Iterable[RecipeRule] = (),
        forgotten: Iterable[str] = (),
    ) -> None:  # fmt: skip
        """Align again with records paired by hand, taken apart, or as they were before that
        (`restored`); with recipes, and without those whose `match` is `forgotten`.
        """
        back, lost = set(restored), set(forgotten)
        rules = replace(
            self.rules,
            unpaired=tuple(pair for pair in self.rules.unpaired if pair not in back),
            recipes=tuple(rule for rule in self.rules.recipes if rule.match not in lost),
        )
        self.realign(rules.with_changes(recipes, pairs, apart))

    def realign(self, rules: Rules) -> None:
        """Align again by other rules. Rows of the same records and recipes keep their results; the
        policy stays, whatever the thresholds of `rules`.
        """
        self.rules = rules
        known = {_identity(row): r for row, r in zip(self.rows, self.measurements, strict=True)}
        self._align()
        self.measurements = [known.get(_identity(row)) for row in self.rows]
        self._analysis = None
        self._judge_all()

    def globs(self, index: int, *, kind: bool = False) -> tuple[str, ...]:
        """What a recipe rule matches that is meant for the pair on row `index` alone or, with
        `kind`, for this slot of the same module in any layer.
        """
        row = self.rows[index]
        if not kind:
            return (glob_of(row.canonical, row.slot),)
        labels = {f"{each.canonical}-{each.slot}" for each in self.rows}
        return globs_of_kind(row.canonical, row.slot, labels)


def _identity(row: Row) -> tuple[object, ...]:
    return (
        id(row.reference), id(row.candidate), row.recipe_reference, row.recipe_candidate,
        row.problem,
    )  # fmt: skip


def open_comparison(
    reference: str, candidate: str, *, rules: Rules | None = None, policy: Policy | None = None,
    raw: str | None = None, rtol: float | None = None, atol: float | None = None,
    ulp: bool = False, models: ModelPaths | None = None, allow_early_end: bool = False,
) -> Comparison:  # fmt: skip
    """Open two captures and align them; without a policy they are judged by `noise`, or by the
    tolerance that is given. Raises `CaptureError` when one cannot be opened.
    """
    ref, cand = open_capture(reference, raw=raw), open_capture(candidate, raw=raw)
    ref, cand = pick_sides(ref, cand)
    return Comparison(
        ref,
        cand,
        rules or Rules(),
        policy or policy_named("default", None, rtol, atol),
        rtol=rtol,
        atol=atol,
        ulp=ulp,
        model_paths=models or ModelPaths(),
        allow_early_end=allow_early_end,
    )


def pick_sides(reference: Capture, candidate: Capture) -> tuple[Capture, Capture]:
    """A directory may hold both sides' text dumps: the reference is `py_`, the candidate `cpp_`."""
    return _side(reference, "py"), _side(candidate, "cpp")


def _side(capture: Capture, side: str) -> Capture:
    sides = {record.side for record in capture.records if record.side is not None}
    if len(sides) < 2:
        return capture
    kept = [record for record in capture.records if record.side in (side, None)]
    return replace(capture, records=kept)


def _is_repeated(one: FirstDivergence, other: FirstDivergence) -> bool:
    """Whether two findings say the same of the same module, about two of its records."""
    return one.module == other.module and bool(one.causes) and one.causes == other.causes
