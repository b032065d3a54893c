"""The median is the same of few numbers and of many, which numpy looks for."""

from __future__ import annotations

import math
import random
from statistics import StatisticsError, median

import pytest

from layertui.compare.judging.noise.middle import MANY_NUMBERS, middle_of


@pytest.mark.parametrize(
    "count", [1, 2, MANY_NUMBERS - 1, MANY_NUMBERS, MANY_NUMBERS + 1, 5 * MANY_NUMBERS]
)
def test_it_is_the_median(count: int) -> None:
    numbers = random.Random(count)
    values = [numbers.gauss(0.0, 3.0) for _ in range(count)]
    before = list(values)
    assert middle_of(values) == median(values)
    assert values == before


@pytest.mark.parametrize("count", [MANY_NUMBERS, MANY_NUMBERS + 1])
def test_of_numbers_that_are_infinite_or_alike(count: int) -> None:
    assert middle_of([1.5] * count) == 1.5
    most = [math.inf] * (count // 2 + 2)
    assert middle_of([*most, *[0.0] * (count - len(most))]) == math.inf


def test_of_nothing_there_is_none() -> None:
    with pytest.raises(StatisticsError):
        middle_of([])
