"""Alignment of long captures: the work grows with the records, not with their product.

Counted in calls of functions, the same on every machine; `benchmarks/alignment.py` has the
seconds.
"""

from __future__ import annotations

import cProfile

import pytest

from layertui.compare.aligned import Aligned
from layertui.compare.matching.align import align
from support.long_captures import CASES

FEW, MANY = 1000, 4000


def aligned(case: str, count: int) -> tuple[Aligned, int]:
    """The alignment of `count` records a side, and how many calls it took."""
    left, right = (make(count) for make in CASES[case][:2])
    with cProfile.Profile() as profile:
        alignment = align(left, right)
    calls = sum(entry.callcount for entry in profile.getstats())
    paired = sum(1 for row in alignment.rows if row.kind == "pair")
    assert len(alignment.rows) == len(left.records) + len(right.records) - paired
    expected = CASES[case][2]
    assert expected is None or paired == expected * count
    return alignment, calls


@pytest.mark.parametrize("case", CASES)
def test_work_grows_with_the_records(case: str) -> None:
    _, few = aligned(case, FEW)
    _, many = aligned(case, MANY)
    assert many < 1.6 * (MANY / FEW) * few
