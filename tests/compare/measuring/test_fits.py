"""Fits to a sample's sums, runs of files and equal bytes: compiled, and in numpy's arithmetic."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.capture.dtypes import DTYPES
from layertui.capture.values import Array, upcast
from layertui.compare.measuring.error_structure import saturated
from layertui.compare.measuring.even_sample import even_sums_by_numpy
from layertui.compare.measuring.fits import Fits, Part, fits_by_numpy, fits_of
from layertui.compare.measuring.fused import Place, runs_of_file, same_bytes
from layertui.compare.measuring.kernel import NO_KERNEL, instruction_sets

FLOATS = [name for name, kind in DTYPES.items() if kind.kind == "float"]
needs_kernel = pytest.mark.skipif(not instruction_sets(), reason="installed without a compiler")


def assert_alike(found: Fits, expected: Fits) -> None:
    for name in ("row_scale", "channel_scale", "channel_offset"):
        mine, theirs = getattr(found, name), getattr(expected, name)
        assert (mine is None) == (theirs is None)
        if isinstance(mine, Part):
            np.testing.assert_allclose(astuple(mine)[:4], astuple(theirs)[:4], 1e-6, 1e-12)
    for name in ("factor", "offset", "channel_excess"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), 1e-7, 1e-14)
    for name in ("row_error", "channel_error"):
        np.testing.assert_allclose(getattr(found, name)[:2], getattr(expected, name)[:2], 1e-9)


@needs_kernel
@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 60),
    st.sampled_from(["noise", "row", "channel", "offset", "spike", "factor"]),
    st.sampled_from([0.0, 0.5]),
)  # fmt: skip
def test_compiled_fits_are_those_of_numpy(
    seed: int, rows: int, channels: int, fault: str, zeros: float
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, channels)) * (rng.random((rows, channels)) >= zeros)
    y = x + 1e-3 * rng.standard_normal(x.shape)
    if fault == "row":
        y[rows // 2] *= 1.5
    elif fault == "channel":
        y[:, channels // 2] *= 0.7
    elif fault == "offset":
        y[:, -1] += 3.0
    elif fault == "spike":
        y[0, 0] += 1e6
    elif fault == "factor":
        y *= 1.25
    sums = even_sums_by_numpy(x, y)
    if not 0 < sums.plain[0] < np.inf:
        return
    expected = fits_by_numpy(sums)
    for instructions in instruction_sets():
        assert_alike(fits_of(sums, instructions), expected)


@needs_kernel
def test_faults_stand_where_they_are_on_every_processor() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 50))
    y = x + 1e-4 * rng.standard_normal(x.shape)
    y[:, 17] *= 1.01
    y[23] += 0.1 * x[23]
    sums = even_sums_by_numpy(x, y)
    for instructions in instruction_sets():
        found = fits_of(sums, instructions)
        assert found.row_scale is not None and found.row_scale.top_at == 23
        assert found.row_scale.top_size == pytest.approx(0.1, rel=0.05)
        assert found.row_error[2] == 23
        columns = fits_of(even_sums_by_numpy(x.T.copy(), y.T.copy()), instructions)
        assert columns.channel_scale is not None and columns.channel_scale.top_at == 23


@needs_kernel
def test_no_kernel_means_numpy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((12, 9))
    y = x + 0.01 * rng.standard_normal(x.shape)
    ends = [float(x.min()), float(x.max()), float(y.min()), float(y.max())]
    sums, mine = even_sums_by_numpy(x, y), saturated(x, y, ends)
    compiled = fits_of(sums)
    monkeypatch.setenv(NO_KERNEL, "1")
    assert_alike(fits_of(sums), compiled)
    assert saturated(x, y, ends) == mine
    with open(tmp_path / "x", "wb+") as file:
        place = Place(file.fileno(), 0, "float32")
        assert runs_of_file(place, np.array([[0, 0]]), 0) is None
        assert same_bytes(place, place, 0) is None


@needs_kernel
@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 500),
    st.sampled_from(["none", "both", "high", "low", "other", "one"]),
)  # fmt: skip
def test_clamped_values_are_counted_alike(seed: int, count: int, which: str) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(count)[None]
    y = x.copy()
    if which in ("both", "high"):
        y = np.minimum(y, 0.5)
    if which in ("both", "low"):
        y = np.maximum(y, -0.4)
    if which == "other":
        x, y = np.minimum(y, 0.3), x
    if which == "one":
        y[0, 0] = 5.0
    ends = [float(x.min()), float(x.max()), float(y.min()), float(y.max())]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(NO_KERNEL, "1")
        expected = saturated(x, y, ends)
    if which == "high" and count > 100:
        assert expected > 0
    for instructions in instruction_sets():
        assert saturated(x, y, ends, instructions) == expected


# --- files


def runs(draw: np.random.Generator, count: int, most: int) -> Array:
    firsts = draw.integers(0, count, 7)
    return np.stack([firsts, np.minimum(draw.integers(0, most, 7), count - firsts)], 1)


@needs_kernel
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("count, most", [(5, 9), (1000, 60), (200_000, 150_000)])
def test_runs_of_a_file_are_its_numbers(tmp_path: Path, dtype: str, count: int, most: int) -> None:
    draw = np.random.default_rng(count)
    raw = draw.integers(0, 256, count * DTYPES[dtype].itemsize).astype(np.uint8)
    (tmp_path / "x").write_bytes(b"head!!!!" + raw.tobytes())
    with np.errstate(all="ignore"):
        values = upcast(raw.view(DTYPES[dtype].storage), dtype).astype(np.float64)
        wanted = runs(draw, count, most)
        expected = np.concatenate([values[at : at + n] for at, n in wanted])
    with open(tmp_path / "x", "rb") as file:
        place = Place(file.fileno(), 8, dtype)
        for instructions in instruction_sets():
            found = runs_of_file(place, wanted, expected.size, instructions)
            np.testing.assert_array_equal(found, expected)


@needs_kernel
def test_runs_beyond_the_file_or_of_another_size_are_errors(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(40))
    with open(tmp_path / "x", "rb") as file:
        place = Place(file.fileno(), 0, "float32")
        with pytest.raises(EOFError, match="became shorter"):
            runs_of_file(place, np.array([[8, 3]]), 3)
        for wanted, size in (([[0, 5]], 4), ([[-1, 4]], 4), ([[0, -4], [0, 8]], 4)):
            with pytest.raises(ValueError, match="no such runs"):
                runs_of_file(place, np.array(wanted), size)
    with pytest.raises(OSError):
        runs_of_file(Place(999_999, 0, "float32"), np.array([[0, 1]]), 1)


@needs_kernel
@pytest.mark.parametrize("size", [0, 1, 40, 1 << 16, 300_001])
def test_bytes_are_compared_to_the_last(tmp_path: Path, size: int) -> None:
    data = np.random.default_rng(size).integers(0, 256, size).astype(np.uint8)
    (tmp_path / "x").write_bytes(b"ab" + data.tobytes())
    with open(tmp_path / "x", "rb") as file:
        first, second = (Place(file.fileno(), at, "float32") for at in (2, 0))
        assert same_bytes(first, first, size) is True
        for at in {0, size // 2, size - 1} if size else ():
            other = data.copy()
            other[at] ^= 1
            (tmp_path / "y").write_bytes(other.tobytes())
            with open(tmp_path / "y", "rb") as changed:
                assert same_bytes(first, Place(changed.fileno(), 0, "float32"), size) is False
        with pytest.raises(EOFError):
            same_bytes(second, second, size + 3)
