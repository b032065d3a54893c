"""The compiled pass against numpy's arithmetic, over every kind of number and every pair of dtypes.

Counts, extremes and places are the same to the last digit, sums to one part in a million of what
float64 has.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.capture.dtypes import DTYPES
from layertui.capture.values import Array, upcast
from layertui.compare.measuring.fused import Place, one_pass, pass_over_files
from layertui.compare.measuring.kernel import (
    NO_KERNEL,
    compiled_module,
    in_use,
    instruction_sets,
)
from layertui.compare.measuring.sums import Sums, Tolerance
from support.sums.held import (
    ANY,
    FLOATS,
    SCENES,
    TOLERANCE,
    TOLERANCES,
    assert_held,
    encoded,
    in_scene,
    near_tolerances,
)

NARROW = [name for name in FLOATS if name != "float64"]
needs_kernel = pytest.mark.skipif(not instruction_sets(), reason="installed without a compiler")
pytestmark = [needs_kernel, pytest.mark.filterwarnings("error")]


def in_one_pass(
    x: Array, y: Array, dtypes: tuple[str, str], tolerance: Tolerance, sets: str | None = None
) -> Sums | None:
    """The sums by the compiled pass; None where it leaves them to numpy."""
    if sets is None:
        sums = Sums(tolerance)
        return sums if sums.add_raw(x, y, dtypes, 0) else None
    found = one_pass(x, y, dtypes, (tolerance.rtol, tolerance.atol), instructions=sets)
    if found is None:
        return None
    sums = Sums(tolerance)
    sums.merge(found, 0)
    return sums


def assert_same(
    x: Array, y: Array, dtypes: tuple[str, str], tolerance: Tolerance = TOLERANCE,
    sets: str | None = None,
) -> bool:  # fmt: skip
    """Both ways give the same; False where there is only numpy's."""
    fused = in_one_pass(x, y, dtypes, tolerance, sets)
    if fused is None:
        return False
    assert_held(fused, x, y, dtypes, tolerance)
    return True


# Any numbers at all


@given(st.lists(st.tuples(ANY, ANY), max_size=70), st.sampled_from(FLOATS), st.sampled_from(FLOATS))
@settings(max_examples=150, deadline=None)
def test_any_numbers_of_any_pair_of_dtypes(
    pairs: list[tuple[float, float]], left: str, right: str
) -> None:
    values = np.array(pairs, np.float64).reshape(-1, 2)
    x, y = encoded(values[:, 0].copy(), left), encoded(values[:, 1].copy(), right)
    if x.size == 0:
        assert in_one_pass(x, y, (left, right), TOLERANCE) is None
        return
    for sets in instruction_sets():
        assert assert_same(x, y, (left, right), sets=sets) or "float64" in (left, right)


BITS = st.tuples(st.integers(0, 2**16 - 1), st.integers(0, 2**16 - 1))
HALVES = st.sampled_from(["float16", "bfloat16"])


@given(st.lists(BITS, min_size=1, max_size=40), HALVES, HALVES)
@settings(max_examples=100, deadline=None)
def test_any_bits_of_16_bit_types(pairs: list[tuple[int, int]], left: str, right: str) -> None:
    bits = np.array(pairs, np.uint16)
    x, y = bits[:, 0].copy(), bits[:, 1].copy()
    x = x.view(np.float16) if left == "float16" else x
    y = y.view(np.float16) if right == "float16" else y
    with np.errstate(all="ignore"):
        assert assert_same(x, y, (left, right))


@pytest.mark.parametrize("dtype", NARROW)
def test_every_number_of_a_narrow_type(dtype: str) -> None:
    """All bits of 8 and 16 bits, against themselves and against zero; the same through numpy."""
    if dtype == "float32":
        pytest.skip("there are too many")
    size = 8 * DTYPES[dtype].itemsize
    raw = np.arange(2**size).astype(f"u{size // 8}").view(np.dtype(DTYPES[dtype].storage))
    for other in (raw, np.zeros_like(raw), raw[::-1].copy()):
        for at in range(0, raw.size, 4096):
            assert assert_same(raw[at : at + 4096], other[at : at + 4096], (dtype, dtype))


# Longer blocks: several tiles, tails, and what makes a tile leave float32

LENGTHS = [1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 127, 128, 129, 1023, 1024, 1025, 2048, 5003,
           8191, 8192, 8193, 17001]  # fmt: skip


