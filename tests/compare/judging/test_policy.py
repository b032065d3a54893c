"""Policies: from the numbers of a pair to its verdict."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.compare.judging.policy import (
    DtypePolicy,
    FixedPolicy,
    NoisePolicy,
    PolicyError,
    metrics_needed,
    policy_named,
    with_overrides,
)
from layertui.compare.limits import LIMITS, Limits
from layertui.compare.measuring.measure import finish
from layertui.compare.measuring.pair_dtypes import coarser_dtype
from layertui.compare.measuring.sums import Sums, Tolerance
from layertui.compare.model import Failure, Measurement, Row
from layertui.compare.recipes.cast import cast
from layertui.compare.rules.rules import ThresholdRule
from layertui.compare.vocabulary import FAILING, LEVELS
from support.synthetic import record
from support.verdicts import SIDE, level, numbers, pair


def measured(x: Any, y: Any, rtol: float = 1e-5, atol: float = 1e-5) -> Measurement:
    x, y = np.asarray(x), np.asarray(y)
    tolerance = Tolerance(rtol, atol)
    sums = Sums(tolerance)
    if x.size:
        sums.add(x.reshape(-1), y.reshape(-1), 0)
    return finish(sums, x.shape, tolerance)


# Every level


def test_structural_levels() -> None:
    gap = Row(0, "gap_reference", record("a-output"), None, "a", "output")
    assert level(gap, None) == "missing"
    assert "the candidate has no such record" in DtypePolicy().judge(gap, None).reason
    other = Row(0, "gap_candidate", None, record("a-output"), "a", "output")
    assert "the reference has" in DtypePolicy().judge(other, None).reason
    broken = dataclasses.replace(gap, problem="cut", problem_level="unreadable")
    assert level(broken, None) == "unreadable"
    assert level(pair(problem="no", problem_level="shape"), None) == "shape"
    assert level(pair(), None) == "pending"
    assert level(pair(), Failure("cut", "reference")) == "unreadable"
    assert level(pair(), Failure("shapes differ", level="shape")) == "shape"


@pytest.mark.parametrize("policy", [DtypePolicy(), FixedPolicy(), DtypePolicy(1.0, 1e9)])
def test_nan_on_one_side_is_always_nan(policy: Any) -> None:
    x = np.ones(16, np.float32)
    y = x.copy()
    y[3] = np.nan
    for a, b in ((x, y), (y, x), (x, np.where(np.isnan(y), np.inf, y)), (y, np.full(16, np.inf))):
        verdict = policy.judge(pair(), measured(a, b.astype(np.float32), 1.0, 1e9))
        assert verdict.level == "nan", verdict
        assert "NaN" in verdict.reason
    override = (ThresholdRule("*", (("mse", float("inf")),)),)
    assert level(pair(), measured(x, y), with_overrides(policy, override)) == "nan"


def test_infinities_of_other_sign_are_nan() -> None:
    x = np.array([1.0, np.inf], np.float32)
    assert level(pair(), measured(x, -x)) == "nan"


def test_nan_at_the_same_places_is_no_divergence() -> None:
    x = np.array([1.0, np.nan, -np.inf], np.float32)
    assert level(pair(), measured(x, x.copy())) == "identical"
    y = x.copy()
    y[0] += 1e-6
    assert level(pair(), measured(x, y)) == "ok"


def test_nothing_finite_is_not_ok() -> None:
    assert level(pair(), numbers(compared=0, identical=False)) == "nan"


def test_identical_and_empty() -> None:
    x = np.ones(4, np.float32)
    assert level(pair(), measured(x, x)) == "identical"
    verdict = DtypePolicy().judge(pair(), measured(x[:0], x[:0]))
    assert (verdict.level, verdict.reason) == ("identical", "no elements on either side")


@pytest.mark.parametrize("policy", [DtypePolicy(), FixedPolicy(), DtypePolicy(0.0, 0.0)])
def test_partial_is_never_identical(policy: Any) -> None:
    result = dataclasses.replace(measured(np.ones(4), np.ones(4)), partial=(4, 100))
    assert policy.judge(pair(), result).level == "ok"


SMALL = Limits(0.15, 0.35, 2.0, 2**-3)


@pytest.mark.parametrize("dtype", [*LIMITS, "float8_e4m3fn", "float8_e5m2", "float4_e2m1fn"])
def test_the_table_of_dtypes(dtype: str) -> None:
    limits = LIMITS.get(dtype, SMALL)
    row = pair(dtype, "float64")
    assert level(row, numbers(relative_l2=limits.ok)) == "ok"
    assert level(row, numbers(relative_l2=limits.ok * 1.01)) == "drift"
    assert level(row, numbers(relative_l2=limits.diverged)) == "drift"
    assert level(row, numbers(relative_l2=limits.diverged * 1.01)) == "diverged"
    zero = (0.0, 0.0)
    assert level(row, numbers(max_abs=limits.peak, max_abs_values=zero)) == "ok"
    assert level(row, numbers(max_abs=limits.peak * 1.01, max_abs_values=zero)) == "diverged"
    forgiven = 32 * limits.epsilon * 100.0  # roundings of a value of 100
    assert level(row, numbers(max_abs=forgiven, max_abs_values=(100.0, 0.0))) == "ok"


def test_the_coarser_dtype_decides_casts_included() -> None:
    assert coarser_dtype(pair("float32", "bfloat16")) == "bfloat16"
    assert coarser_dtype(pair("float64", "float32")) == "float32"
    assert coarser_dtype(pair(recipe_candidate="cast(float16) | flip(0)")) == "float16"
    assert coarser_dtype(pair("int64", "int32")) in ("int64", "int32")


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool"])
def test_whole_numbers_are_equal_or_not(dtype: str) -> None:
    x = np.array([0, 1, 1, 0], dtype)
    y = x.copy()
    assert level(pair(dtype, dtype), measured(x, y, 0, 0)) == "identical"
    y[2] = 0
    verdict = DtypePolicy().judge(pair(dtype, dtype), measured(x, y, 0, 0))
    assert (verdict.level, verdict.reason) == ("diverged", "1 of 4 whole numbers differ")


def test_a_zero_reference() -> None:
    zeros, some = np.zeros(8, np.float32), np.full(8, 1e-30, np.float32)
    verdict = DtypePolicy().judge(pair(), measured(zeros, some))
    assert verdict.level == "diverged" and "all zeros" in verdict.reason
    assert level(pair(), measured(zeros, some), FixedPolicy()) == "diverged"
    assert level(pair(), measured(zeros, zeros)) == "identical"
    partial = dataclasses.replace(measured(zeros, zeros), partial=(8, 9))
    assert level(pair(), partial) == level(pair(), partial, FixedPolicy()) == "ok"
    assert level(pair(), measured(some, zeros)) == "diverged"


# Wrong rows among many


def noise(shape: tuple[int, int], massive: bool, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape).astype(np.float32)
    if massive:
        x[rng.integers(shape[0], size=8), rng.integers(shape[1], size=8)] *= 1000
    return x


@pytest.mark.parametrize("massive", [False, True])
def test_rounding_alone_does_not_diverge(massive: bool) -> None:
    x = noise((2048, 512), massive)
    rounded = cast(x, "bfloat16")
    assert level(pair("float32", "bfloat16"), measured(x, rounded)) == "ok"
    again = cast(rounded * np.float32(1 + 2**-9), "bfloat16")
    assert level(pair("bfloat16", "bfloat16"), measured(rounded, again)) in ("ok", "identical")
    sums = x.astype(np.float64) * (1 + np.random.default_rng(1).standard_normal(x.shape) * 1e-7)
    assert level(pair(), measured(x, sums.astype(np.float32))) == "ok"


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_one_wrong_row_diverges(dtype: str) -> None:
    x = cast(noise((2048, 512), False), dtype) if dtype == "bfloat16" else noise((2048, 512), False)
    y = x.copy()
    y[1234] = x[1233]
    result = measured(x, y)
    if dtype == "bfloat16":
        assert result.relative_l2 is not None and result.relative_l2 < LIMITS[dtype].ok
    verdict = DtypePolicy().judge(pair(dtype, dtype), result)
    assert verdict.level == "diverged" and "at [1234, " in verdict.reason
    if dtype == "bfloat16":
        assert "x the reference's RMS" in verdict.reason


# Tolerances and thresholds


def test_tolerances_of_the_user_decide() -> None:
    x = np.ones(10, np.float32)
    y = x + np.float32(0.01)
    assert level(pair(), measured(x, y, 0.0, 0.1), DtypePolicy(0.0, 0.1)) == "ok"
    verdict = DtypePolicy(0.0, 1e-3).judge(pair(), measured(x, y, 0.0, 1e-3))
    assert verdict.level == "diverged"
    assert verdict.reason == "10 of 10 elements (100 %) outside rtol 0, atol 0.001"
    assert "rtol 0, atol 0.001" in DtypePolicy(0.0, 1e-3).describe()


@pytest.mark.parametrize(
    ("metric", "within", "beyond"),
    [("cosine", 0.99, 0.9899), ("mse", 1e-4, 1.01e-4), ("relative_l2", 0.01, 0.0101)],
)
def test_rules_of_thumb(metric: str, within: float, beyond: float) -> None:
    policy = policy_named("fixed")
    assert level(pair(), numbers(**{metric: within}), policy) == "ok"
    verdict = policy.judge(pair(), numbers(**{metric: beyond}))
    assert verdict.level == "diverged" and metric in verdict.reason and "[1, 2]" in verdict.reason


def test_a_metric_that_is_not_there_does_not_pass() -> None:
    policy = FixedPolicy((("cosine", 0.9),))
    result = numbers(cosine=None, max_abs=1.0, reasons={"cosine": "one side has no variation"})
    verdict = policy.judge(pair(), result)
    assert verdict.level == "diverged" and "no variation" in verdict.reason
    assert level(pair(), numbers(cosine=None, max_abs=0.0), policy) == "ok"


def test_overrides_of_the_rules_file() -> None:
    rules = (
        ThresholdRule("layers.*", (("mse", 1.0),)),
        ThresholdRule("layers.0.mlp-output", (("relative_l2", 0.5), ("cosine", 0.9))),
    )
    for policy in (DtypePolicy(overrides=rules), FixedPolicy(overrides=rules)):
        assert level(pair(), numbers(relative_l2=0.4), policy) == "ok"
        verdict = policy.judge(pair(), numbers(relative_l2=0.6))
        assert (
            verdict.level == "diverged" and "limit of 'layers.0.mlp-output' 0.5" in verdict.reason
        )
        assert level(pair(), numbers(cosine=0.8), policy) == "diverged"
        assert level(pair(slot="input_0"), numbers(mse=1.1), policy) == "diverged"  # by module
    assert (
        level(pair(canonical="norm"), numbers(relative_l2=0.4), DtypePolicy(overrides=rules))
        == "diverged"
    )


def test_with_overrides_keeps_the_rest() -> None:
    rules = (ThresholdRule("*", (("ulp", 1.0),)),)
    policy = with_overrides(DtypePolicy(1.0, 2.0), rules)
    assert policy == DtypePolicy(1.0, 2.0, rules)
    assert with_overrides(policy, ()) is policy
    assert metrics_needed(policy) == {"ulp"} and metrics_needed(DtypePolicy()) == set()
    assert metrics_needed(policy_named("fixed", {"ulp": 3.0})) == {"ulp"}


def test_policies_by_name() -> None:
    assert policy_named("default") == policy_named("noise") == NoisePolicy()
    assert policy_named("default", None, 1.0, 2.0) == policy_named("dtype", None, 1.0, 2.0)
    assert policy_named("dtype").name == "dtype"
    assert policy_named("default", {"mse": 1.0}) == FixedPolicy((("mse", 1.0),))
    assert (
        policy_named("fixed").describe()
        == "fixed: cosine >= 0.99, mse <= 0.0001, relative_l2 <= 0.01"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nonsense",), "unknown policy 'nonsense'"),
        (("fixed", {"msse": 1.0}), "unknown metric 'msse'"),
        (("fixed", {"mse": float("nan")}), "not a number"),
        (("default", None, 1.0, None), "must be given together"),
        (("fixed", None, 1.0, 1.0), "go with the policy dtype"),
    ],
)
def test_policies_that_do_not_exist(arguments: tuple[Any, ...], words: str) -> None:
    with pytest.raises(PolicyError, match=words):
        policy_named(*arguments)


def test_printed_digits_limit_what_can_be_told() -> None:
    row = pair()
    assert row.reference is not None
    row.reference.stats = {"printed_decimals": 4}
    close = numbers(max_abs=9e-5, relative_l2=0.9)
    assert level(row, close) == "ok"
    small = dataclasses.replace(SIDE, l2=1e-3)
    assert level(row, dataclasses.replace(close, reference=small)) == "drift"
    assert level(row, numbers(max_abs=0.2, relative_l2=0.9)) == "diverged"


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(width=32, allow_nan=True), min_size=1, max_size=6),
    st.lists(st.floats(width=32, allow_nan=True), min_size=6, max_size=6),
    st.sampled_from([DtypePolicy(), FixedPolicy(), DtypePolicy(0.1, 0.1)]),
)
def test_every_pair_of_arrays_has_a_verdict(x: list[float], y: list[float], policy: Any) -> None:
    a, b = np.array(x, np.float32), np.array(y[: len(x)], np.float32)
    verdict = policy.judge(pair(), measured(a, b, 0.1, 0.1))
    assert verdict.level in LEVELS and verdict.reason
    same = np.array_equal(a, b, equal_nan=True)
    assert same == (verdict.level == "identical")
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        assert verdict.level in FAILING
