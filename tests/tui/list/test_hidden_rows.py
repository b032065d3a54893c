"""How many failing rows the list does not show, of few and of many."""

from __future__ import annotations

from pathlib import Path

import pytest

from layertui.compare.comparison import open_comparison
from layertui.compare.model import Failure
from layertui.tui.list.row_model import hidden_failing


@pytest.mark.parametrize("failing", [30, 3_000])
def test_failing_rows_that_are_not_shown_are_counted(
    big_pair: tuple[Path, Path], failing: int
) -> None:
    comparison = open_comparison(*map(str, big_pair))
    for index in range(failing):
        comparison.take(index, Failure("no shape in common", level="shape"))
    third = list(range(0, 10_000, 3))
    assert hidden_failing(comparison, third) == failing - len(range(0, failing, 3))
    assert hidden_failing(comparison, []) == failing
    assert hidden_failing(comparison, list(range(10_000))) == 0
    assert hidden_failing(comparison, range(10_000)) == 0
