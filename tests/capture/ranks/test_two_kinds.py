"""Ranks of two kinds of parallelism at a time: `tp0-cp1`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from layertui.capture import open_capture
from layertui.capture.load import load
from layertui.capture.records import Capture
from support.ranks.cut_llama import Cut, Fault, Records, run, stages, zigzag

Key = tuple[int, int]
TOKENS = 16
WHOLE = Cut(tokens=TOKENS)


def tensor_and_context(cut: Cut, contexts: int, positions: bool = True) -> dict[Key, Records]:
    """Records by the place among tensor-parallel and among context-parallel ranks."""
    found: dict[Key, Records] = {}
    for place, own in enumerate(run(cut)):
        for context, part in enumerate(zigzag(cut.tokens, contexts)):
            kept = {name: value[part] for name, value in own.items()}
            found[place, context] = {"positions": part, **kept} if positions else kept
    return found


def put(folder: Path, records: dict[Key, Records], label: Callable[[int, int], str]) -> Path:
    for key, own in records.items():
        path = folder / f"{label(*key)}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **own)
    return folder


def plain(tp: int, cp: int) -> str:
    return f"tp{tp}-cp{cp}"


def assert_whole(capture: Capture, whole: Records) -> None:
    assert [record.name for record in capture.records] == list(whole)
    for record in capture.records:
        assert record.locator is not None
        np.testing.assert_allclose(load(record.locator), whole[record.name], rtol=2e-4, atol=2e-5)


def ways(capture: Capture) -> dict[str, str]:
    assert capture.of_ranks is not None
    return {one.name: one.way for one in capture.of_ranks.joined}


LABELS: dict[str, Callable[[int, int], str]] = {
    "dashes": plain,
    "folders": lambda tp, cp: f"cp{cp}/tp{tp}",
    "files in folders": lambda tp, cp: f"tp_{tp}/cp_{cp}/acts",
    "underlines": lambda tp, cp: f"cp{cp}_tp{tp}",
    "one word": lambda tp, cp: f"tp{tp}cp{cp}",
    "and a rank": lambda tp, cp: f"TP{tp}_CP{cp}_PP0_Rank{2 * cp + tp}_pid{40 - tp - 2 * cp}",
    "of so many": lambda tp, cp: f"tp{tp}of2-cp0{cp}of02",
    "behind a name": lambda tp, cp: f"acts_tp{tp}_cp{cp}",
    "before a name": lambda tp, cp: f"tp{tp}_cp{cp}_acts",
    "with signs": lambda tp, cp: f"tp={tp},cp={cp}",
    "as variables": lambda tp, cp: f"tp_rank={tp}___cp_rank={cp}",
    "rank within": lambda tp, cp: f"cp{cp}/rank{2 * cp + tp}",
    "rank around": lambda tp, cp: f"rank_{cp}_tp_{tp}",
}


@pytest.mark.parametrize("label", LABELS)
def test_tensor_ranks_within_context_ranks(tmp_path: Path, label: str) -> None:
    records = tensor_and_context(replace(WHOLE, ranks=2), 2)
    capture = open_capture(put(tmp_path / "run", records, LABELS[label]))
    assert_whole(capture, {"positions": np.arange(TOKENS), **run(WHOLE)[0]})
    assert not capture.unequal_ranks and not capture.unreadable


@pytest.mark.parametrize("style", ["vllm", "hf"])
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize(("ranks", "contexts"), [(4, 2), (2, 4), (8, 8)])
def test_every_tensor_says_how_both_kinds_were_undone(
    tmp_path: Path, style: str, inside: bool, ranks: int, contexts: int
) -> None:
    cut = replace(WHOLE, ranks=ranks, style=style, inside=inside, kv_heads=8)
    capture = open_capture(put(tmp_path / "run", tensor_and_context(cut, contexts), plain))
    whole = run(replace(cut, ranks=1, inside=False))[0]
    assert_whole(capture, {"positions": np.arange(TOKENS), **whole})
    known = ways(capture)
    row = known["model.layers.1.self_attn.o_proj"]
    assert row == ("tp: partial, cp: zigzag 0" if inside else "cp: zigzag 0")
    assert known["model.layers.1.self_attn.attn"] == "tp: concat -1, cp: zigzag 0"
    assert capture.of_ranks is not None
    assert {len(one.ranks) for one in capture.of_ranks.joined} == {ranks * contexts}
    assert len(known) == len(whole) + 1


def test_without_positions_tensor_ranks_are_joined_and_contexts_are_not(tmp_path: Path) -> None:
    records = tensor_and_context(replace(WHOLE, ranks=2), 2, positions=False)
    capture = open_capture(put(tmp_path / "run", records, plain))
    whole = run(WHOLE)[0]
    assert {r.name for r in capture.records} == {f"cp{n}/{name}" for n in (0, 1) for name in whole}
    for record in capture.records:
        assert record.locator is not None
        context, _, name = record.name.partition("/")
        want = whole[name][zigzag(TOKENS, 2)[int(context[2:])]]
        np.testing.assert_allclose(load(record.locator), want, rtol=2e-4, atol=2e-5)


def test_a_rank_that_cannot_be_read_is_said_once(tmp_path: Path) -> None:
    folder = put(tmp_path / "run", tensor_and_context(replace(WHOLE, ranks=2), 2), plain)
    damaged = folder / "tp1-cp1.npz"
    damaged.write_bytes(damaged.read_bytes()[:100])
    capture = open_capture(folder)
    said = "1 rank is missing (tp1-cp1): no parts are joined"
    assert capture.notes.count(said) == 1 and capture.unreadable == 1


def test_a_rank_that_is_missing_is_named_and_no_parts_are_joined(tmp_path: Path) -> None:
    records = tensor_and_context(replace(WHOLE, ranks=2), 2)
    del records[1, 1]
    capture = open_capture(put(tmp_path / "run", records, plain))
    assert "1 rank is missing (tp1-cp1): no parts are joined" in capture.notes
    assert set(ways(capture).values()) == {"apart"} and capture.unreadable == 1


def test_what_one_rank_lacks_is_not_joined(tmp_path: Path) -> None:
    """A partial sum of one context rank alone would stand for the sum."""
    records = tensor_and_context(replace(WHOLE, ranks=2, inside=True), 2)
    name = "model.layers.1.self_attn.o_proj"
    del records[1, 1][name]
    capture = open_capture(put(tmp_path / "run", records, plain))
    assert ways(capture)[name] == "apart"
    names = [record.name for record in capture.records if record.name.endswith(name)]
    assert len(names) == 2 and name not in names


@pytest.mark.parametrize("weight", ["norm1", "norm2"])
def test_a_rank_with_another_norm_is_named(tmp_path: Path, weight: str) -> None:
    cut = replace(WHOLE, ranks=4, kv_heads=4, fault=Fault(2, 1, weight))
    capture = open_capture(put(tmp_path / "run", tensor_and_context(cut, 2), plain))
    assert {one.rank for one in capture.unequal_ranks} == {"tp2-cp0", "tp2-cp1"}


def test_stages_of_tensor_and_context_ranks(tmp_path: Path) -> None:
    records = tensor_and_context(replace(WHOLE, ranks=2, layers=4), 2)
    for (tp, cp), own in records.items():
        for stage, part in enumerate(stages(own, (3, 1), local=True)):
            put(tmp_path / "run", {(tp, cp): part}, lambda t, c, n=stage: f"pp{n}_tp{t}_cp{c}")
    capture = open_capture(tmp_path / "run")
    whole = {"positions": np.arange(TOKENS), **run(replace(WHOLE, layers=4))[0]}
    assert sorted(record.name for record in capture.records) == sorted(whole)
    for record in capture.records:
        assert record.locator is not None
        np.testing.assert_allclose(load(record.locator), whole[record.name], rtol=2e-4, atol=2e-5)


def test_experts_that_every_place_counts_from_0(tmp_path: Path) -> None:
    """Two tensor ranks in each of three places of experts, which have two experts each."""
    draw = np.random.default_rng(0)
    x = draw.standard_normal((6, 8)).astype(np.float32)
    gate = draw.standard_normal((6, 6)).astype(np.float32)
    parts = draw.standard_normal((3, 2, 2, 4, 8)).astype(np.float32)  # place, expert, rank
    at = "model.layers.0.mlp"
    for ep in range(3):
        for tp in range(2):
            own: Records = {"model.layers.0.input_layernorm": x, f"{at}.gate": gate}
            for expert in range(2):
                wide = np.concatenate(parts[ep, expert], -1)
                own[f"{at}.experts.{expert}.up_proj"] = parts[ep, expert, tp]
                own[f"{at}.experts.{expert}.down_proj"] = wide[:, ::2].copy()
            own[at] = x * 2
            put(tmp_path / "run", {(tp, ep): own}, lambda tp, ep: f"pp0_tp{tp}_ep{ep}")
    capture = open_capture(tmp_path / "run")
    found = {r.name: r.locator for r in capture.records}
    assert len(found) == len(capture.records) == 3 + 12
    for ep in range(3):
        for expert in range(2):
            place = found[f"{at}.experts.{2 * ep + expert}.up_proj"]
            assert place is not None
            want = np.concatenate(parts[ep, expert], -1)
            np.testing.assert_array_equal(load(place), want)
