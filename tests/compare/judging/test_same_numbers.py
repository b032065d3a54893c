"""Which records have the same numbers: found whatever order they were added up in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from layertui.compare.comparison import open_comparison
from layertui.compare.judging.dataflow import flow_of
from layertui.compare.judging.same_numbers import Numbers, SeenNumbers
from support.plain_numbers import measured
from support.small_captures import write_side


@pytest.mark.parametrize("shape", [(40, 8), (1500, 1000)])
def test_records_that_lie_in_another_order(tmp_path: Path, shape: tuple[int, int]) -> None:
    """Of long ones the sums are gathered in parts, which are others for other orders."""
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    arrays = [x, np.asfortranarray(x), x.copy(), x[:, ::-1].copy()]
    sides = (
        write_side(tmp_path / "reference", arrays),
        write_side(tmp_path / "candidate", [np.float32(1.001) * array for array in arrays]),
    )
    comparison = open_comparison(*map(str, sides))
    assert comparison.measure(use_cache=False)
    flow = flow_of(comparison.rows, comparison.measurements)
    assert [flow[row.index].same for row in comparison.rows] == [None, 0, 0, 0]


def numbers(seed: int, count: int = 320) -> np.ndarray:
    x = np.random.default_rng(seed).uniform(-1, 1, count).astype(np.float32)
    x[:2] = -1, 1
    return x


def numbers_of(x: np.ndarray) -> Numbers:
    found = Numbers.of(measured(x, x))
    assert found is not None
    return found


def test_other_numbers_with_the_same_extremes_are_others() -> None:
    seen = SeenNumbers()
    for seed in range(300):
        assert seen.first(seed, numbers_of(numbers(seed))) is None
    nearly = numbers(7)
    nearly[5] += 1e-4
    assert seen.first(300, numbers_of(nearly)) is None
    assert seen.first(301, numbers_of(numbers(7))) == 7


@pytest.mark.parametrize(("part", "same"), [(1e-9, True), (-1e-9, True), (1e-6, False),
                                            (-1e-6, False)])  # fmt: skip
@pytest.mark.parametrize("name", ["mean", "std"])
def test_sums_that_were_rounded_in_another_way(name: str, part: float, same: bool) -> None:
    seen, first = SeenNumbers(), numbers_of(numbers(0))
    other = first._replace(**{name: getattr(first, name) + part})
    assert first.same(other) == other.same(first) == same
    assert seen.first(0, first) is None
    assert seen.first(1, other) == (0 if same else None)


def test_what_statistics_cannot_tell() -> None:
    for x in (np.ones(320, np.float32), numbers(0, 7), np.full(320, np.nan, np.float32)):
        assert Numbers.of(measured(x, x)) is None


def test_gradients_are_no_activations() -> None:
    seen, found = SeenNumbers(), numbers_of(numbers(0))
    assert seen.first(2, found, "gradient") is None
    assert seen.first(3, found) is None
    assert seen.first(4, found, "gradient") == 2
