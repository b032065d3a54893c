"""What every policy is, and what all of them judge alike."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from ...aligned import Aligned, Results
from ...limits import limits_for
from ...model import Measurement, Result, Row, Verdict
from ...rules.rules import ThresholdRule
from ..dtype_verdicts import shown_dtype
from ..evidence.further import FurtherEvidence
from ..evidence.totals import apart
from ..judgement import Judgement, judgement_of
from ..outcome import Demands
from ..row_verdicts import before_policy

if TYPE_CHECKING:
    from ..noise.analysis import Analysis

Limited = TypeVar("Limited", bound="LimitedPolicy")


class PolicyError(Exception):
    """A policy or threshold that does not exist; one line for the user."""


class Policy(Protocol):
    """What a comparison asks of a policy.

    `needs` names the further evidence that its verdicts rest on: `laws` (every layer against its
    law), `layouts` (values in another order) and `others` (a row is judged by the other rows).
    `metrics` are those that its thresholds name; some are measured only on demand. `tolerance` is
    rtol and atol of mismatched elements (None: by dtype), `further_captures` are paths of
    baselines and of an exact capture.
    """

    @property
    def name(self) -> str: ...

    @property
    def needs(self) -> frozenset[str]: ...

    @property
    def metrics(self) -> frozenset[str]: ...

    @property
    def tolerance(self) -> tuple[float | None, float | None]: ...

    @property
    def further_captures(self) -> tuple[tuple[str, ...], str | None]: ...

    def describe(self) -> str:
        """One line for headings: the name and what decides."""
        ...

    def with_overrides(self, overrides: tuple[ThresholdRule, ...]) -> Policy:
        """The same policy with the thresholds of a rules file, which replace those it had."""
        ...

    def judge(self, row: Row, result: Result) -> Verdict:
        """The verdict of a row by itself; `result` is None for gaps and pairs not yet measured."""
        ...

    def judge_all(
        self, aligned: Aligned, results: Results, evidence: FurtherEvidence,
        demands: Demands = ..., analysis: Analysis | None = None,
    ) -> Judgement:  # fmt: skip
        """All rows together. `analysis` is one of the same rows, results and evidence, where that
        was made before.
        """
        ...


class LimitedPolicy:
    """A policy that judges each row by its own numbers. Those that derive from it are frozen
    dataclasses; `overrides` are `[thresholds]` of a rules file, which come before the policy's own
    limits.
    """

    overrides: tuple[ThresholdRule, ...]

    @property
    def name(self) -> str:
        raise NotImplementedError

    @property
    def needs(self) -> frozenset[str]:
        return frozenset()

    @property
    def metrics(self) -> frozenset[str]:
        return frozenset(name for rule in self.overrides for name, _ in rule.limits)

    @property
    def tolerance(self) -> tuple[float | None, float | None]:
        return None, None

    @property
    def further_captures(self) -> tuple[tuple[str, ...], str | None]:
        return (), None

    def with_overrides(self: Limited, overrides: tuple[ThresholdRule, ...]) -> Limited:
        return replace(cast(Any, self), overrides=overrides) if overrides else self

    def judge(self, row: Row, result: Result) -> Verdict:
        settled = before_policy(row, result, self.overrides)
        if settled is not None:
            return settled
        assert isinstance(result, Measurement)
        found = self.judge_numbers(row, result)
        limits = limits_for(shown_dtype(row, result))
        unseen = None if limits is None else apart(result, limits.ok)
        if unseen is None or found.fails:
            return found
        return Verdict("diverged", unseen.words)

    def judge_numbers(self, row: Row, result: Measurement) -> Verdict:
        """The verdict of a pair that differs, and has no limit of its own in a rules file."""
        raise NotImplementedError

    def judge_all(
        self, aligned: Aligned, results: Results, evidence: FurtherEvidence,
        demands: Demands = Demands(), analysis: Analysis | None = None,  # noqa: B008
    ) -> Judgement:  # fmt: skip
        verdicts = [
            self.judge(row, result)
            for row, result in zip(aligned.rows, results.measurements, strict=True)
        ]
        return judgement_of(aligned, results, evidence, demands, verdicts, analysis)
