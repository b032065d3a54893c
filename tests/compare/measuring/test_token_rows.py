"""Numbers row by row against plain numpy, however the blocks fall."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from layertui.compare.comparison import Comparison
from layertui.compare.measuring.per_token import TokenRows, token_rows
from layertui.compare.model import Failure
from layertui.compare.reports.forms.aiu_fms import aiu_report
from support.synthetic import saved


def rows_of(tmp_path: Path, x: np.ndarray, y: np.ndarray) -> tuple[TokenRows, np.ndarray]:
    comparison = Comparison(
        saved(tmp_path / "a", {"m-output": x}), saved(tmp_path / "b", {"m-output": y})
    )
    pieces: list[np.ndarray] = []
    found = token_rows(comparison.task(0), visit=lambda shape, start, sizes: pieces.append(sizes))
    assert isinstance(found, TokenRows)
    return found, np.concatenate(pieces) if pieces else np.empty(0)


@pytest.mark.parametrize(
    "shape", [(3, 5), (2, 3, 7), (1, 3, 70_000), (2, 2_200_000), (11,), (), (900, 100)]
)
def test_rows_are_those_of_numpy(tmp_path: Path, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(len(shape))
    x = rng.standard_normal(shape).astype(np.float32)
    y = (x + 1e-3 * rng.standard_normal(shape)).astype(np.float32)
    found, sizes = rows_of(tmp_path, x, y)
    a = x.astype(np.float64).reshape(-1, shape[-1] if shape else 1)
    b = y.astype(np.float64).reshape(a.shape)
    assert np.array_equal(sizes, np.abs(b - a).reshape(-1))
    assert found.mse == pytest.approx(((b - a) ** 2).mean(1))
    norms = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    assert found.relative_l2 == pytest.approx(np.linalg.norm(b - a, axis=1) / norms[0])
    assert found.cosine == pytest.approx((a * b).sum(1) / (norms[0] * norms[1]))
    assert found.max_abs == pytest.approx(np.abs(b - a).max(1))


def test_nan_on_one_side_spoils_its_row_only(tmp_path: Path) -> None:
    x = np.ones((3, 4), np.float32)
    y = x.copy()
    y[1, 2], y[2, 0] = np.nan, 3.0
    found, sizes = rows_of(tmp_path, x, y)
    assert np.isnan(found.cosine).tolist() == [False, True, False]
    assert np.isnan(found.max_abs).tolist() == [False, True, False]
    assert np.isnan(found.mse).tolist() == np.isnan(found.relative_l2).tolist()
    assert np.isnan(sizes).sum() == 1 and sizes[8] == 2.0


def test_nan_on_both_sides_is_left_out(tmp_path: Path) -> None:
    x = np.array([[np.nan, 1, 2], [np.inf, np.inf, np.inf]], np.float32)
    found, _ = rows_of(tmp_path, x, x.copy())
    assert found.cosine[0] == 1.0 and found.mse[0] == 0.0
    assert np.isnan(found.cosine[1])  # nothing was compared


def test_zeros(tmp_path: Path) -> None:
    x = np.array([[0, 0], [0, 0], [1, 0]], np.float32)
    y = np.array([[0, 0], [1, 0], [0, 0]], np.float32)
    found, _ = rows_of(tmp_path, x, y)
    assert found.cosine[0] == 1.0 and found.relative_l2[0] == 0.0
    assert np.isnan(found.cosine[1:]).all() and np.isnan(found.relative_l2[1])


def test_whole_numbers_complex_and_empty(tmp_path: Path) -> None:
    found, sizes = rows_of(tmp_path / "i", np.arange(6).reshape(2, 3), np.arange(6).reshape(2, 3))
    assert found.mse.tolist() == [0.0, 0.0] and not sizes.any()
    x = np.array([[1 + 1j, 2], [0, 1j]], np.complex64)
    found, sizes = rows_of(tmp_path / "c", x, x * 1j)
    assert sizes == pytest.approx([2, 8**0.5, 0, 2**0.5]) and found.cosine == pytest.approx(
        [0.0, 0.0]
    )
    found, sizes = rows_of(tmp_path / "e", np.empty((0, 4), np.float32), np.empty((0, 4)))
    assert found.rows == 0 and sizes.size == 0 and found.mse.size == 0


def test_a_short_file_is_a_failure(tmp_path: Path) -> None:
    x = np.ones((4, 4), np.float32)
    left, right = saved(tmp_path / "a", {"m-output": x}), saved(tmp_path / "b", {"m-output": x})
    comparison = Comparison(left, right)
    path = tmp_path / "b" / "m-output.npy"
    path.write_bytes(path.read_bytes()[:-4])
    found = token_rows(comparison.task(0))
    assert isinstance(found, Failure) and found.side == "candidate"


def test_aiu_form(tmp_path: Path) -> None:
    x = np.ones((2, 4), np.float32)
    bad = x.copy()
    bad[0, 0] = np.nan
    left = saved(tmp_path / "a", {"m-output": x, "n-output": x, "n-input_0": x})
    right = saved(tmp_path / "b", {"m-output": x * 3, "n-output": bad, "n-input_0": x})
    report = aiu_report([Comparison(left, right)] * 2)
    assert list(report) == ["model_id", "abs_diff", "cos_sim_avg", "cos_sim_mean"]
    assert report["abs_diff"] == {"m": pytest.approx(8.0), "n": None}
    assert report["cos_sim_avg"] == report["cos_sim_mean"] == {"m": pytest.approx(1.0), "n": None}