@given(
    st.sampled_from(sorted(SCENES)), st.sampled_from(LENGTHS), st.sampled_from(FLOATS),
    st.sampled_from(FLOATS), st.integers(0, 99),
    st.sampled_from([1.0, 1e-30, 1e-20, 1e-14, 1e-6, 1e6, 1e14, 1e16, 1e30]),
    st.sampled_from([0.0, 1.0, 1e4]),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_faults_of_any_magnitude_and_length(
    scene: str, length: int, left: str, right: str, seed: int, size: float, mean: float
) -> None:
    x, y = in_scene(scene, length, seed, mean)
    for sets in instruction_sets():
        dtypes = (left, right)
        assert assert_same(encoded(size * x, left), encoded(size * y, right), dtypes, sets=sets)


@pytest.mark.parametrize("size", [1e-200, 1e-150, 1e150, 1e300])
def test_squares_beyond_float64_are_left_to_numpy(size: float) -> None:
    x = size * np.random.default_rng(0).standard_normal(3000)
    assert in_one_pass(x, 2 * x, ("float64", "float64"), TOLERANCE) is None
    whole, plain = Sums(TOLERANCE), Sums(TOLERANCE)
    whole.add(x, 2 * x, 0)
    plain.add_by_numpy(x, 2 * x, 0)
    assert repr(whole) == repr(plain)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
@pytest.mark.parametrize("tolerance", TOLERANCES)
def test_tolerances(dtype: str, tolerance: tuple[float, float]) -> None:
    x, y = near_tolerances(odd=True)
    raw = encoded(x, dtype), encoded(y, dtype)
    assert assert_same(*raw, (dtype, dtype), Tolerance(*tolerance))


# Files, which the compiled pass reads itself


def in_a_file(path: Path, raw: Array, before: int) -> Place:
    """`raw` in a file behind so many other bytes; the test's end closes it."""
    path.write_bytes(bytes(before) + raw.tobytes())
    return Place(os.open(path, os.O_RDONLY), before, path.suffix[1:])


@pytest.mark.parametrize("right", ["float32", "bfloat16", "float16", "float8_e4m3fn", "float64"])
@pytest.mark.parametrize("left", ["float32", "bfloat16", "float64"])
def test_files_of_many_pieces_are_what_their_numbers_are(
    left: str, right: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal(600_001)
    y = x * (1 + 1e-3 * rng.standard_normal(x.size))
    x[200_000], y[550_007], y[131_071] = 0.0, np.nan, 9.0
    raw = encoded(x, left), encoded(y, right)
    places = [
        in_a_file(tmp_path / f"{side}.{dtype}", one, before)
        for side, dtype, one, before in zip("xy", (left, right), raw, (0, 13), strict=True)
    ]
    try:
        found = pass_over_files(places[0], places[1], x.size, (1.3e-6, 1e-5))
        later = pass_over_files(*(p.after(100_000) for p in places), 500_001, (1.3e-6, 1e-5))
        with pytest.raises(EOFError):
            pass_over_files(places[0], places[1].after(1), x.size, (1.3e-6, 1e-5))
    finally:
        for place in places:
            os.close(place.descriptor)
    with pytest.raises(OSError, match="descriptor"):
        pass_over_files(places[0], places[1], 1, (0.0, 0.0))
    for from_files, start in ((found, 0), (later, 100_000)):
        want = one_pass(raw[0][start:], raw[1][start:], (left, right), (1.3e-6, 1e-5))
        assert from_files is not None and want is not None
        for name in ("max_abs", "max_rel", "mismatched", "nonfinite_mismatch", "equal"):
            assert getattr(from_files, name) == getattr(want, name), name
        assert from_files.max_abs[1] == (131_071 - start if start == 0 else want.max_abs[1])
        for name in ("moments", "reference", "candidate"):
            assert getattr(from_files, name) == pytest.approx(getattr(want, name), rel=1e-9), name


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_files_are_read_for_some_time_and_then_from_there_on(tmp_path: Path, dtype: str) -> None:
    x = np.random.default_rng(3).standard_normal(1_500_007)
    x[[7, 900_000]] = np.nan, np.inf
    raw = encoded(x, dtype), encoded(x[::-1], dtype)
    places = [
        in_a_file(tmp_path / f"{name}.{dtype}", side, 0)
        for name, side in zip("xy", raw, strict=True)
    ]
    found, parts = None, 0
    while found is None or found.taken < x.size:
        done = 0 if found is None else found.taken
        found = pass_over_files(*places, x.size, (1e-3, 1e-3), found, seconds=0.0)
        assert found is not None and found.taken > done
        parts += 1
    whole = pass_over_files(*places, x.size, (1e-3, 1e-3))
    for place in places:
        os.close(place.descriptor)
    assert found == whole  # to the last digit
    assert parts > 1


@pytest.mark.parametrize("at", [0, 15, 16, 63, 64, 1023, 1024, 1087, 4999])
def test_the_greatest_differences_are_found_wherever_they_are(at: int) -> None:
    x = np.random.default_rng(4).standard_normal(5000).astype(np.float32)
    for dtype in ("float32", "float64", "bfloat16"):
        y = x * np.float32(1 + 2**-8)
        y[at] = x[at] + 9
        left, right = encoded(x, dtype), encoded(y, dtype)
        for instructions in instruction_sets():
            found = one_pass(left, right, (dtype, dtype), (0.0, 0.0), instructions=instructions)
            assert found is not None and found.max_abs[1] == at, (dtype, instructions)
            p, q = (upcast(side, dtype).astype(np.float64) for side in (left, right))
            relative = np.abs(q - p) / np.maximum(np.abs(p), 1e-8)
            assert found.max_rel[:2] == (relative.max(), relative.argmax())


def test_files_whose_squares_leave_float64_are_left_to_numpy(tmp_path: Path) -> None:
    x = 1e200 * np.random.default_rng(0).standard_normal(3000)
    place = in_a_file(tmp_path / "x.float64", x, 0)
    assert pass_over_files(place, place, x.size, (0.0, 0.0)) is None
    os.close(place.descriptor)


# What is no job for the compiled pass


def test_views_with_strides_and_other_kinds_are_left_to_numpy() -> None:
    x = np.arange(64, dtype=np.float32)
    dtypes = "float32", "float32"
    assert in_one_pass(x[::2], x[::2].copy(), dtypes, TOLERANCE) is None
    assert in_one_pass(x[::-1], x, dtypes, TOLERANCE) is None
    assert in_one_pass(x.astype(">f4"), x, dtypes, TOLERANCE) is None
    odd = np.zeros(65 * 4, np.uint8)[1:257].view(np.float32)
    assert in_one_pass(odd, x, dtypes, TOLERANCE) is None
    assert in_one_pass(x.astype(np.int32), x, ("int32", "float32"), TOLERANCE) is None
    assert in_one_pass(x, x, dtypes, Tolerance(0, 0, "float32")) is None
    whole, plain = Sums(TOLERANCE), Sums(TOLERANCE)
    whole.add(x[::2], x[1::2], 0)
    plain.add_by_numpy(x[::2], x[1::2], 0)
    assert repr(whole) == repr(plain)


def test_sides_of_different_lengths_are_an_error() -> None:
    x = np.zeros(8, np.float32)
    with pytest.raises(ValueError, match="lengths"):
        one_pass(x, x[:7], ("float32", "float32"), (0.0, 0.0))
    with pytest.raises(ValueError, match="instructions"):
        one_pass(x, x, ("float32", "float32"), (0.0, 0.0), instructions="abacus")


@pytest.mark.parametrize("said", ["", "1"])
def test_an_environment_variable_turns_it_off(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NO_KERNEL, said)
    assert bool(instruction_sets()) == (said == "")
    assert in_use().startswith("numpy (LAYERTUI" if said else "compiled (")
    x = np.ones(10, np.float32)
    assert (in_one_pass(x, x, ("float32", "float32"), TOLERANCE) is None) == (said == "1")


def test_where_says_which_is_used() -> None:
    command = [sys.executable, "-m", "layertui.cli", "--where"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"sums    {in_use()}" in done.stdout.splitlines()


def test_a_compiled_pass_of_another_version_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    module = compiled_module()
    assert module is not None
    monkeypatch.setattr(module, "interface", module.interface - 1)
    assert compiled_module() is None and "another version" in in_use()
    monkeypatch.delattr(module, "interface")
    assert compiled_module() is None
    monkeypatch.undo()
    assert compiled_module() is module
