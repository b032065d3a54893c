"""What is settled of a row under every policy: the plain cases, and limits of a rules file."""

from __future__ import annotations

from collections.abc import Mapping

from ...capture.plurals import counted
from ..measuring.metrics import METRICS
from ..model import ByStatistics, Failure, Measurement, Result, Row, Verdict
from ..rules.rules import LayerLimits, ThresholdRule
from ..vocabulary import Level
from .statistics_verdicts import verdict_by_statistics


def structural(row: Row, result: Result) -> Verdict | None:
    """What every policy judges alike: gaps, unreadable records, shapes, NaN, equality, and what has
    only statistics.
    """
    if row.problem_level is not None:
        return Verdict(row.problem_level, row.problem or "")
    if row.kind != "pair":
        side = "candidate" if row.kind == "gap_reference" else "reference"
        return Verdict("missing", f"the {side} has no such record")
    if result is None:
        return Verdict("pending")
    if isinstance(result, Failure):
        return Verdict(result.level, result.reason)
    if isinstance(result, ByStatistics):
        return verdict_by_statistics(row, result)
    if result.nonfinite_mismatch:
        return Verdict("nan", nonfinite_words(result))
    if result.identical and not result.partial:
        same = "no elements on either side" if result.count == 0 else "every element equal"
        return Verdict("identical", same)
    if result.compared == 0:
        return Verdict("nan", "no element is finite on both sides: nothing could be compared")
    return None


def nonfinite_words(result: Measurement) -> str:
    """How many NaN and Inf each side has, and at how many places only one has."""
    left, right = result.reference, result.candidate
    assert left is not None and right is not None
    places = counted(result.nonfinite_mismatch, "place")
    return (
        f"NaN or Inf differ at {places}: reference {left.nan} NaN "
        f"{left.inf} Inf, candidate {right.nan} NaN {right.inf} Inf"
    )


def before_policy(row: Row, result: Result, overrides: tuple[ThresholdRule, ...]) -> Verdict | None:
    """What is settled under every policy: the plain cases, then a limit of the rules file."""
    plain = structural(row, result)
    if plain is not None or not isinstance(result, Measurement):
        return plain
    override = override_for(row, overrides)
    if override is None:
        return None
    return by_thresholds(result, dict(override.limits), f"limit of {override.match!r}")


def rules_words(overrides: tuple[ThresholdRule, ...]) -> str:
    files = [rule for rule in overrides if isinstance(rule, LayerLimits)]
    own = len(overrides) - len(files)
    sources = [f"{own} limits of the rules file"] if own else []
    sources += [f"{len(rule.layers)} limits of {rule.match}" for rule in reversed(files)]
    return f"; {', then '.join(sources)} come first" if sources else ""


def override_for(row: Row, overrides: tuple[ThresholdRule, ...]) -> ThresholdRule | None:
    """The last `[thresholds]` rule whose glob matches the row's module or `module-slot`, else what
    a thresholds file says of it.
    """
    for rule in reversed(overrides):
        found = rule.rule_for(row.canonical, row.slot, row.label)
        if found is not None:
            return found
    return None


def by_thresholds(result: Measurement, limits: Mapping[str, float], what: str) -> Verdict:
    """Diverged when any metric is beyond its limit, or could not be computed."""
    for name, limit in limits.items():
        value = result.metric(name)
        greater_is_worse = METRICS[name].greater_is_worse
        if value is None:
            if result.identical or result.max_abs == 0:
                continue
            why = result.reasons.get(name, "not computed")
            return Verdict("diverged", f"{name} could not be checked: {why}")
        within = value <= limit if greater_is_worse else value >= limit
        if not within:  # so asked, NaN does not pass
            sign = ">" if greater_is_worse else "<"
            return Verdict(
                "diverged", f"{name} {value:.3e} {sign} {what} {limit:g}{place_words(result)}"
            )
    level: Level = "ok"
    return Verdict(level, f"within {what}: " + ", ".join(f"{n} {v:g}" for n, v in limits.items()))


def place_words(result: Measurement) -> str:
    if result.max_abs_index is None or result.max_abs_values is None:
        return ""
    index = ", ".join(map(str, result.max_abs_index))
    ref, cand = result.max_abs_values
    return f"; greatest at [{index}]: {ref:.6g} against {cand:.6g}"
