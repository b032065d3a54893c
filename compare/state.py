"""What is known of two captures at a time: their rows, results, evidence and judgement."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..capture.records import Capture
from .aligned import Aligned, Note, Results, SideName
from .coverage import count
from .judging.evidence.further import FurtherEvidence
from .judging.findings import findings_of, first_index
from .judging.judgement import Judgement, RunningVerdicts, analysis_of, judgement_of
from .judging.outcome import Demands, Outcome, early_end, outcome_of
from .judging.policies.base import Policy
from .model import (
    Cause,
    Counts,
    Effect,
    ExecutionOrder,
    FirstDivergence,
    Layout,
    Local,
    Result,
    Row,
    Symptom,
    Verdict,
)
from .notes.row_notes import RowNotes
from .running.law_checks import LawProgress
from .vocabulary import Level, Origin

if TYPE_CHECKING:
    from .judging.noise.analysis import Analysis
    from .judging.noise.expert_routing import Routing
    from .judging.noise.floor import Floor
    from .judging.sameness import Sameness
    from .laws.report import LawReport, LawRow
    from .matching.content.offers import Offer
    from .measuring.pair_reader import PairTask
    from .rules.rules import Rules


class ComparisonState:
    """The current stage of every step of a comparison. Nothing here reads a record."""

    def __init__(self, aligned: Aligned, policy: Policy, demands: Demands) -> None:
        self.policy = policy
        self.demands = demands
        self.check_notes: tuple[Note, ...] = ()  # whether the captures are fit to be compared
        self.remarks: tuple[Note, ...] = ()
        self.row_notes = RowNotes()  # what people wrote on rows
        self.when_measured: Callable[[], None] | None = None  # told before it is judged
        self._start(aligned)

    def _start(self, aligned: Aligned, known: Sequence[Result] | None = None) -> None:
        """Begin with newly aligned rows, of which some may be measured."""
        self.aligned = aligned
        self.results = Results(aligned, known)
        self.evidence = FurtherEvidence(early_end=early_end(aligned))
        self.law_progress = LawProgress()
        self._effect: tuple[Effect | None] | None = None
        self._analysis: Analysis | None = None
        self._judge()

    def _judge(self) -> None:
        """Judge by what is known; nothing is read."""
        if self.results.complete:
            self._settle_on(
                self.policy.judge_all(
                    self.aligned, self.results, self.evidence, self.demands, self._analysis
                )
            )
            return
        self._judgement = None
        self._running = RunningVerdicts(
            self.policy.judge(row, result)
            for row, result in zip(self.rows, self.measurements, strict=True)
        )

    def _settle_on(self, judgement: Judgement) -> None:
        self._judgement: Judgement | None = judgement
        self._analysis = judgement.analysis or self._analysis
        self._running = RunningVerdicts(judgement.verdicts)

    def parts(self) -> list[object]:
        """What it consists of, some objects for each row and record (see `free_slowly`)."""
        judged = self._judgement
        analysis = self._analysis or (judged.analysis if judged is not None else None)
        return [
            *self.rows, *self.measurements, *self.verdicts, *self.law_progress.locals.values(),
            *self.reference.records, *self.candidate.records, *self.evidence.law_rows.values(),
            *(analysis.parts() if analysis is not None else ()),
        ]  # fmt: skip

    # The aligned rows, and what is known of them

    @property
    def reference(self) -> Capture:
        return self.aligned.reference

    @property
    def candidate(self) -> Capture:
        return self.aligned.candidate

    @property
    def rules(self) -> Rules:
        return self.aligned.rules

    @property
    def rows(self) -> tuple[Row, ...]:
        return self.aligned.rows

    @property
    def order(self) -> ExecutionOrder:
        return self.aligned.order

    @property
    def measurements(self) -> list[Result]:
        return self.results.measurements

    @property
    def complete(self) -> bool:
        """True when there is nothing left to measure."""
        return self.results.complete

    @property
    def measured(self) -> int:
        """Pairs measured so far, failures included."""
        return self.results.measured

    @property
    def to_measure(self) -> int:
        """Pairs whose values can be compared."""
        return self.results.to_measure

    def measurable(self, index: int) -> bool:
        """True for a pair whose values can be compared."""
        return self.aligned.measurable(index)

    def task(self, index: int) -> PairTask:
        """What an executor needs to measure the pair on row `index`."""
        return self.aligned.task(index)

    def notes(self, side: SideName) -> list[str]:
        """What is to be said of a side: whether its capture is fit to be compared, what the capture
        says itself, what aligning, judging and whoever else found out.
        """
        same = self.evidence.same
        first = [*self.check_notes]
        if same is not None and side == "candidate":
            first.append(Note(side, same.words))
        judged = self._judgement.notes if self._judgement is not None else ()
        rest = (*self.aligned.notes, *judged, *self.remarks)
        capture: Capture = getattr(self, side)
        own = [note.text for note in rest if note.side == side]
        return list(
            dict.fromkeys([n.text for n in first if n.side == side] + [*capture.notes, *own])
        )

    def offer(self, index: int) -> Offer | None:
        """A pair that values offer for the records of a row, which names paired otherwise."""
        from .matching.content.offers import offer_for

        return offer_for(self.aligned, self.rows[index]) if self.aligned.content.offers else None

    # The judgement

    @property
    def judgement(self) -> Judgement:
        """The judgement as it stands: while pairs are not measured, each row by itself."""
        if self._judgement is None:
            found = judgement_of(
                self.aligned, self.results, self.evidence, self.demands, self.verdicts,
                self._analysis,
            )  # fmt: skip
            self._judgement, self._analysis = found, found.analysis or self._analysis
        return self._judgement

    @property
    def verdicts(self) -> list[Verdict]:
        return self._running.verdicts

    @property
    def failing(self) -> list[int]:
        """Rows whose verdict fails, in execution order."""
        return self._running.failing

    @property
    def first_index(self) -> int | None:
        """The row of the first divergence so far; cheap, unlike the whole finding."""
        return first_index(self.failing, self.verdicts)

    def first_divergence(self) -> FirstDivergence | None:
        """The first failing pair among those measured so far: of those that the policy judges by
        their origin, the first that was made.
        """
        return self.judgement.first

    def findings(self) -> tuple[FirstDivergence, ...]:
        """Every divergence that was made where it shows (`judging.findings`)."""
        if not self.failing:
            return ()
        return findings_of(self.aligned, self.verdicts, self.analysis(), self.evidence)

    def analysis(self) -> Analysis:
        """Where errors come from, by what is measured so far; kept until a result comes."""
        if self._analysis is None:
            self._analysis = analysis_of(self.aligned, self.results, self.evidence)
        return self._analysis

    @property
    def analysed(self) -> bool:
        """True when everything is measured and `analysis` is there at once."""
        return self._analysis is not None and self.complete

    def origin(self, index: int) -> Origin | None:
        """Whether a pair's error was made there, came with its inputs, or is rounding; None for
        gaps and what is not measured.
        """
        return self.analysis().origin(index)

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
        return dict(self._running.levels)

    @property
    def counts(self) -> Counts:
        """Rows and records as they stand; a record that failed to load counts as unreadable."""
        return count(self.aligned, self.results, self.verdicts)

    def outcome(self, min_coverage: float | None = None) -> Outcome:
        """What the comparison comes to: the exit status and its reasons. It is the judgement's,
        but where another coverage is asked for.
        """
        if min_coverage is None or min_coverage == self.demands.min_coverage:
            return self.judgement.outcome
        demands = replace(self.demands, min_coverage=min_coverage)
        return outcome_of(self.aligned, self.results, self.verdicts, self.evidence, demands)

    def exit_status(self, min_coverage: float | None = None) -> int:
        """0 or 1 (see `outcome`); pairs not measured yet count as failing."""
        return self.outcome(min_coverage).status

    # Further evidence

    @property
    def laws(self) -> LawReport | None:
        return self.evidence.laws

    @property
    def locals(self) -> dict[int, Local]:
        """The local errors of rows that have a law, as far as they were tried."""
        return self.law_progress.locals

    @property
    def laws_progress(self) -> tuple[int, int]:
        return self.law_progress.done, self.law_progress.total

    @property
    def floors(self) -> Mapping[int, Floor]:
        return self.evidence.floors

    @property
    def routings(self) -> Mapping[int, Routing]:
        return self.evidence.routings

    @property
    def layouts(self) -> Mapping[int, Layout]:
        return self.evidence.layouts

    @property
    def same(self) -> Sameness | None:
        return self.evidence.same

    def law_row(self, index: int) -> LawRow | None:
        """A row against its law; None where none applies, or before the laws were tried."""
        return self.evidence.law_rows.get(index)

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
        """Symptoms that were worked out before."""
        return self.evidence.symptoms.get(index, ())

    def has_symptoms(self, index: int) -> bool:
        """Whether they were worked out, even where that found nothing."""
        return index in self.evidence.symptoms

    @property
    def known_effect(self) -> Effect | None:
        """The effect where `find_effect` worked it out before."""
        return self._effect[0] if self._effect is not None else None
