"""Limits learned from good runs, the file that holds them, and how it is applied."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.judging.policy import DtypePolicy, FixedPolicy, policy_named
from layertui.compare.rules.learned_limits import (
    BaselineError,
    Baselines,
    limited,
    load_thresholds,
    percentile,
)
from layertui.compare.rules.rules import LayerLimits, Rules, RulesError, ThresholdRule
from support.small_captures import two_sides, write_side
from support.synthetic import saved
from support.verdicts import level, numbers, pair


def measured(reference: Path, candidate: Path, **more: Any) -> Comparison:
    comparison = open_comparison(str(reference), str(candidate), **more)
    comparison.measure(use_cache=False)
    return comparison


def learned(*pairs: tuple[Path, Path]) -> Baselines:
    baselines = Baselines()
    for reference, candidate in pairs:
        comparison = measured(reference, candidate)
        baselines.add(comparison.aligned, comparison.results)
    return baselines


def written(path: Path, content: object) -> str:
    path.write_text(json.dumps(content))
    return str(path)


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=40), st.floats(0, 100))
def test_percentile_is_numpy_s(values: list[float], percent: float) -> None:
    assert percentile(values, percent) == pytest.approx(np.percentile(values, percent))


def test_limits_are_the_percentile_times_the_margin(tmp_path: Path) -> None:
    """Ten prompts of different lengths, with noise of ten sizes."""
    rng = np.random.default_rng(0)
    pairs = []
    for number in range(1, 11):
        x = rng.standard_normal((number, 64)).astype(np.float32)
        noise = x * np.float32(1e-4 * number)
        ref = write_side(tmp_path / f"r{number}", [x])
        pairs.append((ref, write_side(tmp_path / f"c{number}", [x + noise])))
    file = learned(*pairs).file(90, 2.0)
    (layer,) = file["layers"]
    assert layer == "layers.0.mlp-output"
    found = file["layers"][layer]
    assert set(found) == set(limited())
    # 90 % of 1e-4 ... 1e-3 is 9.1e-4, whatever the shape; float32 has seven digits.
    assert found["relative_l2"] == pytest.approx(2 * 9.1e-4, rel=1e-3)
    assert file["samples"] == {layer: 10} and len(file["made_from"]) == 10


def test_clean_runs_pass_and_a_fault_fails(tmp_path: Path) -> None:
    ref, cand = two_sides(tmp_path, 3)
    path = written(tmp_path / "t.json", learned((ref, cand)).file(99, 1.5))
    rules = Rules(thresholds=(load_thresholds(path),))
    assert measured(ref, cand, rules=rules).failing == []
    spoiled = [np.load(path) for path in sorted(cand.glob("*.npy"))]
    spoiled[1] = spoiled[1] * np.float32(1 + 1e-5)  # far below what float32 is allowed
    wrong = write_side(tmp_path / "wrong", spoiled)
    without = measured(ref, wrong)
    without.set_policy(DtypePolicy())
    assert without.failing == []
    comparison = measured(ref, wrong, rules=rules)
    assert [comparison.rows[i].canonical for i in comparison.failing] == ["layers.1.mlp"]
    assert "t.json: layers.1.mlp-output" in comparison.verdicts[comparison.failing[0]].reason
    assert "3 limits of t.json come first" in comparison.policy.describe()


def test_globs_of_a_rules_file_come_before_the_file(tmp_path: Path) -> None:
    ref, cand = two_sides(tmp_path, 2)
    limits = dict.fromkeys(limited(), 1e-12)
    path = written(
        tmp_path / "t.json",
        {"schema": "layertui.thresholds/1", "layers": {
            "layers.0.mlp-output": limits, "layers.1.mlp-output": limits}},
    )  # fmt: skip
    file = load_thresholds(path)
    assert measured(ref, cand, rules=Rules(thresholds=(file,))).failing == [0, 1]
    glob = ThresholdRule("layers.1.*", (("relative_l2", 1e-3),))
    assert measured(ref, cand, rules=Rules(thresholds=(file, glob))).failing == [0]


def test_the_file_stays_when_the_policy_changes(tmp_path: Path) -> None:
    ref, cand = two_sides(tmp_path, 1)
    limits = LayerLimits("t.json", (), {"layers.0.mlp-output": ThresholdRule("x", (("mse", 0),))})
    comparison = measured(ref, cand, rules=Rules(thresholds=(limits,)))
    assert comparison.failing == [0]
    comparison.set_policy(policy_named("fixed"))
    assert isinstance(comparison.policy, FixedPolicy) and comparison.failing == [0]


def test_layers_that_one_side_alone_knows_are_said_and_counted(tmp_path: Path) -> None:
    ref, cand = two_sides(tmp_path, 3)
    file = learned((ref, cand)).file(99, 1.5)
    file["layers"]["layers.9.mlp-output"] = file["layers"].pop("layers.1.mlp-output")
    rules = Rules(thresholds=(load_thresholds(written(tmp_path / "t.json", file)),))
    comparison = measured(ref, cand, rules=rules)
    notes = "\n".join(comparison.notes("reference"))
    assert "no limits for 1 of 3 layers, which the policy judges: layers.1.mlp-output" in notes
    assert "1 layer of t.json has no pair here: layers.9.mlp-output" in notes
    comparison.repair()
    assert len(comparison.notes("reference")) == 2  # said once


def test_runs_with_nan_give_no_limit(tmp_path: Path) -> None:
    ref, cand = two_sides(tmp_path, 2)
    spoiled = [np.load(path) for path in sorted(cand.glob("*.npy"))]
    spoiled[0][1, 2] = np.nan
    wrong = write_side(tmp_path / "wrong", spoiled)
    baselines = learned((ref, cand), (ref, wrong))
    assert list(baselines.limits(99, 1)) == ["layers.1.mlp-output"]
    assert "layers.0.mlp-output (NaN or Inf" in "\n".join(baselines.notes({}))


def test_zeros_and_equal_runs(tmp_path: Path) -> None:
    """Equal runs give limits of 0; a metric that one run cannot have gets none."""
    x = np.arange(1, 9, dtype=np.float32).reshape(2, 4)
    left = saved(tmp_path / "a", {"same-output": x, "zero-output": x * 0, "none-output": x[:0]})
    right = saved(tmp_path / "b", {"same-output": x, "zero-output": x, "none-output": x[:0]})
    baselines = Baselines()
    comparison = Comparison(left, right)
    comparison.measure(use_cache=False)
    baselines.add(comparison.aligned, comparison.results)
    found = baselines.limits(99, 1.5)
    assert found["same-output"] == dict.fromkeys(limited(), 0.0)
    assert found["zero-output"] == {"max_abs": 12.0}
    assert baselines.refused == {"none-output": "no elements"}
    assert "1 layer was equal in every run" in "\n".join(baselines.notes(found))


def test_nothing_to_learn_from(tmp_path: Path) -> None:
    ref, cand = two_sides(tmp_path, 2)
    for file in cand.iterdir():
        file.write_bytes(file.read_bytes()[:-4])
    baselines = Baselines()
    comparison = measured(ref, cand)
    baselines.add(comparison.aligned, comparison.results)
    with pytest.raises(BaselineError, match="no limits can be learned"):
        baselines.file(99, 1.5)


GOOD = {"schema": "layertui.thresholds/1", "layers": {"a-output": {"max_abs": 1.0}}}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "no valid JSON"),
        ("[" * 100_000, "no valid JSON"),
        ("[]", "not a thresholds file"),
        ("{}", "no schema"),
        ('{"schema": "layertui.thresholds/2"}', "install a newer one"),
        ('{"abs_diff": {}, "cos_sim_avg": {}}', "the format aiu"),
        ({**GOOD, "layers": {}}, "no layers"),
        ({**GOOD, "layers": []}, "no layers"),
        ({**GOOD, "layers": {"a": {}}}, "no limits"),
        ({**GOOD, "layers": {"a": {"beauty": 1}}}, "unknown metric 'beauty'"),
        ({**GOOD, "layers": {"a": {"max_abs": "1"}}}, "must be a finite number"),
        ({**GOOD, "layers": {"a": {"max_abs": True}}}, "must be a finite number"),
        ({**GOOD, "layers": {"a": {"max_abs": -1}}}, "must be a finite number"),
        ({**GOOD, "layers": {"a": {"max_abs": math.nan}}}, "must be a finite number"),
        ({**GOOD, "layers": {"a": {"max_abs": math.inf}}}, "must be a finite number"),
        ({**GOOD, "layers": {"a": {"max_abs": 10**400}}}, "must be a finite number"),
    ],
)
def test_damaged_and_foreign_files_are_refused(tmp_path: Path, content: object, said: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(RulesError, match=said) as refused:
        load_thresholds(str(path))
    assert "\n" not in str(refused.value) and "t.json" in str(refused.value)


def test_a_number_that_is_nan_does_not_pass() -> None:
    rule = ThresholdRule("t", (("relative_l2", 1.0), ("cosine", 0.0)))
    limits = LayerLimits("t.json", (), {"layers.0.mlp-output": rule})
    policy = FixedPolicy(overrides=(limits,))
    assert level(pair(), numbers(relative_l2=0.5, cosine=0.5), policy) == "ok"
    assert level(pair(), numbers(relative_l2=math.nan, cosine=0.5), policy) == "diverged"
    assert level(pair(), numbers(relative_l2=0.5, cosine=math.nan), policy) == "diverged"
    assert level(pair(), numbers(relative_l2=None, max_abs=1.0), policy) == "diverged"
