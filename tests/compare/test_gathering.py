"""What routers, dropout and equal bits show is gathered once for the same measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from layertui.compare.comparison import open_comparison
from layertui.compare.judging import sameness
from layertui.compare.judging.noise import dropout, expert_routing


def test_records_are_gone_through_once(real: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def counted(module: Any, name: str) -> None:
        plain = getattr(module, name)

        def call(*args: Any) -> Any:
            calls.append(name)
            return plain(*args)

        monkeypatch.setattr(module, name, call)

    for module, name in ((expert_routing, "find_routings"), (dropout, "judging_of"),
                         (sameness, "equal_bits")):  # fmt: skip
        counted(module, name)
    sides = [str(real / "llama-f32" / side) for side in ("torch_dump", "max_dump")]
    comparison = open_comparison(*sides)
    assert comparison.measure(use_cache=False)
    assert comparison.laws is not None  # judged before the laws and after them
    assert sorted(calls) == ["equal_bits", "find_routings", "judging_of"]
    before = comparison.verdicts[:]
    comparison.settle()
    assert len(calls) == 3 and comparison.verdicts == before
    index = next(i for i, result in enumerate(comparison.measurements) if result is not None)
    result = comparison.measurements[index]
    assert result is not None
    comparison.take(index, result)
    comparison.settle()
    assert len(calls) == 6  # of another result everything is gathered anew
