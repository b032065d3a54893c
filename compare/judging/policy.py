"""Policies: what a pair's numbers mean. Replaceable; measurements know nothing of them.

The policy `noise`, which is the usual one, asks where errors come from (see `noise_policy`).
The policy `dtype` goes by the coarser dtype of a pair (after casts). Two numbers count, both free
of the tensor's size: `relative_l2`, the error of the whole, and the *peak*, the greatest single
difference in units of the reference's root mean square, less what the dtype allows at the value
that it hit. The peak finds a wrong row or element that drowns in the norm of a large tensor.

    dtype      ok up to   diverged above   peak above
    float64      1e-9         1e-6            1e-5
    float32      1e-4         1e-3            3e-2
    float16      1e-2         5e-2            0.5
    bfloat16     4e-2         0.12            1.0
    float8       0.15         0.35            2.0
    integers     equal        any other       -

Between the first two columns is `drift`. Real pairs that agree lie at 1e-7 (float32) and 1.2e-2
(bfloat16) after two layers, and grow with depth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from ..limits import LIMITS, PEAK_ROUNDINGS, Limits, limits_for
from ..measuring.metrics import METRICS
from ..model import Failure, Measurement, Row, Verdict
from ..recipes.parse import parse_recipe
from ..rules.rules import LayerLimits, ThresholdRule
from ..vocabulary import POLICIES, Level


class Policy(Protocol):
    """What the comparison asks of a policy."""

    @property
    def name(self) -> str: ...

    def describe(self) -> str:
        """One line for headings: the name and what decides."""
        ...

    def judge(self, row: Row, result: Measurement | Failure | None) -> Verdict:
        """The verdict of a row; `result` is None for gaps and pairs not yet measured."""
        ...


class PolicyError(Exception):
    """A policy or threshold that does not exist; one line for the user."""


def structural(row: Row, result: Measurement | Failure | None) -> Verdict | None:
    """What every policy says alike: gaps, unreadable records, shapes, NaN, equality."""
    if row.problem_level is not None:
        return Verdict(row.problem_level, row.problem or "")
    if row.kind != "pair":
        side = "candidate" if row.kind == "gap_reference" else "reference"
        return Verdict("missing", f"the {side} has no such record")
    if result is None:
        return Verdict("pending")
    if isinstance(result, Failure):
        return Verdict(result.level, result.reason)
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
    return (
        f"NaN or Inf at {result.nonfinite_mismatch} places differ: reference {left.nan} NaN "
        f"{left.inf} Inf, candidate {right.nan} NaN {right.inf} Inf"
    )


def side_dtypes(row: Row) -> tuple[str, str] | None:
    """The dtypes of both sides of a pair, casts of the recipes included."""
    names: list[str] = []
    for record, recipe in (
        (row.reference, row.recipe_reference), (row.candidate, row.recipe_candidate),
    ):  # fmt: skip
        if record is None or record.dtype is None:
            return None
        casts = parse_recipe(recipe).casts if "cast" in recipe else ()
        names.append(casts[-1] if casts else record.dtype)
    return names[0], names[1]


def coarser_dtype(row: Row) -> str | None:
    """The dtype with fewer mantissa bits of a pair, casts of the recipes included."""
    from ..measuring.pair_reader import coarser

    names = side_dtypes(row)
    return None if names is None else coarser(*names)


@dataclass(frozen=True, slots=True)
class DtypePolicy:
    """Tolerances by dtype, with the table above; `overrides` are `[thresholds]` of a rules file.

    A `rtol`/`atol` given by the user decides instead: diverged where an element is outside.
    """

    rtol: float | None = None
    atol: float | None = None
    overrides: tuple[ThresholdRule, ...] = ()
    limits: Mapping[str, Limits] = field(default_factory=lambda: LIMITS)

    @property
    def name(self) -> str:
        return "dtype"

    def describe(self) -> str:
        if self.rtol is not None or self.atol is not None:
            words = f"dtype with rtol {_short(self.rtol)}, atol {_short(self.atol)}"
        else:
            words = "dtype: relative L2 and greatest difference, by dtype"
        return words + _rules_words(self.overrides)

    def judge(self, row: Row, result: Measurement | Failure | None) -> Verdict:
        settled = before_policy(row, result, self.overrides)
        if settled is not None:
            return settled
        assert isinstance(result, Measurement)
        if self.rtol is not None or self.atol is not None:
            return _by_tolerance(result)
        return by_dtype(row, result, shown_dtype(row, result), self.limits)


def by_dtype(
    row: Row, result: Measurement, dtype: str, limits: Mapping[str, Limits] = LIMITS
) -> Verdict:
    """What the limits of `dtype` say of a pair."""
    found = limits_for(dtype, limits)
    if found is None:
        return _exact(result)
    return _by_limits(result, found, dtype, printed_rounding(row))


def shown_dtype(row: Row, result: Measurement) -> str:
    """The coarser dtype of a pair, or a coarser one that both sides' values lie on the grid of."""
    dtype = coarser_dtype(row) or "float32"
    bits = 23 if result.structure is None else max(result.structure.bits)
    if dtype in ("float32", "float64") and bits <= 10:
        return "bfloat16" if bits <= 7 else "float16"
    return dtype


