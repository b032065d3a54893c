"""Which rows laws are evaluated on."""

from __future__ import annotations

import numpy as np
import pytest

from layertui.compare.laws.law import Case
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


def test_thinned_elements_keep_the_largest_channels_and_what_belongs_together() -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal((16, 14336))
    x[:, 77] *= 50.0
    case = Case("reference", 2 * x, np.arange(16), {"x": x}, {"output": 2.0**-8, "x": 2.0**-8})
    some = case.thinned_elements()
    assert some.output.size <= 1 << 16 and len(some.output) >= 8
    assert np.array_equal(some.output, 2 * some.inputs["x"])
    assert np.abs(some.output).max() == np.abs(2 * x[some.rows]).max()


def test_narrow_cases_and_unlike_inputs_keep_all_channels() -> None:
    y, narrow = np.ones((16, 14336)), np.ones((8, 512))
    unlike = Case("reference", y, np.arange(16), {"x": y[:, :9]}, {})
    assert unlike.thinned_elements().output.shape[1] == 14336
    assert Case("reference", narrow, np.arange(8), {}, {}).thinned_elements().output.shape[1] == 512
