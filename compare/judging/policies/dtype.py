"""Tolerances by dtype: the policy `dtype`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...limits import LIMITS, Limits
from ...model import Measurement, Row, Verdict
from ...rules.rules import ThresholdRule
from ..dtype_verdicts import by_dtype, by_tolerance, shown_dtype
from ..row_verdicts import rules_words
from .base import LimitedPolicy


@dataclass(frozen=True)
class DtypePolicy(LimitedPolicy):
    """Tolerances by dtype, see `dtype_verdicts`; `overrides` are `[thresholds]` of a rules file.

    A `rtol`/`atol` given by the user decides instead: diverged where an element is outside.
    """

    rtol: float | None = None
    atol: float | None = None
    overrides: tuple[ThresholdRule, ...] = ()
    limits: Mapping[str, Limits] = field(default_factory=lambda: LIMITS)

    @property
    def name(self) -> str:
        return "dtype"

    @property
    def tolerance(self) -> tuple[float | None, float | None]:
        return self.rtol, self.atol

    @staticmethod
    def from_limits(
        thresholds: Mapping[str, float] | None, rtol: float | None, atol: float | None,
        overrides: tuple[ThresholdRule, ...],
    ) -> DtypePolicy:  # fmt: skip
        """The policy as it is asked for by limits."""
        return DtypePolicy(rtol, atol, overrides)

    def describe(self) -> str:
        if self.rtol is not None or self.atol is not None:
            words = f"dtype with rtol {_short(self.rtol)}, atol {_short(self.atol)}"
        else:
            words = "dtype: relative L2 and greatest difference, by dtype"
        return words + rules_words(self.overrides)

    def judge_numbers(self, row: Row, result: Measurement) -> Verdict:
        if self.rtol is not None or self.atol is not None:
            return by_tolerance(result)
        return by_dtype(row, result, shown_dtype(row, result), self.limits)


def _short(value: float | None) -> str:
    return "by dtype" if value is None else f"{value:g}"
