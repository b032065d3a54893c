"""Cutting a tensor and joining its parts gives it back, without a copy and in bounded memory."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.capture import open_capture
from layertui.capture.errors import RecordError
from layertui.capture.load import load
from layertui.capture.ranks.join_tree import (
    Leaf,
    Node,
    concat,
    leaves,
    locator_of,
    node_of,
    split,
    total,
    with_paths,
    zigzag,
)
from layertui.capture.ranks.joined_file import JoinedFile
from layertui.capture.records import Locator

Array = Any
NAMES = {np.dtype(np.float32): "float32", np.dtype(np.float16): "float16",
         np.dtype(np.uint16): "bfloat16", np.dtype(np.int64): "int64"}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parts")


def leaf(folder: Path, array: Array, name: str = "part", before: int = 16) -> Leaf:
    path = folder / f"{name}.bin"
    path.write_bytes(b"x" * before + np.ascontiguousarray(array).tobytes())
    return Leaf(Locator(str(path), NAMES[array.dtype], array.shape, offset=before))


def parts_of(folder: Path, arrays: list[Array]) -> list[Leaf]:
    return [leaf(folder, array, f"part{n}", 8 * n) for n, array in enumerate(arrays)]


def values(node: Node | None) -> Array:
    assert node is not None
    return load(locator_of(node))


shapes = st.lists(st.integers(1, 5), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_ragged_parts_side_by_side_give_the_whole_back(folder: Path, data: Any) -> None:
    shape = data.draw(shapes)
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    sizes = data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=9))
    sizes[0] += 1
    shape[axis] = sum(sizes)
    dtype = data.draw(st.sampled_from(list(NAMES)))
    whole = np.arange(np.prod(shape), dtype=dtype).reshape(shape)
    parts = np.split(whole, np.cumsum(sizes)[:-1], axis)
    node = concat(parts_of(folder, parts), axis)
    assert node is not None and node.shape == whole.shape
    np.testing.assert_array_equal(values(node), whole)
    low = data.draw(st.integers(0, whole.nbytes))
    length = data.draw(st.integers(0, whole.nbytes - low))
    with JoinedFile(locator_of(node)) as file:  # any bytes, whole elements or not
        assert file.read_at(low, length) == whole.tobytes()[low : low + length]
        assert file.size == whole.nbytes and file.read_at(whole.nbytes, 5) == b""


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_fused_parts_are_joined_by_quantity(folder: Path, data: Any) -> None:
    """Queries, keys and values with grouped heads on any number of ranks, which may be more than
    there are heads of keys.
    """
    heads = data.draw(st.sampled_from([1, 2, 3, 4]))
    ranks = heads * data.draw(st.sampled_from([1, 2, 4]))
    copies, size = ranks // heads, data.draw(st.integers(1, 4))
    before = data.draw(st.lists(st.integers(1, 3), max_size=2))
    groups = data.draw(st.integers(1, 3)) * copies
    q, k, v = (
        np.random.default_rng(n).standard_normal((*before, count * size)).astype(np.float32)
        for n, count in enumerate((heads * groups, heads, heads))
    )
    parts = []
    for rank in range(ranks):
        own = np.split(q, ranks, -1)[rank]
        kv = [np.split(t, heads, -1)[rank // copies] for t in (k, v)]
        parts.append(np.concatenate([own, *kv], -1))
    width = heads * groups * size // ranks
    node = split(parts_of(folder, parts), -1, (width, size, size), (1, copies, copies))
    np.testing.assert_array_equal(values(node), np.concatenate([q, k, v], -1))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 1))
def test_zigzag_chunks_are_put_in_order(folder: Path, ranks: int, chunk: int, axis: int) -> None:
    whole = np.arange(2 * ranks * chunk * 3, dtype=np.float32).reshape(-1, 3)
    whole = whole if axis == 0 else np.ascontiguousarray(whole.T)
    chunks = np.split(whole, 2 * ranks, axis)
    parts = [np.concatenate((chunks[r], chunks[2 * ranks - 1 - r]), axis) for r in range(ranks)]
    np.testing.assert_array_equal(values(zigzag(parts_of(folder, parts), axis)), whole)


def test_parts_are_added_and_rounded_once(folder: Path) -> None:
    parts = [np.array([1e8, 0.1], np.float32), np.array([-1e8, 0.2], np.float32),
             np.array([0.25, np.nan], np.float32)]  # fmt: skip
    found = values(total(parts_of(folder, parts)))
    assert found[0] == np.float32(0.25) and np.isnan(found[1])
    ones = [np.array([0x3F80, 0x7F80], np.uint16)] * 3  # 1 and infinity in bfloat16
    assert values(total(parts_of(folder, ones))).tolist() == [0x4040, 0x7F80]
    assert total(parts_of(folder, [np.ones(3, np.int64)] * 2)) is None


def test_several_kinds_of_parallelism_are_undone_one_by_one(folder: Path) -> None:
    """Two context ranks of two tensor ranks each: sums of parts, in chunks of tokens."""
    whole = np.random.default_rng(0).standard_normal((8, 6)).astype(np.float32)
    chunks = np.split(whole, 4)
    nodes = []
    for rank in range(2):
        own = np.concatenate((chunks[rank], chunks[3 - rank]))
        half = np.float32(0.5) * own
        added = total([leaf(folder, half, f"c{rank}t{part}") for part in range(2)])
        assert added is not None
        nodes.append(added)
    node = zigzag(nodes, 0)
    np.testing.assert_array_equal(values(node), whole)
    assert node is not None and node_of(locator_of(node)) == node and len(leaves(node)) == 4
    moved = with_paths(locator_of(node), lambda path: path + ".moved")
    assert all(one.locator.path.endswith(".moved") for one in leaves(node_of(moved)))


def test_parts_that_do_not_fit_are_not_joined(folder: Path) -> None:
    one = leaf(folder, np.ones((2, 3), np.float32), "one")
    for other in (np.ones((3, 2), np.float32), np.ones((2, 3), np.float16), np.ones(6, np.float32)):
        assert concat([one, leaf(folder, other, "other")], -1) is None
    assert concat([one, one], 2) is None and concat([one, one], 0, copies=3) is None
    assert total([one, leaf(folder, np.ones((2, 4), np.float32), "other")]) is None
    assert split([one, one], -1, (1, 1)) is None  # three columns have no halves
    assert zigzag([one, leaf(folder, np.ones((4, 3), np.float32), "other")], 0) is None
    assert zigzag([one, one], 1) is None


@pytest.mark.parametrize("change", [
    lambda key: key.replace('"pieces":[[0,0,2]', '"pieces":[[0,0,3]'),
    lambda key: key.replace('"pieces":[[0,0,2]', '"pieces":[[7,0,2]'),
    lambda key: key.replace('"pieces":[[0,0,2]', '"pieces":[[0,-1,2]'),
    lambda key: key[:40], lambda key: "[]", lambda key: '{"of":' * 40,
])  # fmt: skip
def test_a_damaged_recipe_is_refused(folder: Path, change: Any) -> None:
    parts = [np.ones((1, 2), np.float32)] * 2
    node = concat(parts_of(folder, parts), -1)
    assert node is not None
    place = locator_of(node)
    bad = Locator(place.path, place.dtype, place.shape, reader=place.reader, key=change(place.key))
    with pytest.raises(RecordError, match="damaged recipe of ranks"):
        JoinedFile(bad)


def test_a_part_that_is_cut_short_is_one_line(folder: Path) -> None:
    parts = parts_of(folder, [np.ones((4, 8), np.float32)] * 2)
    node = concat(parts, -1)
    assert node is not None
    Path(parts[1].locator.path).write_bytes(b"short")
    with pytest.raises(RecordError, match=r"part1.bin: truncated"):
        load(locator_of(node))


def test_memory_does_not_grow_with_the_tensor(tmp_path: Path) -> None:
    """Eight parts of 64 MB, which is one file under eight names: a pass over the joined 512 MB
    takes a few of its batches.
    """
    rows, width = 1 << 12, 1 << 12
    first = tmp_path / "rank0.bin"
    with open(first, "wb") as file:
        file.truncate(rows * width * 4)
    for rank in range(1, 8):
        (tmp_path / f"rank{rank}.bin").hardlink_to(first)
    parts = [Leaf(Locator(str(tmp_path / f"rank{rank}.bin"), "float32", (rows, width)))
             for rank in range(8)]  # fmt: skip
    for node in (concat(parts, -1), concat(parts, 0), split(parts, -1, (2, 1, 1)), total(parts)):
        assert node is not None
        buffer = bytearray(1 << 20)
        with JoinedFile(locator_of(node)) as file:
            tracemalloc.start()
            for at in range(0, file.size, len(buffer) * 16):
                file.read_into(memoryview(buffer), at)
            _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert most < 32 << 20


def test_more_ranks_than_files_that_stay_open(folder: Path) -> None:
    whole = np.arange(40 * 6, dtype=np.float32).reshape(6, 40)
    node = concat(parts_of(folder, np.split(whole, 40, 1)), 1)
    assert node is not None
    np.testing.assert_array_equal(values(node), whole)


def test_parts_that_a_format_reads_or_that_have_strides(folder: Path) -> None:
    """Compressed archives, and elements that lie in another order."""
    whole = np.arange(24, dtype=np.float32).reshape(4, 6)
    left, right = np.split(whole, 2, 1)
    np.savez_compressed(folder / "left.npz", x=left)
    (record,) = open_capture(folder / "left.npz").records
    assert record.locator is not None and not record.locator.in_place
    turned = leaf(folder, np.ascontiguousarray(right.T), "turned")
    strided = Leaf(replace(turned.locator, shape=right.shape, strides=(1, 4)))
    node = concat([Leaf(record.locator), strided], 1)
    np.testing.assert_array_equal(values(node), whole)
