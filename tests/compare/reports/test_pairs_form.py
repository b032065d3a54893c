"""The pairs one by one: its numbers are those that torch.testing prints."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from layertui.compare.comparison import Comparison
from layertui.compare.judging.policy import policy_named
from layertui.compare.reports import Settings, part_of, whole
from support.synthetic import saved

X = np.random.default_rng(11).standard_normal((3, 5)).astype(np.float32)


def report(comparison: Comparison, only_diverged: bool = False) -> str:
    settings = Settings("layertui compare ref cand", only_diverged=only_diverged)
    return whole([part_of(comparison, "pairs", settings)], "pairs", settings)


@pytest.mark.parametrize(("rtol", "atol"), [(1e-3, 1e-5), (0.0, 0.25), (1e-6, 0.0)])
def test_numbers_are_those_of_torch(rtol: float, atol: float, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    y = X + np.float32(0.3) * (np.abs(X) > 1)
    sides = [saved(tmp_path / name, {"a-output": x}) for name, x in (("ref", X), ("cand", y))]
    comparison = Comparison(*sides, policy=policy_named("dtype", None, rtol, atol))
    comparison.measure(use_cache=False)
    text = report(comparison)
    with pytest.raises(AssertionError) as told:
        torch.testing.assert_close(torch.tensor(y), torch.tensor(X), rtol=rtol, atol=atol)
    words = str(told.value)
    mismatched = re.search(r"Mismatched elements: (\d+) / (\d+)", words)
    assert mismatched and f"mismatched elements: {mismatched[1]} / {mismatched[2]} " in text
    for kind, allowed in (("absolute", atol), ("relative", rtol)):
        found = re.search(rf"Greatest {kind} difference: (\S+) at index \((.*?)\)", words)
        mine = re.search(
            rf"greatest {kind} difference: (\S+) at index \((.*?)\) \(up to (\S+) allowed\)", text
        )
        assert found and mine and mine[2] == found[2]
        assert float(mine[1]) == pytest.approx(float(found[1]), rel=1e-3)
        assert float(mine[3]) == allowed


def test_gaps_and_what_cannot_be_compared_are_there(odd: Comparison) -> None:
    text = report(odd)
    assert re.match(r"\d+ matching pairs, 1 only in the reference, 1 only in the candidate\n", text)
    assert "only in the reference:\n  only_left-output" in text
    assert "only in the candidate:\n  broken-output" in text
    for word in ("NAN", "UNREADABLE", "SHAPE", "DIVERGED", "identical"):
        assert f"-output: {word}" in text
    short = report(odd, only_diverged=True)
    assert "-output: identical" not in short and "-output: SHAPE" in short


def test_lines_fit_a_terminal(odd: Comparison) -> None:
    for line in report(odd).splitlines():
        assert len(line) <= 80 or "/" in line or line.startswith("- ")
