"""Which rows laws are evaluated on."""

from __future__ import annotations

import pytest

from layertui.compare.laws.numerics.sampling import most_rows, sample_rows


@pytest.mark.parametrize(
    ("width", "rows"), [(1, 64), (2048, 64), (3072, 28), (4096, 16), (128256, 16)]
)
def test_wide_records_have_fewer_rows(width: int, rows: int) -> None:
    assert most_rows(width) == rows


@pytest.mark.parametrize("count", [1, 16, 17, 55, 5000])
@pytest.mark.parametrize("most", [16, 64])
def test_rows_are_distinct_with_both_ends_and_what_is_wanted(count: int, most: int) -> None:
    wanted = count // 3
    rows = sample_rows(count, [wanted, count + 7], most).tolist()
    assert rows == sorted(set(rows)) and len(rows) <= max(most, 1)
    assert len(rows) == min(count, most) or count > 4096
    assert {0, wanted, count - 1} <= set(rows)
