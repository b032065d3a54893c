"""Measuring pairs of files: every type, recipes, partial records, memory, and what goes wrong."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.capture.dtypes import DTYPES
from layertui.capture.records import Locator
from layertui.compare.measuring import measure as measuring
from layertui.compare.measuring.measure import measure, tolerance_of
from layertui.compare.measuring.pair_reader import (
    CancelledError,
    PairTask,
    SideTask,
    coarser,
)
from layertui.compare.model import Failure, Measurement
from layertui.compare.recipes.parse import parse_recipe
from support.plain_numbers import plain

pytestmark = pytest.mark.filterwarnings("error")

Maker = Callable[..., SideTask]


@pytest.fixture
def stored(tmp_path: Path) -> Maker:
    """Write raw bits to a file of their own and say where they lie."""
    count = 0

    def make(bits: np.ndarray, dtype: str | None = None, recipe: str = "") -> SideTask:
        nonlocal count
        count += 1
        path = tmp_path / f"record{count}"
        path.write_bytes(bits.tobytes())
        name = dtype or str(bits.dtype)
        return SideTask(Locator(str(path), name, bits.shape), name, recipe)

    return make


def measured(reference: SideTask, candidate: SideTask, **options: object) -> Measurement:
    found = measure(PairTask(reference, candidate, **options))  # type: ignore[arg-type]
    assert isinstance(found, Measurement), found
    return found


def failed(reference: SideTask, candidate: SideTask) -> Failure:
    found = measure(PairTask(reference, candidate))
    assert isinstance(found, Failure), found
    assert "\n" not in found.reason
    return found


def bits_of(values: np.ndarray, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """The stored bits of values in a torch type, and the numbers that they stand for."""
    tensor = torch.from_numpy(values).to(getattr(torch, dtype))
    size = tensor.element_size()
    raw = tensor.view({1: torch.uint8, 2: torch.int16}[size]).numpy().view(DTYPES[dtype].storage)
    return raw, tensor.to(torch.float32).numpy()


NARROW = ["bfloat16", "float16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz"]


@pytest.mark.parametrize("dtype", [name for name in NARROW if hasattr(torch, name)])
@pytest.mark.parametrize("other", ["float32", "same"])
def test_narrow_types(stored: Maker, dtype: str, other: str) -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((3, 30_001)).astype(np.float32)
    values[0, :3] = 0, np.nan, 1e-3
    noisy = (values * (1 + 0.1 * rng.standard_normal(values.shape))).astype(np.float32)
    x_bits, x = bits_of(values, dtype)
    y_bits, y = bits_of(noisy, dtype) if other == "same" else (noisy, noisy)
    m = measured(stored(x_bits, dtype), stored(y_bits, dtype if other == "same" else "float32"))
    want = plain(x.reshape(-1), y.reshape(-1))
    for name in ("mse", "relative_l2", "max_abs", "max_rel", "mean_abs", "scale", "sqnr_db"):
        assert getattr(m, name) == pytest.approx(want[name], rel=3e-5), name
    rtol, atol = m.rtol, m.atol
    assert m.mismatched == np.count_nonzero(~np.isclose(y, x, rtol, atol, equal_nan=True))
    assert m.max_abs_index is not None
    assert abs(float(y[m.max_abs_index]) - float(x[m.max_abs_index])) == m.max_abs
    assert m.shape == (3, 30_001)
    same = measured(stored(x_bits, dtype), stored(x, "float32"))
    assert same.identical


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float8_e5m2"])
def test_all_bit_patterns_are_equal_to_themselves(stored: Maker, dtype: str) -> None:
    storage = np.dtype(DTYPES[dtype].storage)
    bits = np.arange(1 << 8 * storage.itemsize, dtype=np.uint32).astype(f"u{storage.itemsize}")
    task = stored(bits.view(storage), dtype)
    m = measured(task, task)
    assert m.identical
    assert m.reference is not None
    assert (m.reference.inf, m.reference.zeros) == (2, 2)
    assert m.reference.nan == m.count - m.compared - 2
    rounded = replace(task, recipe="cast(float16) | cast(float8_e4m3fn)")
    assert measured(rounded, rounded).identical


@pytest.mark.parametrize("reals", ["complex64", "complex128"])
def test_complex_numbers_count_as_elements(stored: Maker, reals: str) -> None:
    rng = np.random.default_rng(1)
    x = (rng.standard_normal((300, 401)) + 1j * rng.standard_normal((300, 401))).astype(reals)
    y = x.copy()
    y[299, 400] += 3 + 4j
    y[0, 7] += 1
    x[5, 5], y[5, 5] = complex(np.nan, 1), complex(np.nan, 1)
    x[6, 6] = complex(0, np.inf)
    x[7, 7] = y[7, 7] = 0
    m = measured(stored(x), stored(y))
    assert (m.count, m.compared, m.mismatched, m.nonfinite_mismatch) == (120_300, 120_298, 3, 1)
    assert (m.max_abs, m.max_abs_index) == (pytest.approx(4.0), (299, 400))
    assert m.reference is not None
    assert (m.reference.nan, m.reference.inf, m.reference.zeros) == (1, 1, 1)
    assert m.mismatched_fraction == 3 / 120_300


def test_complex_against_real_keeps_the_digits(stored: Maker) -> None:
    x = np.array([1 + 1e-12, 2.0])
    m = measured(stored(x), stored(x.astype(np.complex64)))
    assert m.max_abs == pytest.approx(1e-12, rel=1e-3)
    whole = np.array([2**40 + 1, 5])
    assert measured(stored(whole), stored(whole.astype(np.complex128))).identical
    cast = measured(stored(x.astype(np.float32), recipe="cast(complex64)"), stored(np.complex64(x)))
    assert cast.identical


def test_any_byte_but_zero_is_true(stored: Maker) -> None:
    odd = np.array([0, 1, 2, 255], np.uint8)
    m = measured(stored(odd, "bool"), stored(np.array([False, True, True, True])))
    assert m.identical
    assert measured(stored(odd, "bool"), stored(np.array([0, 1, 1, 1]))).identical


def test_whole_numbers(stored: Maker) -> None:
    x = np.array([[1, 2**60], [2**63 - 1, -5]])
    y = np.array([[1, 2**60 + 1], [2**63 - 1, 0]], np.uint64)
    m = measured(stored(x), stored(y))
    assert (m.mismatched, m.max_abs, m.max_abs_index, m.rtol, m.atol) == (2, 5.0, (1, 1), 0.0, 0.0)


@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0), (1, 1, 1)])
def test_small_shapes(stored: Maker, shape: tuple[int, ...]) -> None:
    x = np.ones(shape, np.float32)
    m = measured(stored(x), stored(x + np.float32(1)))
    assert m.shape == shape
    assert m.count == x.size
    assert m.max_abs == (1.0 if x.size else None)
    assert m.max_abs_index == ((0,) * len(shape) if x.size else None)
    assert measured(stored(x), stored(x.copy())).identical


# Views

VIEW_RECIPES = [
    "", "transpose(0, 1)", "[1:, ::3]", "flip(0) | flip(1)", "[::-2] | transpose(0, 1)",
    "unsqueeze(1) | permute(2, 0, 1)", 'rearrange("a (b c) -> c a b", b=7)', "roll(5, 1)",
    "transpose(0, 1) | reshape(-1)", "index_select(0, [3, 1, 1])", "select(1, 7)", "[3, 5]",
    "reshape(-1, 7) | transpose(0, 1) | [:, 4:-4:2]",
]  # fmt: skip


@pytest.mark.parametrize("recipe", VIEW_RECIPES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_layout_measures_as_the_plain_arrays(stored: Maker, recipe: str, dtype: str) -> None:
    rng = np.random.default_rng(2)
    values = rng.standard_normal((301, 700)).astype(np.float32)
    bits, x = bits_of(values, dtype) if dtype == "bfloat16" else (values, values)
    moved = parse_recipe(recipe).apply(x)
    y = (moved + 1e-2 * rng.standard_normal(moved.shape)).astype(np.float32)
    m = measured(stored(bits, dtype, recipe), stored(y.copy()))
    want = plain(np.ravel(moved), np.ravel(y))
    assert (m.shape, m.count) == (moved.shape, moved.size)
    for name in ("mse", "relative_l2", "max_rel", "mean_abs"):
        if want[name] is not None:
            assert getattr(m, name) == pytest.approx(want[name], rel=3e-5), name
    assert m.max_abs_index is not None
    x_at, y_at = float(moved[m.max_abs_index]), float(y[m.max_abs_index])
    assert (m.max_abs_values, m.max_abs) == ((x_at, y_at), abs(y_at - x_at))
    swapped = measured(stored(y.copy()), stored(bits, dtype, recipe))
    assert swapped.mse == pytest.approx(m.mse, rel=1e-6)
    assert swapped.max_abs_index == m.max_abs_index


def test_both_sides_moved_and_a_strided_record(stored: Maker) -> None:
    x = np.random.default_rng(3).standard_normal((500, 300)).astype(np.float32)
    left = stored(x, recipe="transpose(0, 1)")
    assert measured(left, stored(np.ascontiguousarray(x.T))).identical
    assert measured(left, left).identical
    strided = replace(left.locator, shape=(300, 500), strides=(1, 300))
    assert measured(left, SideTask(strided, "float32")).identical


def test_casts_round_before_comparing(stored: Maker) -> None:
    x = np.random.default_rng(4).standard_normal((50, 60)).astype(np.float32)
    bits, rounded = bits_of(x, "bfloat16")
    assert not measured(stored(x), stored(bits, "bfloat16")).identical
    task = PairTask(stored(x.T.copy(), recipe="cast(bfloat16) | transpose(0, 1)"),
                    stored(bits, "bfloat16"))  # fmt: skip
    found = measure(task)
    assert isinstance(found, Measurement)
    assert found.identical
    assert (found.rtol, found.atol) == (1.6e-2, 1e-5)
    assert measured(stored(bits, "bfloat16", "cast(float32)"), stored(rounded)).rtol == 1.3e-6


def test_a_shift_between_two_sides(stored: Maker) -> None:
    x = np.random.default_rng(5).standard_normal((40, 30)).astype(np.float32)
    later = np.roll(x, 1, 0)
    m = measured(stored(x), stored(later, recipe="shift(1, 0)"))
    assert m.identical
    assert m.shape == (39, 30)
    assert not measured(stored(x), stored(later)).identical
    assert measured(stored(x, recipe="shift(-1, 0)"), stored(later)).identical


def test_concat_joins_records_of_its_side(stored: Maker) -> None:
    rng = np.random.default_rng(6)
    q, k, v = (rng.standard_normal((9, n)).astype(np.float32) for n in (8, 4, 4))
    parts = (("k", stored(k).locator), ("v", stored(v).locator))
    left = replace(stored(q, recipe='concat(-1, "k", "v")'), others=parts)
    fused = stored(np.concatenate([q, k, v], 1))
    assert measured(left, fused).identical
    assert parse_recipe(left.recipe).others == ("k", "v")
    assert "no record 'v'" in failed(replace(left, others=parts[:1]), fused).reason
    other = (parts[0], ("v", stored(v.astype(np.float64)).locator))
    assert "another dtype" in failed(replace(left, others=other), fused).reason
    Path(parts[1][1].path).unlink()
    gone = failed(left, fused)
    assert (gone.side, gone.level) == ("reference", "unreadable")
    assert parts[1][1].path in gone.reason


# What is asked for


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        ("float32", "bfloat16", "bfloat16"), ("float16", "bfloat16", "bfloat16"),
        ("int64", "float32", "float32"), ("float64", "float32", "float32"),
        ("float8_e4m3fn", "bfloat16", "float8_e4m3fn"), ("int64", "bool", "int64"),
    ],
)  # fmt: skip
def test_the_coarser_type_decides(first: str, second: str, wanted: str) -> None:
    assert coarser(first, second) == coarser(second, first) or wanted == "int64"
    assert coarser(first, second) == wanted


def test_tolerances(stored: Maker) -> None:
    x = np.ones(4, np.float32)
    task = PairTask(stored(x), stored(x), rtol=0.5)
    assert (tolerance_of(task).rtol, tolerance_of(task).atol) == (0.5, 1e-5)
    assert tolerance_of(task).ulp_dtype == ""
    whole = SideTask(Locator("x", "int64", (4,)), "int64")
    exact = tolerance_of(PairTask(whole, whole))
    assert (exact.rtol, exact.atol) == (0.0, 0.0)


FLOATS = [name for name, kind in DTYPES.items() if kind.kind == "float" and hasattr(torch, name)]


@pytest.mark.parametrize("dtype", [name for name in FLOATS if "float4" not in name])
def test_ulp_is_the_spacing_of_the_type(stored: Maker, dtype: str) -> None:
    """Neighbours in the type are one unit apart, from its smallest normal number on."""
    if dtype in ("float32", "float64"):
        x = np.array([1.0, 1e-3, 777.0], dtype)
        y = np.nextafter(x, x.dtype.type(np.inf))
    else:
        storage = np.dtype(DTYPES[dtype].storage)
        tiny = torch.finfo(getattr(torch, dtype)).tiny
        one, least = (bits_of(np.array([v], np.float32), dtype)[0] for v in (1.0, tiny))
        x = np.concatenate([one, least]).view(f"u{storage.itemsize}")
        y = (x + 1).view(storage)
        x = x.view(storage)
    m = measured(stored(x, dtype), stored(y, dtype), ulp=True)
    assert m.ulp == 1.0
    assert measured(stored(x, dtype), stored(x, dtype), ulp=True).ulp == 0.0
    assert measured(stored(x, dtype), stored(y, dtype)).ulp is None


def test_whole_numbers_have_no_ulp_and_say_so(stored: Maker) -> None:
    x = np.arange(4)
    m = measured(stored(x), stored(x), ulp=True)
    assert m.ulp is None
    assert "floating-point" in m.reasons["ulp"]


def test_tasks_and_results_can_be_sent_to_another_process(stored: Maker) -> None:
    x = np.arange(4, dtype=np.float32)
    task = PairTask(stored(x), stored(x + 1))
    assert pickle.loads(pickle.dumps(task)) == task
    found = measure(task)
    assert pickle.loads(pickle.dumps(found)) == found


def test_the_size_of_blocks_does_not_matter(stored: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    x = rng.standard_normal((100, 371)).astype(np.float32)
    y = x + rng.standard_normal((100, 371)).astype(np.float32)
    for recipe in ("", "transpose(0, 1)"):
        moved = parse_recipe(recipe).apply(y)
        task = PairTask(stored(x, recipe=recipe), stored(moved.copy()))
        whole = measure(task)
        assert isinstance(whole, Measurement)
        for block, panel in ((100, 1000), (371, 5000), (7, 7)):
            pieces = measuring.pieces
            monkeypatch.setattr(measuring, "PANEL", panel)
            monkeypatch.setattr(
                measuring, "pieces", lambda shape, most=block, cut=pieces: cut(shape, most)
            )
            parts = measure(task)
            monkeypatch.undo()
            assert isinstance(parts, Measurement)
            assert parts.max_abs_index == whole.max_abs_index
            assert parts.max_rel_index == whole.max_rel_index
            assert (parts.count, parts.mismatched) == (whole.count, whole.mismatched)
            assert parts.mse == pytest.approx(whole.mse, rel=1e-5)


# Partial records


def text_dump(path: Path, x: np.ndarray, shown: int) -> SideTask:
    """A dump that shows the first and last `shown` of the elements."""
    lines = [f"# Tensor: t\n# Shape: {'x'.join(map(str, x.shape))}\n# Total elements: {x.size}\n"
             f"# Data type size: 4 bytes\n# First {shown} elements:\n"]  # fmt: skip
    flat = x.reshape(-1)
    lines += [f"{value:.9e}\n" for value in flat[:shown]]
    lines += [f"# Last {shown} elements:\n", *(f"{value:.9e}\n" for value in flat[-shown:])]
    path.write_text("".join(lines))
    return SideTask(Locator(str(path), "float32", x.shape, reader="text"), "float32")


def test_partial_against_whole_and_partial(tmp_path: Path, stored: Maker) -> None:
    rng = np.random.default_rng(8)
    x = rng.standard_normal((40, 50)).astype(np.float32)
    y = (x + 1e-3 * rng.standard_normal((40, 50))).astype(np.float32)
    y[0, 3], y[39, 49], y[20, 20] = 50, np.nan, 1e9
    dump = text_dump(tmp_path / "py_x.txt", x, 60)
    kept = np.r_[0:60, 1940:2000]
    for other in (stored(y), text_dump(tmp_path / "cpp_y.txt", y, 60)):
        m = measured(dump, other)
        assert (m.partial, m.count, m.compared, m.shape) == ((120, 2000), 120, 119, (40, 50))
        assert (m.nonfinite_mismatch, m.max_abs_index) == (1, (0, 3))
        assert m.mse == pytest.approx(plain(x.reshape(-1)[kept], y.reshape(-1)[kept])["mse"])
    assert measured(dump, text_dump(tmp_path / "cpp_z.txt", y, 10)).partial == (20, 2000)
    assert measured(stored(x), dump).identical


def test_partial_records_through_a_layout(tmp_path: Path, stored: Maker) -> None:
    x = np.arange(2000, dtype=np.float32).reshape(40, 50)
    dump = replace(text_dump(tmp_path / "py_x.txt", x, 60), recipe="transpose(0, 1)")
    moved = np.ascontiguousarray(x.T)
    assert measured(dump, stored(moved)).identical
    moved[1, 0] = -5
    m = measured(dump, stored(moved))
    assert (m.max_abs_index, m.max_abs, m.partial) == ((1, 0), 6.0, (120, 2000))
    apart = replace(dump, recipe="[20, :]")
    assert "no element" in failed(apart, stored(x[20])).reason
    huge = stored(x)
    huge = replace(huge, locator=replace(huge.locator, shape=(1, 1), strides=(0, 0)))
    assert failed(dump, huge).level == "shape"


# What goes wrong


def test_shapes_that_differ(stored: Maker) -> None:
    x = np.zeros((3, 4), np.float32)
    found = failed(stored(x), stored(x.T.copy()))
    assert (found.reason, found.level) == ("shapes differ: [3, 4] against [4, 3]", "shape")


@pytest.mark.parametrize("recipe", ["squeeze(0)", "nonsense", "cast(int32)", "concat(0, \"gone\")",
                                    "reshape(5)", "select(0, 9)", "shift(9, 0)",
                                    " | ".join(["unsqueeze(0)"] * 70)])  # fmt: skip
def test_recipes_that_do_not_fit(stored: Maker, recipe: str) -> None:
    x = np.zeros((3, 4), np.float32)
    assert failed(stored(x, recipe=recipe), stored(x)).level == "shape"
    assert failed(stored(x), stored(x, recipe=recipe)).level == "shape"


@given(st.text("squeeze()transposflip[]:,-|0123 ", max_size=30))
@settings(max_examples=100, deadline=None)
def test_no_recipe_raises(tmp_path_factory: pytest.TempPathFactory, recipe: str) -> None:
    path = tmp_path_factory.getbasetemp() / "six"
    path.write_bytes(np.zeros(6, np.float32).tobytes())
    side = SideTask(Locator(str(path), "float32", (2, 3)), "float32")
    found = measure(PairTask(side, replace(side, recipe=recipe)))
    assert isinstance(found, Measurement | Failure)


def test_records_that_cannot_be_read_name_their_side(stored: Maker, tmp_path: Path) -> None:
    good = stored(np.zeros((3, 4), np.float32))
    cut = stored(np.zeros((3, 4), np.float32))
    os.truncate(cut.locator.path, 40)
    gone = replace(good, locator=replace(good.locator, path=str(tmp_path / "gone")))
    folder = replace(good, locator=replace(good.locator, path=str(tmp_path)))
    text = replace(good, locator=replace(good.locator, reader="text"))
    for bad, words in ((cut, "truncated"), (gone, "No such file"), (folder, ""), (text, "")):
        for recipe in ("", "roll(1, 0)"):
            task = replace(bad, recipe=recipe)
            both = (failed(task, good), "reference"), (failed(good, task), "candidate")
            for found, side in both:
                assert (found.side, found.level) == (side, "unreadable")
                assert words in found.reason
                assert bad.locator.path in found.reason


def test_a_measurement_can_be_cancelled_between_blocks(
    stored: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "AT_A_TIME", 0.0)  # of any machine's time a piece is too long
    x = np.zeros(3_000_000, np.float32)
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > 2

    with pytest.raises(CancelledError):
        measure(PairTask(stored(x), stored(x)), cancelled)
    assert asked == 3


SHRINKING = """
import os, sys
from layertui.capture.records import Locator
from layertui.compare.measuring import measure as measuring
from layertui.compare.measuring.measure import measure
from layertui.compare.measuring.pair_reader import PairTask, SideTask
measuring.AT_A_TIME = 0.0  # asked between all pieces
left, right, recipe = sys.argv[1:]
shape = (1000, 2000)
calls = 0
def cut():
    global calls
    calls += 1
    if calls == 3:
        os.truncate(right, 4096)
    return False
