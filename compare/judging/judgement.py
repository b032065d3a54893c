"""What a policy makes of aligned rows, their results and the further evidence."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..aligned import Aligned, Note, Results
from ..model import FirstDivergence, Verdict
from ..vocabulary import Level
from .evidence.further import FurtherEvidence
from .findings import finding_of, first_index
from .outcome import Demands, Outcome, outcome_of

if TYPE_CHECKING:
    from .noise.analysis import Analysis


@dataclass(frozen=True, slots=True)
class Judgement:
    """Verdicts by row, the rows that fail, the first divergence as a finding, notes about either
    side, and what all of it comes to. `analysis`: where errors come from, where that was asked for.
    """

    verdicts: tuple[Verdict, ...]
    failing: tuple[int, ...]
    first: FirstDivergence | None
    notes: tuple[Note, ...]
    outcome: Outcome
    analysis: Analysis | None = field(default=None, compare=False, repr=False)


def judgement_of(
    aligned: Aligned, results: Results, evidence: FurtherEvidence, demands: Demands,
    verdicts: Sequence[Verdict], analysis: Analysis | None = None, notes: Iterable[Note] = (),
) -> Judgement:  # fmt: skip
    """The judgement that verdicts make. Where one fails, `analysis` is needed for the finding, and
    made unless it is given; `notes` are the policy's own.
    """
    failing = tuple(index for index, verdict in enumerate(verdicts) if verdict.fails)
    first = None
    if failing:
        analysis = analysis or analysis_of(aligned, results, evidence)
        found = first_index(failing, verdicts)
        assert found is not None
        first = finding_of(aligned, verdicts, analysis, evidence, found)
    return Judgement(
        tuple(verdicts), failing, first, tuple(_notes(evidence, notes)),
        outcome_of(aligned, results, verdicts, evidence, demands), analysis,
    )  # fmt: skip


def analysis_of(aligned: Aligned, results: Results, evidence: FurtherEvidence) -> Analysis:
    """Where errors come from, by what is measured so far. Reads nothing."""
    from .errors import Errors
    from .noise.analysis import Analysis
    from .noise.origins import Origins
    from .row_verdicts import before_policy

    overrides = aligned.rules.thresholds
    settled = [
        before_policy(row, result, overrides)
        for row, result in zip(aligned.rows, results.measurements, strict=True)
    ]
    errors = Errors(
        aligned.rows, results.measurements, evidence.routings, evidence.layouts, evidence.quantised
    )
    return Analysis(Origins(errors, evidence.law_rows), settled)


def _notes(evidence: FurtherEvidence, own: Iterable[Note]) -> Iterator[Note]:
    """Notes in the order in which reports have them, of either side."""
    yield from (Note("reference", text) for text in evidence.floor_notes)
    yield from own
    if evidence.dropout is not None:
        yield from (Note(side, text) for side, text in evidence.dropout.notes)
    if evidence.laws is not None:
        yield from (Note("candidate", text) for text in evidence.laws.notes)


class RunningVerdicts:
    """Verdicts while results still come: each row by itself, at once."""

    def __init__(self, verdicts: Iterable[Verdict]) -> None:
        self.verdicts = list(verdicts)
        self.failing = [i for i, verdict in enumerate(self.verdicts) if verdict.fails]
        self.levels: dict[Level, int] = {}  # how many rows have each, none with 0
        for verdict in self.verdicts:
            self.levels[verdict.level] = self.levels.get(verdict.level, 0) + 1

    def take(self, index: int, verdict: Verdict) -> None:
        """Another verdict of a row."""
        before = self.verdicts[index].level
        self.levels[before] -= 1
        if not self.levels[before]:
            del self.levels[before]
        self.levels[verdict.level] = self.levels.get(verdict.level, 0) + 1
        self.verdicts[index] = verdict
        at = bisect_left(self.failing, index)
        known = at < len(self.failing) and self.failing[at] == index
        if verdict.fails and not known:
            self.failing.insert(at, index)
        elif known and not verdict.fails:
            del self.failing[at]
