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