def before_policy(
    row: Row, result: Measurement | Failure | None, overrides: tuple[ThresholdRule, ...]
) -> Verdict | None:
    """What is settled whatever the policy: the plain cases, then a limit of the rules file."""
    plain = structural(row, result)
    override = override_for(row, overrides)
    if plain is not None or override is None or not isinstance(result, Measurement):
        return plain
    return by_thresholds(result, dict(override.limits), f"limit of {override.match!r}")


def _rules_words(overrides: tuple[ThresholdRule, ...]) -> str:
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


def printed_rounding(row: Row) -> float:
    """Half a unit of the last printed decimal, where a side is a log; 0 where values are whole."""
    digits = _printed_digits(row, "printed_decimals")
    return 0.0 if digits is None else 0.5 * 10.0**-digits


def printed_share(row: Row) -> float:
    """Half a unit of the last digit of numbers printed as 1.2345e-02, as a share of the number."""
    digits = _printed_digits(row, "printed_significant")
    return 0.0 if digits is None else 0.5 * 10.0 ** (1 - digits)


def _printed_digits(row: Row, name: str) -> int | None:
    """The digits of the side that was printed with fewer."""
    stats = [record.stats or {} for record in (row.reference, row.candidate) if record is not None]
    digits = [found for each in stats if isinstance(found := each.get(name), int)]
    return min(digits, default=None)


def _exact(result: Measurement) -> Verdict:
    if result.mismatched == 0:
        return Verdict("identical" if result.identical else "ok", "every element equal")
    return Verdict("diverged", f"{result.mismatched} of {result.count} whole numbers differ")


def _by_tolerance(result: Measurement) -> Verdict:
    bound = f"rtol {result.rtol:g}, atol {result.atol:g}"
    if result.mismatched == 0:
        return Verdict("ok", f"every element within {bound}")
    share = 100.0 * (result.mismatched_fraction or 0.0)
    words = f"{result.mismatched} of {result.count} elements ({share:.2g} %) outside {bound}"
    return Verdict("diverged", words)


def _by_limits(result: Measurement, limits: Limits, dtype: str, printed: float) -> Verdict:
    rms = _rms(result)
    error, peak = result.relative_l2, _peak(result, rms, limits.epsilon)
    if printed and result.max_abs is not None and result.max_abs <= 2.01 * printed:
        return _within_print(printed, rms, limits)
    if error is None or peak is None:
        return _against_zero(result)
    at = _place(result)
    if error > limits.diverged:
        words = f"relative L2 {error:.2e} is above {limits.diverged:g} for {dtype}{at}"
        return Verdict("diverged", words)
    if peak > limits.peak:
        words = f"one difference of {peak:.2g} x the reference's RMS, {limits.peak:g} allowed{at}"
        return Verdict("diverged", words)
    if error > limits.ok:
        return Verdict("drift", f"relative L2 {error:.2e} is above {limits.ok:g} for {dtype}")
    words = "equal where both have it" if result.identical else f"relative L2 {error:.2e}"
    return Verdict("ok", f"{words}, {limits.ok:g} allowed for {dtype}")


def _within_print(printed: float, rms: float | None, limits: Limits) -> Verdict:
    """Both sides agree to the last digit that a log prints, which may be too few to tell."""
    if rms and printed / rms <= limits.diverged:
        return Verdict("ok", f"equal to the digits that the log prints (+-{printed:g})")
    return Verdict("drift", f"the log prints too few digits to tell: +-{printed:g}")


def _rms(result: Measurement) -> float | None:
    side = result.reference
    if side is None or side.l2 is None or result.compared == 0:
        return None
    return side.l2 / math.sqrt(result.compared)


def _peak(result: Measurement, rms: float | None, epsilon: float) -> float | None:
    if not rms or result.max_abs is None or result.max_abs_values is None:
        return None
    forgiven = PEAK_ROUNDINGS * epsilon * abs(result.max_abs_values[0])
    return max(0.0, result.max_abs - forgiven) / rms


def _against_zero(result: Measurement) -> Verdict:
    """The reference is all zeros: nothing to be relative to."""
    if result.max_abs == 0:
        return Verdict("ok", "all zeros where both have elements")
    greatest = f"{result.max_abs:.2e}" if result.max_abs is not None else "unknown"
    return Verdict("diverged", f"the reference is all zeros, the candidate up to {greatest}")


def _place(result: Measurement) -> str:
    if result.max_abs_index is None or result.max_abs_values is None:
        return ""
    index = ", ".join(map(str, result.max_abs_index))
    ref, cand = result.max_abs_values
    return f"; greatest at [{index}]: {ref:.6g} against {cand:.6g}"


