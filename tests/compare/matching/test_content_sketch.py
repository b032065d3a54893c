"""Sketches of many records at once are those of the records one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from layertui.capture.open import open_capture
from layertui.compare.matching.align import align
from layertui.compare.matching.content.reading import entries_of
from layertui.compare.matching.content.search import find_content
from layertui.compare.matching.content.sketch import sketch_of
from layertui.compare.matching.named_records import side_of
from layertui.compare.rules.rules import Rules
from support.synthetic import saved

ARRAYS = {
    "plain": np.random.default_rng(1).standard_normal((4, 8)),
    "single": np.random.default_rng(2).standard_normal((4, 8)).astype(np.float32),
    "half": np.random.default_rng(3).standard_normal((4, 8)).astype(np.float16),
    "again": np.random.default_rng(2).standard_normal((4, 8)).astype(np.float32),
    "some_nan": np.where(np.arange(32) % 5, np.arange(32) / 7, np.nan).astype(np.float32),
    "all_nan": np.full(32, np.nan, np.float32),
    "zeros": np.zeros((4, 8), np.float32),
    "huge": np.append(np.random.default_rng(4).standard_normal(31), 1e38).astype(np.float32),
    "repeats": np.append(np.zeros(24), np.arange(1, 9)).astype(np.float32),
    "repeats_more": np.append(np.zeros(25), np.arange(1, 8)).astype(np.float32),
    "six_values": np.arange(32) % 6 / np.float32(3),
    "counted": np.arange(32),
    "numbers": np.random.default_rng(5).integers(0, 99, (4, 8)),
    "unsigned": np.random.default_rng(6).integers(0, 99, 32).astype(np.uint8),
    "complex": np.random.default_rng(7).standard_normal((4, 8)) * (1 + 2j),
    "long": np.random.default_rng(8).standard_normal(70_000).astype(np.float32),
    "columns": np.asfortranarray(np.random.default_rng(9).standard_normal((4, 8))),
}


def test_together_as_one_by_one(tmp_path: Path) -> None:
    capture = saved(tmp_path / "dump", ARRAYS)
    rules = Rules()
    items = side_of(capture, rules.reference, rules).items
    with np.errstate(all="ignore"):
        entries = entries_of(items, set(), lambda: False)
        alone = {item.position: sketch_of(item.record) for item in items}
    told = {entry.item.record.name for entry in entries if entry.sketch.telling}
    assert {"single", "some_nan", "huge", "repeats", "six_values", "numbers", "long"} <= told
    assert told.isdisjoint({"zeros", "repeats_more", "counted"})
    assert [e.index for e in entries] == [at for at, sketch in alone.items() if sketch is not None]
    for entry in entries:
        sketch, one = entry.sketch, alone[entry.index]
        assert one is not None
        assert (sketch.count, sketch.kind, sketch.coarse) == (one.count, one.kind, one.coarse)
        assert (sketch.bits, sketch.telling) == (one.bits, one.telling)
        assert np.array_equal(sketch.sample, one.sample)
        assert len(sketch.sample) <= 128


def test_a_file_cut_short_leaves_its_records_out(tmp_path: Path) -> None:
    saved(tmp_path / "dump", ARRAYS)
    capture = open_capture(tmp_path / "dump")
    path = tmp_path / "dump" / "single.npy"
    path.write_bytes(path.read_bytes()[:-8])
    rules = Rules()
    items = side_of(capture, rules.reference, rules).items
    with np.errstate(all="ignore"):
        names = {e.item.record.name for e in entries_of(items, set(), lambda: False)}
    assert "single" not in names and {"again", "plain"} <= names


def test_many_records_with_moved_axes_are_found(tmp_path: Path) -> None:
    count = 300
    rng = np.random.default_rng(1)
    shapes = ((3, 5, 7), (2, 4, 9), (4, 6, 5))
    ours = {f"b{i}": rng.standard_normal(shapes[i % 3]).astype(np.float32) for i in range(count)}
    theirs = {f"t{i}": np.swapaxes(x, 0, 1).copy() for i, x in enumerate(ours.values())}
    for name, arrays in (("reference.npz", ours), ("candidate.npz", theirs)):
        np.savez(tmp_path / name, **arrays)  # pyright: ignore[reportArgumentType]
    captures = [open_capture(tmp_path / name) for name in ("reference.npz", "candidate.npz")]
    content = find_content(align(captures[0], captures[1]))
    found = {
        captures[0].records[pair.reference].name: captures[1].records[pair.candidate].name
        for pair in content.pairs
    }
    assert found == {f"b{i}": f"t{i}" for i in range(count)}
