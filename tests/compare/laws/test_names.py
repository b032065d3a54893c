"""Numbers in the words of laws."""

from __future__ import annotations

import pytest

from layertui.compare.laws.names import factor_words


@pytest.mark.parametrize(
    "value, words",
    [
        (1.0, "1"), (1.003, "1.003"), (0.99, "0.99"), (1.01, "1.01"), (1.0000123, "1.000012"),
        (0.5, "0.5"), (12.3456, "12.3"), (-1.0, "-1"), (0.0625, "0.0625"), (1.1, "1.1"),
        (0.9996, "0.9996"),
    ],
)  # fmt: skip
def test_a_factor_near_one_shows_how_far_it_is_off(value: float, words: str) -> None:
    assert factor_words(value) == words
