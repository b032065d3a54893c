"""Alignment of long captures: the work grows with the records, not with their product.

Counted in calls of functions, the same on every machine; `benchmarks/alignment.py` has the
seconds.
"""

from __future__ import annotations

import cProfile
import random
from collections.abc import Callable

import pytest
from synthetic import capture, record

from layertui.capture.records import Capture
from layertui.compare.aligned import Aligned
from layertui.compare.matching.align import align

FEW, MANY = 1000, 4000


def named(pattern: str, order: bool = True, sizes: int = 1, share: int = 1) -> Maker:
    """`{0}` is the layer, `{1}` the module in it; `share` 2 makes half as many."""

    def make(count: int) -> Capture:
        names = (pattern.format(i // 10, i % 10) for i in range(count // share))
        return capture(
            [record(f"{n}-output", (1, 10, 64 + i % sizes)) for i, n in enumerate(names)], order
        )

    return make


def random_names(seed: int, order: bool = True, share: int = 1) -> Maker:
    def make(count: int) -> Capture:
        rng = random.Random(seed)
        names = [f"{rng.getrandbits(64):x}-output" for _ in range(count // share)]
        return capture(names, order)

    return make


Maker = Callable[[int], Capture]

# Both sides, and the share of the greater side's records that must be paired (None: any).
CASES: dict[str, tuple[Maker, Maker, float | None]] = {
    "same names": (named("layers.{0}.m{1}"), named("model.layers.{0}.m{1}"), 1),
    "alien names": (named("a.{0}.m{1}", sizes=7), named("b{0}.zz{1}", sizes=7), 1),
    "alien names, no order": (named("a.{0}.mm{1}", False), named("b{0}.yy{1}"), None),
    "random names": (random_names(1), random_names(2), 1),
    "random names, no order": (random_names(1, False), random_names(2, False), 0),
    "half as many": (named("layers.{0}.m{1}", share=2), named("h.{0}.m{1}"), 0.5),
    "half as many random": (random_names(1, share=2), random_names(2), 0.5),
    "half as many the other way": (random_names(1), random_names(2, share=2), 0.5),
    "gaps in every layer": (named("layers.{0}.m{1}"), named("layers.{0}.q{1}", False), None),
}


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
