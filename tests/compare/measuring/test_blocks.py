"""Cutting into blocks, and reading views of files without mapping them."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from math import prod
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.capture.errors import RecordError
from layertui.capture.records import Locator
from layertui.compare.measuring.blocks import BLOCK, PANEL, Source, flat_where_possible, pieces

pytestmark = pytest.mark.filterwarnings("error")


@given(st.lists(st.integers(0, 9), max_size=5).map(tuple), st.integers(1, 40))
@settings(max_examples=200, deadline=None)
def test_blocks_cover_every_element_once_in_order(shape: tuple[int, ...], most: int) -> None:
    positions = np.arange(prod(shape)).reshape(shape)
    seen = 0
    for start, key in pieces(shape, most):
        block = positions[key]
        assert 0 < block.size <= most
        assert start == seen
        np.testing.assert_array_equal(block.reshape(-1), np.arange(start, start + block.size))
        seen += block.size
    assert seen == positions.size


@pytest.mark.parametrize(
    "shape",
    [(), (1,), (0,), (3, 0, 2), (BLOCK,), (BLOCK + 1,), (7, 70_001), (300_001,), (2, 3, 65_537)],
)
def test_blocks_of_the_usual_size(shape: tuple[int, ...]) -> None:
    positions = np.broadcast_to(np.int8(0), shape)
    sizes, at = [], 0
    for start, key in pieces(shape):
        assert start == at
        sizes.append(positions[key].size)
        at += sizes[-1]
    assert at == prod(shape)
    assert max(sizes, default=0) <= BLOCK


def stored(tmp_path: Path, array: np.ndarray, before: int = 0) -> Locator:
    path = tmp_path / "data"
    path.write_bytes(b"\xee" * before + array.tobytes())
    return Locator(str(path), str(array.dtype), array.shape, before)


def read_all(source: Source, view: np.ndarray) -> np.ndarray:
    """A view read as measuring reads it: by panels, then by blocks."""
    out = np.empty(view.size, view.dtype)
    for start, key in pieces(view.shape, PANEL):
        panel = source.panel(view[key])
        for at, inner in pieces(panel.shape):
            block = source.read(panel[inner])
            assert block.flags.c_contiguous
            out[start + at : start + at + block.size] = block.reshape(-1)
    return out.reshape(view.shape)


VIEWS = {
    "whole": lambda a: a,
    "flat": flat_where_possible,
    "sliced": lambda a: a[1:-2, ::3],
    "transposed": lambda a: a.T,
    "flipped": lambda a: a[::-1, ::-1],
    "flipped and transposed": lambda a: a[::-2].T[5:, :],
    "broadcast": lambda a: np.broadcast_to(a[2], (50, *a.shape[1:])),
    "broadcast columns": lambda a: np.broadcast_to(a[:, :1], a.shape),
    "one element": lambda a: a[3:4, 5:6],
    "scalar": lambda a: a[3, 5, ...],
    "corners": lambda a: a[:: len(a) - 1, :: a.shape[1] - 1],
    "nothing": lambda a: a[:0],
}


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("dtype", ["float32", "int8", "complex64", "uint64"])
def test_any_view_reads_as_the_plain_array(tmp_path: Path, name: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    array = rng.integers(0, 100, (401, 703)).astype(dtype)
    with Source(stored(tmp_path, array, before=7)) as source:
        view = VIEWS[name](source.opened().array)
        assert source.shows(view)
        np.testing.assert_array_equal(read_all(source, view), VIEWS[name](array))


@pytest.mark.parametrize("shape", [(3000, 1500), (40_000, 100), (100, 40_000), (60, 50, 40, 30)])
def test_large_permuted_views_read_as_the_plain_array(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    array = np.random.default_rng(1).standard_normal(shape, dtype=np.float32)
    with Source(stored(tmp_path, array)) as source:
        whole = source.opened().array
        for order in (tuple(reversed(range(len(shape)))), (*range(1, len(shape)), 0)):
            np.testing.assert_array_equal(
                read_all(source, whole.transpose(order)), array.transpose(order)
            )


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_random_views_read_as_the_plain_array(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 20), min_size=1, max_size=4)))
    array = np.arange(prod(shape), dtype=np.int32).reshape(shape)
    order = tuple(data.draw(st.permutations(range(len(shape)))))
    part = st.builds(
        slice,
        st.none() | st.integers(-21, 21),
        st.none() | st.integers(-21, 21),
        st.sampled_from([None, 1, 2, -1, -3, 7]),
    )
    key = tuple(data.draw(st.lists(part, min_size=len(shape), max_size=len(shape))))
    wide = data.draw(st.booleans())
    with Source(stored(tmp_path_factory.mktemp("view"), array, before=3)) as source:
        views = []
        for whole in (source.opened().array, array):
            view = whole.transpose(order)[key]
            views.append(np.broadcast_to(view[..., None], (*view.shape, 5)) if wide else view)
        np.testing.assert_array_equal(source.read(views[0]), views[1])
        if views[0].size:
            np.testing.assert_array_equal(source.gathered(views[0]), views[1])


def test_strides_of_the_record_itself(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.float32)
    where = stored(tmp_path, array, before=8)
    for shape, strides, wanted in (
        ((4, 6), (1, 4), array.reshape(6, 4).T),
        ((5, 3), (0, 1), np.broadcast_to(array[:3], (5, 3))),
        ((3, 2), (8, 2), array.reshape(3, 8)[:, :4:2]),
    ):
        with Source(Locator(where.path, "float32", shape, 8, strides)) as source:
            np.testing.assert_array_equal(read_all(source, source.opened().array), wanted)
            np.testing.assert_array_equal(source.load(), wanted)


def test_a_step_that_copies_is_noticed_and_load_brings_the_values(tmp_path: Path) -> None:
    array = np.arange(60, dtype=np.int64).reshape(3, 4, 5)
    with Source(stored(tmp_path, array)) as source:
        empty = source.opened().array
        assert source.shows(empty.transpose(2, 0, 1))
        assert source.shows(empty.reshape(-1))
        for copied in (np.roll(empty, 1, 0), empty.T.reshape(-1), empty.take([0, 0], 1)):
            assert not source.shows(copied)
        np.testing.assert_array_equal(source.load(), array)
        np.testing.assert_array_equal(source.array.T.reshape(-1), array.T.reshape(-1))
        np.testing.assert_array_equal(source.read(source.array[1]), array[1])


@pytest.mark.parametrize(
    ("locator", "words"),
    [
        (Locator("data", "float32", (25,)), "truncated"),
        (Locator("data", "float32", (2**61,)), "truncated"),
        (Locator("data", "float32", (4,), -8), "truncated"),
        (Locator("data", "float32", (4,), 10**6), "truncated"),
        (Locator("data", "float32", (4, 2), 0, (9, 9)), "truncated"),
        (Locator("data", "float32", (4, 2), 0, (-1, 1)), "strides"),
        (Locator("gone", "float32", (4,)), "No such file"),
        (Locator(".", "float32", (4,)), "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locator: Locator, words: str
) -> None:
    stored(tmp_path, np.zeros(24, np.float32))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecordError, match=words), Source(locator) as source:
        source.read(source.opened().array)


def test_no_file_stays_open(tmp_path: Path) -> None:
    where = stored(tmp_path, np.zeros(24, np.float32))
    bad = Locator(where.path, "float32", (25,))
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    for _ in range(min(limit, 300)):
        with Source(where) as source:
            source.read(source.opened().array)
        with pytest.raises(RecordError), Source(bad) as source:
            source.opened()
    after = len(os.listdir("/proc/self/fd")) if before else 0
    assert after <= before + 2


SHRINKING = """
import os, sys
import numpy as np
from layertui.capture.errors import RecordError
from layertui.capture.records import Locator
from layertui.compare.measuring.blocks import Source, pieces
path, how = sys.argv[1:]
with Source(Locator(path, "float32", (1000, 3000))) as source:
    array = source.opened().array
    view = array.T if how == "transposed" else array
    source.read(view[:5])
    os.truncate(path, 5000)
    try:
        if how == "load":
            source.load()
        else:
            source.panel(view)
            for _, key in pieces(view.shape):
                source.read(view[key])
    except RecordError as error:
        print("said:", error)
    np.roll(array, 1, 0)  # a copying step touches the empty map only
"""


@pytest.mark.parametrize("how", ["whole", "transposed", "load"])
def test_a_file_that_shrinks_while_it_is_read_is_no_crash(tmp_path: Path, how: str) -> None:
    where = stored(tmp_path, np.ones((1000, 3000), np.float32))
    done = subprocess.run(
        [sys.executable, "-c", SHRINKING, where.path, how], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "said: the file became shorter while it was read\n"
