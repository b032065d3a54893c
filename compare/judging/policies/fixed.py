"""The same thresholds for every pair: the policy `fixed`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...measuring.metrics import METRICS
from ...model import Measurement, Row, Verdict
from ...rules.rules import ThresholdRule
from ..row_verdicts import by_thresholds, rules_words
from .base import LimitedPolicy, PolicyError

# The seed's rules of thumb.
FIXED: dict[str, float] = {"cosine": 0.99, "mse": 1e-4, "relative_l2": 0.01}


@dataclass(frozen=True)
class FixedPolicy(LimitedPolicy):
    """The same thresholds for every pair: `cosine` at least, everything else at most."""

    thresholds: tuple[tuple[str, float], ...] = tuple(FIXED.items())
    overrides: tuple[ThresholdRule, ...] = ()

    @property
    def name(self) -> str:
        return "fixed"

    @property
    def metrics(self) -> frozenset[str]:
        own = frozenset(name for name, _ in self.thresholds)
        return own | super().metrics

    @staticmethod
    def from_limits(
        thresholds: Mapping[str, float] | None, rtol: float | None, atol: float | None,
        overrides: tuple[ThresholdRule, ...],
    ) -> FixedPolicy:  # fmt: skip
        """The policy as it is asked for by limits. Raises `PolicyError`."""
        if rtol is not None:
            raise PolicyError("rtol and atol go with the policy dtype, not with fixed thresholds")
        return FixedPolicy(tuple((thresholds or FIXED).items()), overrides)

    def describe(self) -> str:
        limits = ", ".join(
            f"{name} {'<=' if METRICS[name].greater_is_worse else '>='} {limit:g}"
            for name, limit in self.thresholds
        )
        return f"fixed: {limits}{rules_words(self.overrides)}"

    def judge_numbers(self, row: Row, result: Measurement) -> Verdict:
        return by_thresholds(result, dict(self.thresholds), "limit")