task = PairTask(SideTask(Locator(left, "float32", shape), "float32", recipe),
                SideTask(Locator(right, "float32", shape), "float32", recipe))
found = measure(task, cut)
print(type(found).__name__, getattr(found, "side", ""), getattr(found, "reason", ""))
"""


@pytest.mark.parametrize("recipe", ["", "[::-1, ::2]"])
def test_a_file_that_shrinks_is_the_failure_of_its_side(stored: Maker, recipe: str) -> None:
    x = np.zeros((1000, 2000), np.float32)
    left, right = stored(x).locator.path, stored(x).locator.path
    done = subprocess.run(
        [sys.executable, "-c", SHRINKING, left, right, recipe], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"Failure candidate {right}: the file became shorter while it was read\n"


# Memory

HUGE = """
import sys, threading, time
import psutil
from layertui.capture.records import Locator
from layertui.compare.measuring.measure import measure
from layertui.compare.measuring.pair_reader import PairTask, SideTask
path, peak, over = sys.argv[1], 0, threading.Event()
def watch():
    global peak
    while not over.wait(0.002):
        peak = max(peak, psutil.Process().memory_info().rss)
watcher = threading.Thread(target=watch)
watcher.start()
for shape, recipe, turned in (((7000, 7100), "transpose(0, 1)", (7100, 7000)),
                              ((50_000, 1000), "transpose(0, 1)", (1000, 50_000)),
                              ((100_000_000,), "", (100_000_000,))):
    task = PairTask(SideTask(Locator(path, "float32", shape), "float32", recipe),
                    SideTask(Locator(path, "float32", turned), "float32"))
    found = measure(task)
    assert found.identical and found.count == shape[0] * (shape[1] if recipe else 1), found
over.set()
watcher.join()
print(peak >> 20)
"""


def test_memory_does_not_grow_with_the_tensors(tmp_path: Path) -> None:
    """200 MB transposed and 400 MB as they are, against as much: sparse, so no disk is filled."""
    path = tmp_path / "sparse"
    path.touch()
    os.truncate(path, 400_000_000)
    done = subprocess.run([sys.executable, "-c", HUGE, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 10 < int(done.stdout) < 200
