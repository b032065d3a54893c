"""Fixtures: comparisons in which much is wrong, or whose names are hostile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from layertui.capture.open import open_capture
from layertui.compare.comparison import Comparison
from layertui.compare.rules.rules import Rules
from support.synthetic import capture, record, saved

NASTY = 'layers.0.\x1b[31m[bold]x[/bold]\r\u202e,"=-output'


@pytest.fixture
def odd(tmp_path: Path) -> Comparison:
    """NaN, Inf, zeros, an unreadable file, gaps, ignored records, other orders and shapes."""
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    bad = x.copy()
    bad[1, 2] = np.nan
    infinite = np.full_like(x, np.inf)
    left = {
        "a-output": x, "b-output": x, "z-output": x * 0, "e-output": x[:0], "n-output": bad,
        "i-output": infinite, "s-output": x, "only_left-output": x, "drop-output": x,
    }  # fmt: skip
    right = {
        "b-output": x, "a-output": bad, "z-output": x, "e-output": x[:0], "n-output": bad,
        "i-output": -infinite, "s-output": x.T.copy(), "broken-output": x, "drop-output": x,
    }  # fmt: skip
    ref = saved(tmp_path / "ref", left)
    saved(tmp_path / "cand", right)
    path = tmp_path / "cand" / "b-output.npy"
    path.write_bytes(path.read_bytes()[:-4])
    comparison = Comparison(ref, open_capture(tmp_path / "cand"), Rules(ignore=("drop",)))
    comparison.measure(use_cache=False)
    return comparison


@pytest.fixture
def nasty() -> Comparison:
    left = [record(NASTY), record("layers.0.[red]-output", error="no \x1b]0;title\x07 file")]
    right = [record(NASTY, (3, 3)), record("norm-output\n2-output")]
    found = Comparison(capture(left), capture(right))
    found.reference.prompt = "[link=x]\x1b[2J"
    found.reference.notes = ["a\x07note"]
    return found
