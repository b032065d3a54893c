"""What has changed, in words, as much as fits."""

from __future__ import annotations

from pathlib import Path

import pytest

from layertui.compare.changes.changes import CHANGES
from layertui.compare.changes.earlier import RowChanges, changes_on_rows, earlier_of
from layertui.compare.comparison import Comparison, open_comparison
from layertui.tui.before.change_words import (
    change_named,
    change_text,
    headline_forms,
    headline_that_fits,
    worst_of,
)
from layertui.tui.commands import CommandError
from support.screens.tui_captures import write_pair


def measured(folder: Path, wrong: tuple[int, ...], count: int = 40) -> Comparison:
    reference, candidate = write_pair(folder, count, wrong)
    comparison = open_comparison(str(reference), str(candidate))
    comparison.measure()
    return comparison


@pytest.fixture
def changes(tmp_path: Path) -> RowChanges:
    """12 is cured, 20 new, 31 as before; rows from 35 on are added."""
    before, after = measured(tmp_path / "a", (12, 31), 35), measured(tmp_path / "b", (20, 31))
    return changes_on_rows(earlier_of(before), earlier_of(after), after)


def test_the_headline_gives_way_bit_by_bit(changes: RowChanges) -> None:
    forms = headline_forms(changes)
    assert forms[0].endswith("; 5 not compared before")
    assert "(1 cured, 1 new, 0 worse, 5 added, 33 same)" in forms[1]
    assert forms[-1] == "L1 self_attn.k_proj cured; next: L2 input_layernorm"
    widths = [len(form) for form in forms[:-3]]
    assert widths == sorted(widths, reverse=True)
    for room in range(200):
        found = headline_that_fits(changes, room)
        assert len(found) <= room or found == forms[-1]
    assert headline_that_fits(changes, 72) == f"{forms[-1]}  (1 cured, 1 new)"


def test_a_row_in_words(changes: RowChanges) -> None:
    words = change_text(changes, 12)
    assert words == "DIVERGED, relative L2 5.0e-01, introduced here; cured"
    assert change_text(changes, 20) == "identical, relative L2 0; new"
    assert change_text(changes, 36) == "not there; added"


def test_of_several_rows_the_worst_change_counts(changes: RowChanges) -> None:
    assert worst_of(changes, range(40)) == 20
    assert worst_of(changes, (3, 12, 36)) == 12
    assert worst_of(changes, (3, 4)) == 3


def test_changes_by_their_beginning() -> None:
    assert [change_named(name[:2]) for name in CHANGES] == list(CHANGES)
    for text in ("", "x", "newer"):
        with pytest.raises(CommandError, match="only what"):
            change_named(text)
