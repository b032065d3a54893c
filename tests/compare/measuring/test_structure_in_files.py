"""The structure of a sample that lies in files, in one call of the compiled pass: the same as of
the sample read and looked at step by step.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.capture.dtypes import DTYPES
from layertui.capture.records import Locator
from layertui.capture.values import Array, upcast
from layertui.compare.measuring import error_structure
from layertui.compare.measuring.bounded_sample import cut_of, read_cut
from layertui.compare.measuring.error_structure import (
    Structure,
    structure_in_files,
    structure_of,
)
from layertui.compare.measuring.fused import Place, sample_of_files
from layertui.compare.measuring.kernel import NO_KERNEL, instruction_sets
from layertui.compare.measuring.pair_reader import PairReader, SideTask

pytestmark = pytest.mark.skipif(not instruction_sets(), reason="installed without a compiler")

FLOATS = [name for name, kind in DTYPES.items() if kind.kind == "float"]
SHAPES = [
    (3, 5), (16,), (4, 4), (1, 1000), (37, 61), (5, 4, 300), (40, 4096), (70_000,), (3, 90_001),
    (2, 300, 257),
]  # fmt: skip


def stored(folder: Path, name: str, raw: Array, dtype: str, shape: tuple[int, ...]) -> SideTask:
    path = folder / name
    path.write_bytes(b"a head.." + raw.tobytes())
    return SideTask(Locator(str(path), offset=8, shape=shape, dtype=dtype), dtype)


def in_dtype(values: Array, dtype: str) -> Array:
    """The raw elements of `dtype` nearest to so many numbers, of narrow ones any at random."""
    storage = np.dtype(DTYPES[dtype].storage)
    if dtype in ("float64", "float32", "float16"):
        return values.astype(storage)
    if dtype == "bfloat16":
        return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    every = upcast(np.arange(256, dtype=np.uint8).view(storage), dtype).astype(np.float64)
    codes = np.flatnonzero(np.isfinite(every))
    order = codes[np.argsort(every[codes], kind="stable")]
    at = np.searchsorted(every[order], values).clip(0, len(order) - 1)
    return order[at].astype(np.uint8).view(storage)


def pair(
    folder: Path, shape: tuple[int, ...], dtypes: tuple[str, str], seed: int, fault: str = "noise"
) -> tuple[SideTask, SideTask]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    y = x * (1 + 0.05 * rng.standard_normal(shape))
    if fault == "massive":
        x.flat[x.size // 2] = y.flat[x.size // 2] = 300.0
        y[..., -1] *= 1.4
    if fault == "clamped":
        y = y.clip(-1.0, 1.0)
    sides = zip(("x", "y"), (x, y), dtypes, strict=True)
    return tuple(  # type: ignore[return-value]
        stored(folder, name, in_dtype(values.reshape(-1), dtype), dtype, shape)
        for name, values, dtype in sides
    )


def both_ways(
    sides: tuple[SideTask, SideTask], peak: tuple[int, ...] | None = None
) -> tuple[Structure | None, Structure | None]:
    """In one call, and step by step."""
    with PairReader(*sides) as reader, np.errstate(all="ignore"):
        cut = cut_of(reader.shape, peak)
        places = [side.source.place(side.view) for side in reader.sides.values()]
        assert places[0] is not None and places[1] is not None
        at_once = structure_in_files((places[0], places[1]), cut)
        return at_once, structure_of(read_cut(reader, cut))


def assert_same(found: Structure | None, expected: Structure | None) -> None:
    assert found is not None and expected is not None
    assert found.even_error == pytest.approx(expected.even_error, rel=1e-12)
    assert replace(found, even_error=0.0) == replace(expected, even_error=0.0)


@pytest.mark.parametrize("fault", ["noise", "massive", "clamped"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "dtypes", [("float32", "float32"), ("bfloat16", "float16"), ("float64", "bfloat16")]
)
def test_one_call_sees_what_the_steps_see(
    tmp_path: Path, shape: tuple[int, ...], dtypes: tuple[str, str], fault: str
) -> None:
    sides = pair(tmp_path, shape, dtypes, 3, fault)
    peak = tuple(size - 1 for size in shape)
    found, expected = both_ways(sides, peak)
    if np.prod(shape) < 16:
        assert found is None and expected is None
    else:
        assert_same(found, expected)


@pytest.mark.parametrize("dtype", FLOATS)
def test_every_dtype_is_read(tmp_path: Path, dtype: str) -> None:
    assert_same(*both_ways(pair(tmp_path, (60, 70), (dtype, dtype), 5)))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 90), channels=st.integers(1, 90),
    size=st.sampled_from([1e-30, 1e-3, 1.0, 100.0]), zeros=st.sampled_from([0.0, 0.4]),
)  # fmt: skip
def test_any_size_of_table_and_of_numbers(
    tmp_path_factory: pytest.TempPathFactory, seed: int, rows: int, channels: int, size: float,
    zeros: float,
) -> None:  # fmt: skip
    if rows * channels < 16:
        return
    rng = np.random.default_rng(seed)
    x = size * rng.standard_normal((rows, channels)) * (rng.random((rows, channels)) >= zeros)
    x[0, 0] = size
    y = x * (1 + 1e-3 * rng.standard_normal(x.shape))
    folder = tmp_path_factory.mktemp("tables")
    sides = [
        stored(folder, name, values.astype(np.float32), "float32", x.shape)
        for name, values in (("x", x), ("y", y))
    ]
    assert_same(*both_ways((sides[0], sides[1])))


@pytest.mark.parametrize("what", ["nan", "inf", "mask", "zeros"])
def test_odd_samples_are_left_to_the_steps(tmp_path: Path, what: str) -> None:
    x = np.random.default_rng(1).standard_normal((20, 30)).astype(np.float32)
    y = x * np.float32(1.01)
    if what == "zeros":
        x[:] = 0
    else:
        at = {"nan": np.nan, "inf": np.inf, "mask": np.finfo(np.float32).min}[what]
        (x if what == "mask" else y)[3, 4] = at
    sides = [stored(tmp_path, name, v, "float32", x.shape) for name, v in (("x", x), ("y", y))]
    found, expected = both_ways((sides[0], sides[1]))
    assert found is None
    assert (expected is None) == (what == "zeros")


def test_every_processor_sees_the_same(tmp_path: Path) -> None:
    sides = pair(tmp_path, (37, 61), ("float32", "bfloat16"), 9, "massive")
    with PairReader(*sides) as reader:
        cut = cut_of(reader.shape)
        x, y = (side.source.place(side.view) for side in reader.sides.values())
        assert x is not None and y is not None
        limits = error_structure.sample_limits(cut.rows, cut.channels)
        told = [sample_of_files(x, y, cut.runs(), limits, each) for each in instruction_sets()]
    first = told[0]
    assert first is not None
    for other in told[1:]:
        assert other is not None and other[3:] == first[3:]
        np.testing.assert_allclose(other.plain, first.plain, 1e-12)
        np.testing.assert_allclose(other.fits, first.fits, 1e-6, 1e-9)
        assert other.even_error == pytest.approx(first.even_error, rel=1e-12)


def test_a_file_that_became_shorter_and_no_such_sample_are_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = pair(tmp_path, (20, 30), ("float32", "float32"), 2)
    limits = error_structure.sample_limits(20, 30)
    runs = np.array([[0, 600]])

    def ask(**changed: Any) -> object:
        with open(x.locator.path, "rb") as left, open(y.locator.path, "rb") as right:
            places = Place(left.fileno(), 8, "float32"), Place(right.fileno(), 8, "float32")
            return sample_of_files(*places, changed.pop("runs", runs), replace(limits, **changed))

    assert ask() is not None
    for changed in ({"runs": np.array([[0, 599]])}, {"runs": np.array([[-1, 600]])}):
        with pytest.raises(ValueError, match="no such runs"):
            ask(**changed)
    for changed in ({"rows": 0}, {"even": (20, 5, 1)}, {"even": (2, 5, 31)}):
        with pytest.raises(ValueError, match="no such sample"):
            ask(**changed)
    with open(y.locator.path, "r+b") as file:
        file.truncate(1000)
    with pytest.raises(EOFError, match="became shorter"):
        ask()
    monkeypatch.setenv(NO_KERNEL, "1")
    assert ask() is None
