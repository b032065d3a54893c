"""`assert_captures_match`: passes where `compare` does, and says why where it does not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from layertui.compare import assert_captures_match
from layertui.compare.judging.policy import PolicyError, policy_named
from layertui.compare.rules.rules import Rules, RulesError, ThresholdRule
from support.small_captures import layer_file, two_sides


def pair(real: Path, name: str) -> tuple[Path, Path]:
    return real / name / "torch_dump", real / name / "max_dump"


def message(*args: object, **options: object) -> str:
    with pytest.raises(AssertionError) as failed:
        assert_captures_match(*args, **options)  # type: ignore[arg-type]
    return str(failed.value)


def test_captures_that_match(real: Path) -> None:
    comparison = assert_captures_match(*pair(real, "llama-f32"))
    assert comparison.failing == [] and comparison.measured == comparison.to_measure


def test_the_first_divergence_in_words(real: Path) -> None:
    said = message(*pair(real, "olmo2-f32")).splitlines()
    assert said[0].startswith("captures differ: 56 pairs")
    assert said[1] == "  first divergence: layers.0.self_attn.q_norm, row 9: DIVERGED (99 % sure)"
    assert "differs by 0.0018, inputs identical" in said[2]
    assert "more rows" in "\n".join(said) and "max_dump" in said[-1]


def test_limits(real: Path, tmp_path: Path) -> None:
    olmo = pair(real, "olmo2-f32")
    assert_captures_match(*olmo, policy="fixed")
    assert_captures_match(*olmo, policy=policy_named("fixed", {"relative_l2": 0.01}))
    assert_captures_match(*olmo, rtol=0.1, atol=0.1)
    assert_captures_match(*olmo, rules=Rules(thresholds=(ThresholdRule("*", (("mse", 1.0),)),)))
    assert "mse" in message(*olmo, threshold={"mse": 1e-20})
    (tmp_path / "rules.toml").write_text('[thresholds]\n"*" = { mse = 1.0 }\n')
    assert_captures_match(*olmo, rules=tmp_path / "rules.toml")
    layers = {"embed_tokens-output": {"max_abs": 0.0}, "norm-output": {"max_abs": 1e-9}}
    limits = tmp_path / "t.json"
    limits.write_text(json.dumps({"schema": "layertui.thresholds/1", "layers": layers}))
    said = message(*pair(real, "llama-f32"), thresholds=limits)
    assert "first divergence: norm," in said and "t.json: norm-output" in said


def test_coverage_and_gaps(real: Path) -> None:
    llama = pair(real, "llama-f32")
    assert "87.0% of the outputs are paired, 95.0% required" in message(*llama, min_coverage=0.95)
    said = message(*llama, allow_gaps=False)
    assert "61 records have no partner: " in said and "and 51 more" in said


def test_unreadable_and_nan_fail(tmp_path: Path) -> None:
    ref, cand = two_sides(tmp_path, 3)
    values = np.load(layer_file(cand, 1))
    values[0, 0] = np.nan
    np.save(layer_file(cand, 1), values)
    said = message(ref, cand)
    assert "first divergence: layers.1.mlp, row 1: NAN" in said
    layer_file(cand, 0).write_bytes(layer_file(cand, 0).read_bytes()[:-4])
    assert "UNREADABLE" in message(ref, cand, check=False)


def test_captures_that_are_not_fit_fail(tmp_path: Path) -> None:
    ref, _ = two_sides(tmp_path, 3)
    for layer in (1, 2):
        layer_file(ref, layer).write_bytes(layer_file(ref, 0).read_bytes())
    said = message(ref, ref)
    assert "error in the reference: 3 outputs have the same bits in every layer" in said
    assert_captures_match(ref, ref, check=False)


def test_bad_limits(real: Path, tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="unknown policy"):
        assert_captures_match(*pair(real, "llama-f32"), policy="beauty")
    (tmp_path / "t.json").write_text("{}")
    with pytest.raises(RulesError, match=r"t\.json"):
        assert_captures_match(*pair(real, "llama-f32"), thresholds=tmp_path / "t.json")


def test_pytest_shows_the_message_and_the_caller_s_line(real: Path, tmp_path: Path) -> None:
    sides = ", ".join(repr(str(side)) for side in pair(real, "olmo2-f32"))
    (tmp_path / "test_port.py").write_text(
        "from layertui.compare import assert_captures_match\n"
        f"def test_port():\n    assert_captures_match({sides})\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_port.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 1
    assert "E       AssertionError: captures differ: 56 pairs" in done.stdout
    assert "test_port.py:3: AssertionError" in done.stdout and "testing.py" not in done.stdout


def test_importing_it_is_light() -> None:
    code = (
        "import sys; import layertui.compare\n"
        "print(sorted({'numpy', 'torch', 'textual', 'click'} & set(sys.modules)))\n"
        "from layertui.compare import assert_captures_match\n"
        "print(sorted({'numpy', 'torch', 'textual', 'click'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout.splitlines() == ["[]", "[]"], done.stderr
