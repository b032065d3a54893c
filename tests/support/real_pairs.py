"""The real captures, compared once."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from layertui.compare.comparison import Comparison, open_comparison


@cache
def measured(real: Path, name: str) -> Comparison:
    comparison = open_comparison(str(real / name / "torch_dump"), str(real / name / "max_dump"))
    assert comparison.measure(use_cache=False, threads=2)
    return comparison
