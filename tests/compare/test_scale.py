"""Alignment of captures with 10,000 records stays a matter of a second."""

from __future__ import annotations

import random
import time

import pytest
from synthetic import capture, record

from layertui.capture.record import Capture
from layertui.compare.align import align

RECORDS = 10_000
LIMIT = 4.0  # seconds on a machine that is busy with other things; idle it takes well under one


def named(pattern: str, count: int = RECORDS, order: bool = True, sizes: int = 1) -> Capture:
    """`{0}` is the layer, `{1}` the module in it."""
    names = (pattern.format(i // 10, i % 10) for i in range(count))
    return capture(
        [record(f"{n}-output", (1, 10, 64 + i % sizes)) for i, n in enumerate(names)], order
    )


def random_names(seed: int, count: int = RECORDS, order: bool = True) -> Capture:
    rng = random.Random(seed)
    return capture([f"{rng.getrandbits(64):x}-output" for _ in range(count)], order)


CASES = {
    "same names": (named("layers.{0}.m{1}"), named("model.layers.{0}.m{1}"), RECORDS),
    "alien names": (named("a.{0}.m{1}", sizes=7), named("b{0}.zz{1}", sizes=7), RECORDS),
    "alien names, no order": (named("a.{0}.mm{1}", order=False), named("b{0}.yy{1}"), None),
    "random names": (random_names(1), random_names(2), RECORDS),
    "random names, no order": (random_names(1, order=False), random_names(2, order=False), 0),
    "half as many": (named("layers.{0}.m{1}", RECORDS // 2), named("h.{0}.m{1}"), RECORDS // 2),
    "half as many random": (random_names(1, RECORDS // 2), random_names(2), RECORDS // 2),
    "half as many the other way": (random_names(1), random_names(2, RECORDS // 2), RECORDS // 2),
    "gaps in every layer": (named("layers.{0}.m{1}"), named("layers.{0}.q{1}", order=False), None),
}


@pytest.mark.parametrize("case", CASES)
def test_alignment_is_quick(case: str) -> None:
    left, right, expected = CASES[case]
    started = time.perf_counter()
    rows = align(left, right).rows
    seconds = time.perf_counter() - started
    print(f"{case}: {seconds:.2f} s")
    assert seconds < LIMIT
    paired = sum(1 for row in rows if row.kind == "pair")
    assert expected is None or paired == expected
    assert len(rows) == len(left.records) + len(right.records) - paired
