"""The form for text dumps: levels never contradict the verdict beside them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layertui.capture.open import open_capture
from layertui.compare.comparison import Comparison
from layertui.compare.judging.policy import policy_named
from layertui.compare.model import Measurement, Verdict
from layertui.compare.reports import Settings, part_of, whole
from layertui.compare.reports.forms.layer_dumps import LEVELS, level_of
from layertui.compare.reports.row_report import RowReport, row_report
from layertui.compare.vocabulary import LEVELS as VERDICTS
from support.synthetic import saved

X = np.random.default_rng(7).standard_normal((1, 4, 8)).astype(np.float32)
NAMES = ("input_embeddings", "layer_0_attn_norm_output", "layer_0_attn_q_rope",
         "layer_0_layer_output", "layer_1_attn_norm_output", "final_norm_output")  # fmt: skip


def write(folder: Path, side: str, values: dict[str, np.ndarray]) -> Path:
    folder.mkdir(parents=True)
    for name, x in values.items():
        shape = "x".join(map(str, x.shape))
        lines = [f"# Shape: {shape}", *(f"{value:.9g}" for value in x.reshape(-1))]
        (folder / f"{side}_{name}.txt").write_text("\n".join(lines) + "\n")
    return folder


def compared(folder: Path, offsets: dict[str, float], **limits: float) -> Comparison:
    """Dumps of X; the C++ side's tensors are off by so much at one element."""
    left = dict.fromkeys(NAMES, X)
    right = {name: X.copy() for name in NAMES}
    for name, offset in offsets.items():
        right[name][0, 0, 0] += offset
    sides = write(folder / "py", "py", left), write(folder / "cpp", "cpp", right)
    policy = policy_named("default", None, limits.get("rtol"), limits.get("atol"))
    found = Comparison(*map(open_capture, sides), policy=policy)
    found.measure(use_cache=False)
    return found


def report(comparison: Comparison, only_diverged: bool = False) -> str:
    settings = Settings("layertui compare py cpp", only_diverged=only_diverged)
    return whole([part_of(comparison, "layer-dumps", settings)], "layer-dumps", settings)


def levels(text: str) -> dict[str, str]:
    found = {}
    for line in text.splitlines():
        words = line.split()
        if words and words[-1] in LEVELS and words[0] in NAMES:
            found[words[0]] = words[-1]
    return found


def test_levels_by_the_greatest_difference(tmp_path: Path) -> None:
    offsets = {NAMES[1]: 5e-5, NAMES[2]: 5e-4, NAMES[3]: 5e-3, NAMES[4]: 0.5}
    comparison = compared(tmp_path, offsets, rtol=0.0, atol=0.01)
    text = report(comparison)
    assert levels(text) == {
        NAMES[0]: "EXCELLENT", NAMES[1]: "EXCELLENT", NAMES[2]: "GOOD", NAMES[3]: "ACCEPTABLE",
        NAMES[4]: "SIGNIFICANT", NAMES[5]: "EXCELLENT",
    }  # fmt: skip
    assert text.startswith(f"first significant difference: {NAMES[4]}\n")
    assert "3 EXCELLENT, 1 GOOD, 1 ACCEPTABLE, 1 SIGNIFICANT" in text
    assert "allclose at rtol 0, atol 0.01: 5 of 6 tensors\nmismatched elements: 1 / 192" in text
    assert levels(report(comparison, only_diverged=True)) == {NAMES[4]: "SIGNIFICANT"}
    for line in text.splitlines():
        assert len(line) <= 80 or str(tmp_path) in line or "- " in line


def test_a_strict_tolerance_makes_small_differences_significant(tmp_path: Path) -> None:
    comparison = compared(tmp_path, {NAMES[2]: 5e-5}, rtol=0.0, atol=1e-6)
    found = levels(report(comparison))
    assert found[NAMES[2]] == "SIGNIFICANT"
    assert [name for name, level in found.items() if level == "SIGNIFICANT"] == [NAMES[2]]


def test_nothing_significant(tmp_path: Path) -> None:
    text = report(compared(tmp_path, {}))
    assert text.startswith("no significant difference in 6 tensors\n")
    assert "allclose" not in text  # no tolerance was asked for
    assert "0 SIGNIFICANT" in text


def test_what_one_side_lacks_is_named(tmp_path: Path) -> None:
    compared(tmp_path, {})
    (tmp_path / "cpp" / f"cpp_{NAMES[3]}.txt").unlink()
    found = Comparison(*(open_capture(tmp_path / side) for side in ("py", "cpp")))
    found.measure(use_cache=False)
    assert f"only in the reference:\n  {NAMES[3]}" in report(found)


@pytest.fixture(scope="module")
def one_row(tmp_path_factory: pytest.TempPathFactory) -> RowReport:
    folder = tmp_path_factory.mktemp("one")
    sides = [saved(folder / side, {"a-output": X, "b-output": X}) for side in ("ref", "cand")]
    comparison = Comparison(*sides)
    comparison.measure(use_cache=False)
    return row_report(comparison, 0)


@given(level=st.sampled_from(VERDICTS), size=st.floats(0, 1e9), doubtful=st.booleans())
def test_a_level_never_contradicts_the_verdict(
    one_row: RowReport, level: str, size: float, doubtful: bool
) -> None:
    assert isinstance(one_row.result, Measurement)
    verdict = Verdict(level, "", doubtful="unlike" if doubtful else None)  # type: ignore[arg-type]
    found = level_of(
        replace(one_row, verdict=verdict, result=replace(one_row.result, max_abs=size))
    )
    if verdict.fails and not doubtful:
        assert found == "SIGNIFICANT"
    elif level in ("unreadable", "pending", "missing") or doubtful:
        assert found == "-"
    else:
        assert found in LEVELS[:3]
        if level == "drift" or size >= 1e-3:
            assert found == "ACCEPTABLE"