@dataclass(frozen=True, slots=True)
class NoisePolicy:
    """Errors against those of their inputs and of the other layers (see `noise_policy`).

    `baselines` are captures of further runs of the reference, `exact` one in higher precision (see
    `noise_floor`). A single row is judged by its dtype as long as not all are measured, for
    its neighbours are not known; `Comparison` then judges all of them at once.
    """

    overrides: tuple[ThresholdRule, ...] = ()
    baselines: tuple[str, ...] = ()
    exact: str | None = None

    @property
    def name(self) -> str:
        return "noise"

    def describe(self) -> str:
        words = "noise: each error against those of its inputs and of the other layers"
        if self.baselines:
            words += f", and of the baseline {', '.join(self.baselines)}"
        if self.exact is not None:
            words += f"; both sides against the exact {self.exact}"
        return words + _rules_words(self.overrides)

    def judge(self, row: Row, result: Measurement | Failure | None) -> Verdict:
        return DtypePolicy(overrides=self.overrides).judge(row, result)


# The seed's rules of thumb.
FIXED: dict[str, float] = {"cosine": 0.99, "mse": 1e-4, "relative_l2": 0.01}


@dataclass(frozen=True, slots=True)
class FixedPolicy:
    """The same thresholds for every pair: `cosine` at least, everything else at most."""

    thresholds: tuple[tuple[str, float], ...] = tuple(FIXED.items())
    overrides: tuple[ThresholdRule, ...] = ()

    @property
    def name(self) -> str:
        return "fixed"

    def describe(self) -> str:
        return (
            "fixed: "
            + ", ".join(
                f"{name} {'<=' if METRICS[name].greater_is_worse else '>='} {limit:g}"
                for name, limit in self.thresholds
            )
            + _rules_words(self.overrides)
        )

    def judge(self, row: Row, result: Measurement | Failure | None) -> Verdict:
        settled = before_policy(row, result, self.overrides)
        if settled is not None:
            return settled
        assert isinstance(result, Measurement)
        return by_thresholds(result, dict(self.thresholds), "limit")


def by_thresholds(result: Measurement, limits: Mapping[str, float], what: str) -> Verdict:
    """Diverged when any metric is beyond its limit, or could not be computed."""
    for name, limit in limits.items():
        value = result.metric(name)
        greater_is_worse = METRICS[name].greater_is_worse
        if value is None:
            if result.identical or result.max_abs == 0:
                continue
            why = result.reasons.get(name, "not computed")
            return Verdict("diverged", f"{name} is not there to be checked: {why}")
        within = value <= limit if greater_is_worse else value >= limit
        if not within:  # so asked, NaN does not pass
            sign = ">" if greater_is_worse else "<"
            return Verdict(
                "diverged", f"{name} {value:.3e} {sign} {what} {limit:g}{_place(result)}"
            )
    level: Level = "ok"
    return Verdict(level, f"within {what}: " + ", ".join(f"{n} {v:g}" for n, v in limits.items()))


def policy_named(
    name: str, thresholds: Mapping[str, float] | None = None, rtol: float | None = None,
    atol: float | None = None, overrides: tuple[ThresholdRule, ...] = (),
) -> Policy:  # fmt: skip
    """The policy that the command line asks for. Raises `PolicyError` in words.

    `default` is `noise`, or what is asked for by limits: thresholds make it `fixed`, replacing its
    rules of thumb, a tolerance `dtype`.
    """
    for metric in thresholds or {}:
        if metric not in METRICS:
            raise PolicyError(f"unknown metric {metric!r} (known: {', '.join(METRICS)})")
    for metric, limit in (thresholds or {}).items():
        if math.isnan(limit):
            raise PolicyError(f"the threshold of {metric} is not a number")
    if (rtol is None) != (atol is None):
        raise PolicyError("rtol and atol are given both or neither")
    if name == "fixed" or (thresholds and name == "default"):
        if rtol is not None:
            raise PolicyError("rtol and atol go with the policy dtype, not with fixed thresholds")
        limits = tuple((thresholds or FIXED).items())
        return FixedPolicy(limits, overrides)
    if name == "dtype" or (name == "default" and rtol is not None):
        return DtypePolicy(rtol, atol, overrides)
    if name in ("noise", "default"):
        if rtol is not None:
            raise PolicyError("rtol and atol go with the policy dtype, not with noise")
        return NoisePolicy(overrides)
    raise PolicyError(f"unknown policy {name!r} (known: {', '.join(POLICIES)})")


def with_overrides(policy: Policy, overrides: tuple[ThresholdRule, ...]) -> Policy:
    """The same policy with the thresholds of a rules file, which replace those it had."""
    if isinstance(policy, DtypePolicy | FixedPolicy | NoisePolicy) and overrides:
        return replace(policy, overrides=overrides)
    return policy


def metrics_needed(policy: Policy) -> set[str]:
    """The metrics that a policy's thresholds name; some are measured only on demand."""
    limits: list[tuple[str, float]] = []
    if isinstance(policy, FixedPolicy):
        limits += policy.thresholds
    if isinstance(policy, DtypePolicy | FixedPolicy | NoisePolicy):
        limits += [limit for rule in policy.overrides for limit in rule.limits]
    return {name for name, _ in limits}


def _short(value: float | None) -> str:
    return "by dtype" if value is None else f"{value:g}"
