"""What the pair screen looks at: a row as it was aligned, or with recipes on trial."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..compare.model import Failure, Measurement, Result, Row, Verdict

if TYPE_CHECKING:
    from ..capture.records import Record
    from ..compare.comparison import Comparison
    from ..compare.inspection.subject import Subject
    from ..compare.measuring.pair_reader import PairTask


@dataclass(frozen=True)
class Trial:
    """Recipes of both sides that are tried, and, for a gap, the record it is compared with."""

    reference: str
    candidate: str
    partner: Record | None = None


@dataclass(frozen=True)
class Scene:
    """A row of a comparison and what is tried on it; None as `trial`: as it was aligned."""

    comparison: Comparison
    index: int
    trial: Trial | None = None
    result: Result = None  # of the trial, or of the rerun
    injected: PairTask | None = None  # the rerun's output in the candidate's place

    @property
    def aligned(self) -> Row:
        """The row as it was aligned."""
        return self.comparison.rows[self.index]

    @property
    def row(self) -> Row:
        """The row with the recipes that are looked at."""
        trial = self.trial
        if trial is None:
            return self.aligned
        row = replace(
            self.aligned, recipe_reference=trial.reference, recipe_candidate=trial.candidate
        )
        if trial.partner is not None:
            side = "candidate" if row.kind == "gap_reference" else "reference"
            row = replace(
                row, kind="pair", matched_by="hand", how="tried by hand",
                **{side: trial.partner},
            )  # fmt: skip
        if row.problem_level == "shape" and row.kind == "pair":
            row = replace(row, problem=None, problem_level=None)
        return row

    @property
    def measurement(self) -> Result:
        """The numbers of what is looked at; None while they are still to come."""
        if self.trial is not None or self.injected is not None:
            return self.result
        return self.comparison.measurements[self.index]

    @property
    def verdict(self) -> Verdict:
        if self.trial is None and self.injected is None:
            return self.comparison.verdicts[self.index]
        return self.comparison.policy.judge(self.row, self.result)

    @property
    def numbers(self) -> Measurement | None:
        found = self.measurement
        return found if isinstance(found, Measurement) else None

    @property
    def only_statistics(self) -> bool:
        """Whether a record was captured as statistics, without its values."""
        return any(
            record is not None and record.locator is None and record.error is None
            for record in (self.row.reference, self.row.candidate)
        )

    @property
    def problem(self) -> str | None:
        """Why there are no numbers, if that is so."""
        found = self.measurement
        return found.reason if isinstance(found, Failure) else self.row.problem

    def subject(self) -> Subject:
        """What to read. Raises `NothingToInspectError`."""
        from ..compare.inspection.subject import Subject, subject_of_row

        if self.injected is not None:
            return Subject(self.injected.reference, self.injected.candidate)
        return subject_of_row(self.comparison, self.row)

    def task(self) -> PairTask:
        """What to measure. Raises `NothingToInspectError` for what is no pair."""
        from ..compare.inspection.subject import NothingToInspectError
        from ..compare.measuring.pair_reader import PairTask

        subject = self.subject()
        if subject.reference is None or subject.candidate is None:
            raise NothingToInspectError("only one side has this record")
        how = self.comparison.aligned
        return PairTask(subject.reference, subject.candidate, how.rtol, how.atol, how.ulp)
