"""What is found in the records of ranks without rules, and what is left apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layertui.capture import open_capture
from layertui.capture.load import load
from layertui.capture.records import Capture
from support.ranks.cut_llama import Cut, Fault, Records, run, write, zigzag


def opened(path: Path, records: list[Records], label: str = "rank{}") -> Capture:
    return open_capture(write(path / "run", records, label))


def ways(capture: Capture) -> dict[str, str]:
    assert capture.of_ranks is not None
    return {one.name: one.way for one in capture.of_ranks.joined}


def assert_whole(capture: Capture, whole: Records) -> None:
    """Every record of one rank alone is there, in the same order, with the same values."""
    assert [record.name for record in capture.records] == list(whole)
    for record in capture.records:
        assert record.locator is not None
        np.testing.assert_allclose(load(record.locator), whole[record.name], rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("style", ["vllm", "hf"])
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize(("ranks", "kv_heads"), [(2, 2), (4, 4), (8, 4), (8, 2), (8, 8), (4, 1)])
def test_tensor_parallel_runs_become_the_whole_one(
    tmp_path: Path, style: str, inside: bool, ranks: int, kv_heads: int
) -> None:
    cut = Cut(ranks=ranks, style=style, kv_heads=kv_heads, inside=inside)
    capture = opened(tmp_path, run(cut))
    assert_whole(capture, run(replace(cut, ranks=1, inside=False))[0])
    known = ways(capture)
    name = "model.layers.0.self_attn.o_proj"
    assert known[name] == ("partial" if inside else "replicated")
    assert not capture.unequal_ranks


@pytest.mark.parametrize("lengths", [(3, 3, 2, 2), (3, 3, 3, 1), (5, 5), (1, 9)])
def test_tokens_left_to_ranks_by_reduce_scatter_are_joined(
    tmp_path: Path, lengths: tuple[int, ...]
) -> None:
    cut = Cut(ranks=len(lengths), kv_heads=4, scatter=lengths)
    capture = opened(tmp_path, run(cut))
    assert_whole(capture, run(Cut(kv_heads=4))[0])
    assert ways(capture)["model.layers.1.input_layernorm"] == "concat 0"


def by_tokens(records: Records, parts: list[Any], positions: bool = True) -> list[Records]:
    """The records of ranks that have these tokens each."""
    found: list[Records] = []
    for part in parts:
        own: Records = {"positions": part} if positions else {}
        own.update({name: value[part] for name, value in records.items()})
        found.append(own)
    return found


@pytest.mark.parametrize("ranks", [2, 3])
def test_zigzag_of_context_parallelism_is_undone_by_the_positions(
    tmp_path: Path, ranks: int
) -> None:
    whole = run(Cut(tokens=12))[0]
    capture = opened(tmp_path, by_tokens(whole, zigzag(12, ranks)), "cp{}")
    assert_whole(capture, {"positions": np.arange(12), **whole})
    assert set(ways(capture).values()) == {"zigzag 0"}


def test_without_positions_the_order_of_tokens_is_not_known(tmp_path: Path) -> None:
    whole = run(Cut(tokens=12))[0]
    capture = opened(tmp_path, by_tokens(whole, zigzag(12, 2), positions=False), "cp{}")
    assert set(ways(capture).values()) == {"apart"}


def test_ranks_with_other_inputs_are_not_joined(tmp_path: Path) -> None:
    """Data parallelism: every record differs, and none is a part."""
    records = [run(Cut())[0], run(Cut(seed=1))[0]]
    assert set(ways(opened(tmp_path, records)).values()) == {"apart"}


@pytest.mark.parametrize("style", ["vllm", "hf"])
@pytest.mark.parametrize("weight", ["wq", "wk", "wv", "wo", "gate", "up", "down", "norm1"])
@pytest.mark.parametrize("layer", [0, 2])
def test_a_fault_on_one_of_equal_ranks_is_no_part(
    tmp_path: Path, style: str, weight: str, layer: int
) -> None:
    """Whole models on every rank, one of which computes otherwise from some record on: nothing is
    joined, whatever its name.
    """
    good = run(Cut(style=style, kv_heads=8))[0]
    bad = run(Cut(style=style, kv_heads=8, fault=Fault(0, layer, weight)))[0]
    assert set(ways(opened(tmp_path, [good, bad])).values()) <= {"replicated", "apart"}


@pytest.mark.parametrize("drop", ["model.layers.1.self_attn.qkv_proj", "model.norm"])
def test_a_rank_that_lacks_a_record_leaves_the_others_apart(tmp_path: Path, drop: str) -> None:
    records = run(Cut(ranks=4, kv_heads=4))
    del records[2][drop]
    known = ways(opened(tmp_path, records))
    assert known[drop] == ("replicated" if drop == "model.norm" else "apart")
    assert known["model.layers.0.self_attn.qkv_proj"] == "split 16:8:8"


@pytest.mark.parametrize("rank", [0, 3])
def test_a_rank_with_another_norm_is_named_and_most_stand_for_all(
    tmp_path: Path, rank: int
) -> None:
    cut = Cut(ranks=8, kv_heads=8, fault=Fault(rank, 1, "norm1"))
    capture = opened(tmp_path, run(cut))
    name = "model.layers.1.input_layernorm"
    (unequal,) = capture.unequal_ranks
    assert (unequal.name, unequal.rank, unequal.rows) == (name, f"rank{rank}", 10)
    assert unequal.where == f"rank{rank} differs from the others in 10 rows, from row 0 on"
    shown = next(r for r in capture.records if r.name == name)
    assert shown.locator is not None
    want = run(Cut(kv_heads=8))[0][name]
    np.testing.assert_allclose(load(shown.locator), want, rtol=1e-4, atol=1e-5)
    assert f"rank{rank}/{name}" in [record.name for record in capture.records]
    names = [record.name for record in capture.records if "/" not in record.name]
    assert names == list(run(Cut(kv_heads=8))[0])


def test_one_row_of_one_rank(tmp_path: Path) -> None:
    records = run(Cut(ranks=4, kv_heads=4))
    changed = records[2]["model.layers.2.post_attention_layernorm"].copy()
    changed[7] *= 2
    records[2]["model.layers.2.post_attention_layernorm"] = changed
    (unequal,) = opened(tmp_path, records).unequal_ranks
    assert (unequal.rank, unequal.row, unequal.rows) == ("rank2", 7, 1)
    assert unequal.where == "rank2 differs from the others in row 7"


def test_ranks_that_differ_by_rounding_are_taken_for_equal(tmp_path: Path) -> None:
    records = run(Cut(ranks=2))
    name = "model.layers.1.post_attention_layernorm"
    records[1][name] = np.nextafter(records[1][name], np.float32(9), dtype=np.float32)
    capture = opened(tmp_path, records)
    assert ways(capture)[name] == "replicated" and not capture.unequal_ranks
    assert "(1 but for rounding)" in capture.notes[-1]


@pytest.mark.parametrize("style", ["vllm", "hf"])
@pytest.mark.parametrize("layer", [0, 2])
def test_a_rank_whose_keys_are_no_copy_of_its_neighbours(
    tmp_path: Path, style: str, layer: int
) -> None:
    """Two ranks have the same head of keys, and one computes it otherwise: the layers around show
    how parts are joined, and that rank is named.
    """
    cut = Cut(ranks=8, style=style, kv_heads=4, fault=Fault(5, layer, "wk"))
    capture = opened(tmp_path, run(cut))
    name = f"model.layers.{layer}.self_attn.{'qkv_proj' if style == 'vllm' else 'k_proj'}"
    assert "copies 2" in ways(capture)[name]
    (unequal,) = capture.unequal_ranks
    assert (unequal.name, unequal.rank, unequal.against) == (name, "rank5", "rank4")
    assert not any(record.name.startswith("rank") for record in capture.records)


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("value", [np.nan, 3.0])
def test_the_last_norm_of_one_rank(tmp_path: Path, ranks: int, value: float) -> None:
    """A module that is in no other layer: other norms are the same on all ranks."""
    records = run(Cut(ranks=ranks, kv_heads=4))
    changed = records[1]["model.norm"].copy()
    changed[4, 7] = value
    records[1]["model.norm"] = changed
    capture = opened(tmp_path, records)
    (unequal,) = capture.unequal_ranks
    assert (unequal.name, unequal.rank, unequal.row) == ("model.norm", "rank1", 4)


@pytest.mark.parametrize("name", ["lm_head", "model.rotary", "model.layers.1.odd"])
def test_what_most_ranks_have_is_shown_and_the_odd_one_named(tmp_path: Path, name: str) -> None:
    """Logits that are gathered on all ranks, and what no name tells of."""
    draw = np.random.default_rng(1)
    values = draw.standard_normal((10, 24)).astype(np.float32)
    records = run(Cut(ranks=4, kv_heads=4))
    for rank, own in enumerate(records):
        own[name] = values * np.float32(2) if rank == 2 else values
    capture = opened(tmp_path, records)
    (unequal,) = capture.unequal_ranks
    assert (unequal.name, unequal.rank, unequal.rows) == (name, "rank2", 10)
    shown = next(r for r in capture.records if r.name == name)
    assert shown.locator is not None
    np.testing.assert_array_equal(load(shown.locator), values)


def test_parts_without_values_on_most_ranks_are_not_what_most_have(tmp_path: Path) -> None:
    """Vocabulary that is split: a rank gives zeros for tokens that another one has."""
    records = run(Cut(ranks=4, kv_heads=4))
    for rank, own in enumerate(records):
        table = own.pop("model.embed_tokens")
        part = table if rank == 1 else np.zeros_like(table)
        records[rank] = {"model.embed_tokens": part, **own}
    capture = opened(tmp_path, records)
    assert not capture.unequal_ranks
    assert ways(capture)["model.embed_tokens"] == "apart"


def test_a_rank_that_is_missing_leaves_parts_apart(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", run(Cut(ranks=4, kv_heads=4)))
    (folder / "rank2.npz").unlink()
    capture = open_capture(folder)
    assert "1 rank is missing (rank2): no parts are joined" in capture.notes
    assert ways(capture)["model.norm"] == "replicated"
    assert ways(capture)["model.layers.1.self_attn.qkv_proj"] == "apart"
    (missing,) = [record for record in capture.records if record.error]
    assert missing.name == "rank2" and str(missing.error).startswith("this rank is missing")


def test_a_number_that_is_left_out_misses_nothing_where_all_ranks_have_the_same(
    tmp_path: Path,
) -> None:
    folder = write(tmp_path / "run", [run(Cut())[0]] * 3)
    (folder / "rank1.npz").unlink()
    capture = open_capture(folder)
    assert not capture.unreadable and set(ways(capture).values()) == {"replicated"}
    assert not any("missing" in note for note in capture.notes)


@pytest.mark.parametrize("left", [0, 200])
def test_a_rank_that_cannot_be_read_leaves_parts_apart(tmp_path: Path, left: int) -> None:
    folder = write(tmp_path / "run", run(Cut(ranks=4, kv_heads=4)))
    path = folder / "rank2.npz"
    path.write_bytes(path.read_bytes()[:left])
    capture = open_capture(folder)
    assert "1 rank is missing (rank2): no parts are joined" in capture.notes
    assert ways(capture)["model.layers.1.self_attn.qkv_proj"] == "apart"
    assert capture.unreadable == 1


def test_ranks_that_are_counted_from_1(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", run(Cut(ranks=4, kv_heads=4)))
    (folder / "rank0.npz").rename(folder / "rank4.npz")
    names = {record.name for record in open_capture(folder).records}
    assert names == set(run(Cut(kv_heads=4))[0])
