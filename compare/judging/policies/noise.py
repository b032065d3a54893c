"""Each error against those of its inputs and of the other layers: the policy `noise`, which is used
where no other is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...aligned import Aligned, Note, Results
from ...model import Measurement, Row, Verdict
from ...rules.rules import ThresholdRule
from ..evidence.further import FurtherEvidence
from ..judgement import Judgement, analysis_of, judgement_of
from ..outcome import Demands
from ..row_verdicts import rules_words
from .base import LimitedPolicy, PolicyError
from .dtype import DtypePolicy

if TYPE_CHECKING:
    from ..noise.analysis import Analysis


@dataclass(frozen=True)
class NoisePolicy(LimitedPolicy):
    """Errors against those of their inputs and of the other layers (see `noise_analysis`).

    `baselines` are captures of further runs of the reference, `exact` one in higher precision (see
    `noise_floor`). As long as not all rows are measured, each is judged by its dtype: its
    neighbours are not known.
    """

    overrides: tuple[ThresholdRule, ...] = ()
    baselines: tuple[str, ...] = ()
    exact: str | None = None

    @property
    def name(self) -> str:
        return "noise"

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"laws", "layouts", "others"})

    @property
    def further_captures(self) -> tuple[tuple[str, ...], str | None]:
        return self.baselines, self.exact

    @staticmethod
    def from_limits(
        thresholds: Mapping[str, float] | None, rtol: float | None, atol: float | None,
        overrides: tuple[ThresholdRule, ...],
    ) -> NoisePolicy:  # fmt: skip
        """The policy as it is asked for by limits. Raises `PolicyError`."""
        if rtol is not None:
            raise PolicyError("rtol and atol go with the policy dtype, not with noise")
        return NoisePolicy(overrides)

    def describe(self) -> str:
        words = "noise: each error against those of its inputs and of the other layers"
        if self.baselines:
            words += f", and of the baseline {', '.join(self.baselines)}"
        if self.exact is not None:
            words += f"; both sides against the exact {self.exact}"
        return words + rules_words(self.overrides)

    def judge_numbers(self, row: Row, result: Measurement) -> Verdict:
        return DtypePolicy(overrides=self.overrides).judge_numbers(row, result)

    def judge_all(
        self, aligned: Aligned, results: Results, evidence: FurtherEvidence,
        demands: Demands = Demands(), analysis: Analysis | None = None,  # noqa: B008
    ) -> Judgement:  # fmt: skip
        if not results.complete:
            return super().judge_all(aligned, results, evidence, demands, analysis)
        analysis = analysis or analysis_of(aligned, results, evidence)
        verdicts = analysis.verdicts()
        for index, floor in evidence.floors.items():
            verdicts[index] = floor.applied_to(verdicts[index])
        if evidence.dropout is not None:
            verdicts = evidence.dropout.verdicts(
                aligned.rows, results.measurements, verdicts, evidence.law_rows,
                aligned.rules.thresholds,
            )  # fmt: skip
        notes = [Note(side, text) for side, text in analysis.notes()]
        return judgement_of(aligned, results, evidence, demands, verdicts, analysis, notes)
