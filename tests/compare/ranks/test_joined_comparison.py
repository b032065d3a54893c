"""Runs on one rank against runs on several: what agrees, where a fault is, and on which rank."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layertui.capture import open_capture
from layertui.capture.load import load
from layertui.cli.main import status_of
from layertui.compare.comparison import open_comparison
from layertui.compare.ranks.joined_sides import joined_by_rules
from layertui.compare.rules.rules import Rules
from layertui.compare.rules.rules_file import load_rules
from support.ranks.cut_llama import Cut, Fault, Records, run, write, zigzag


class Place:
    """Runs in a folder, and comparisons of them as JSON."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0

    def write(self, cut: Cut, label: str = "rank{}") -> Path:
        return self.put(run(cut), label)

    def put(self, records: list[Records], label: str = "rank{}") -> Path:
        self.count += 1
        return write(self.folder / str(self.count), records, label)

    def compare(self, one: Path, other: Path, *more: str) -> tuple[int, dict[str, Any]]:
        target = self.folder / "report.json"
        status = status_of(["compare", str(one), str(other), "--format", "json", "-o", str(target),
                            "--overwrite", *more])  # fmt: skip
        return status, json.loads(target.read_text())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def assert_all_paired(report: dict[str, Any]) -> None:
    counts = report["counts"]
    assert (counts["gaps_reference"], counts["gaps_candidate"], counts["coverage"]) == (0, 0, 1.0)
    assert report["first_divergence"] is None


@pytest.mark.parametrize("style", ["vllm", "hf", "megatron"])
@pytest.mark.parametrize(("ranks", "inside"), [(2, False), (4, True), (8, False)])
def test_one_rank_against_several(place: Place, style: str, ranks: int, inside: bool) -> None:
    cut = Cut(style=style, kv_heads=8)
    one = place.write(cut)
    status, report = place.compare(one, place.write(replace(cut, ranks=ranks, inside=inside)))
    assert status == 0
    assert_all_paired(report)


@pytest.mark.parametrize("style", ["vllm", "hf", "megatron"])
def test_two_ranks_against_four(place: Place, style: str) -> None:
    cut = Cut(ranks=2, style=style, kv_heads=4)
    status, report = place.compare(place.write(cut), place.write(replace(cut, ranks=4)))
    assert status == 0
    assert_all_paired(report)


def test_ranks_in_bfloat16_sized_steps(place: Place) -> None:
    cut = Cut(kv_heads=4, dtype=np.float16)
    status, report = place.compare(place.write(cut), place.write(replace(cut, ranks=4)))
    assert status == 0
    assert_all_paired(report)


WHERE = {
    "wq": "self_attn.qkv_proj", "wk": "self_attn.qkv_proj", "wv": "self_attn.qkv_proj",
    "wo": "self_attn.o_proj", "gate": "mlp.gate_up_proj", "up": "mlp.gate_up_proj",
    "down": "mlp.down_proj",
}  # fmt: skip


@pytest.mark.parametrize("weight", WHERE)
@pytest.mark.parametrize("rank", [0, 5, 7])
def test_a_fault_in_one_ranks_weights_is_found_with_its_rank(
    place: Place, weight: str, rank: int
) -> None:
    cut = Cut(kv_heads=8)
    faulty = place.write(replace(cut, ranks=8, fault=Fault(rank, 1, weight, 1.1)))
    status, report = place.compare(place.write(cut), faulty)
    first = report["first_divergence"]
    assert status == 1 and first["module"] == f"layers.1.{WHERE[weight]}"
    split = weight not in ("wo", "down")  # a sum of all ranks does not tell
    words = f"rank{rank} of the candidate: all of the error is in its part"
    assert first.get("rank") == (words if split else None)


def test_a_fault_on_every_rank_blames_none(place: Place) -> None:
    cut = Cut(kv_heads=8)
    changed = replace(cut, ranks=4)
    for layer in changed.weights[1:2]:
        layer["gate"] = layer["gate"] * np.float32(1.1)
    status, report = place.compare(place.write(Cut(kv_heads=8)), place.write(changed))
    assert status == 1 and "rank" not in report["first_divergence"]


def test_the_text_names_the_rank(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    cut = Cut(kv_heads=8)
    faulty = place.write(replace(cut, ranks=8, fault=Fault(3, 1, "up", 1.1)))
    status_of(["compare", str(place.write(cut)), str(faulty)])
    said = capsys.readouterr().out
    assert "rank       rank3 of the candidate: all of the error is in its part" in said
    assert "8 ranks: of 35 tensors 23 look the same on all of them" in said


def test_a_rank_that_differs_from_the_others_fails_the_comparison(place: Place) -> None:
    """Also where the rows agree, since most of the ranks are right."""
    records = run(Cut(ranks=4, kv_heads=4))
    name = "model.layers.1.post_attention_layernorm"
    records[2][name] = records[2][name] * np.float32(1.5)
    status, report = place.compare(place.write(Cut(kv_heads=4)), place.put(records))
    (reason,) = report["outcome"]["reasons"]
    assert status == 1 and report["first_divergence"] is None
    assert reason == (
        "ranks of the candidate differ in a record that should be the same on all of them; the "
        f"first is {name}: rank2 differs from the others in 10 rows, from row 0 on"
    )


def test_fused_parts_in_one_piece_are_told_from_parts_by_kind(place: Place) -> None:
    """Ranks that have contiguous pieces of a fused output: its values in the other capture show
    it, against what its name says.
    """
    whole = run(Cut())[0]
    fused = [name for name in whole if name.endswith(("qkv_proj", "gate_up_proj"))]
    between = [name for name in whole if name.endswith((".attn", ".act_fn"))]
    ranks = []
    for rank in range(2):
        own = {name: value for name, value in whole.items() if name not in between}
        own.update({name: np.split(whole[name], 2, -1)[rank] for name in fused})
        ranks.append(own)
    status, report = place.compare(place.put([whole]), place.put(ranks))
    assert status == 0 and report["counts"]["gaps_candidate"] == 0


@pytest.mark.parametrize("label", ["rank{}", "cp{}"])
def test_zigzag_is_seen_by_values(place: Place, label: str) -> None:
    whole = run(Cut(tokens=12))[0]
    chunks = np.split(np.arange(12), 4)
    ranks = [
        {name: value[np.concatenate((chunks[r], chunks[3 - r]))] for name, value in whole.items()}
        for r in range(2)
    ]
    status, report = place.compare(place.put([whole]), place.put(ranks, label))
    assert status == 0
    assert_all_paired(report)


def test_other_values_join_nothing(place: Place) -> None:
    """Two ranks with other inputs than the reference's, and than each other's."""
    ranks = [run(Cut(seed=1))[0], run(Cut(seed=2))[0]]
    _, report = place.compare(place.write(Cut()), place.put(ranks))
    assert report["counts"]["pairs"] == 0


def rules(place: Place, *lines: str) -> list[str]:
    path = place.folder / "rules.toml"
    path.write_text("\n".join(("[shards]", *lines)))
    return ["--rules", str(path)]


def test_rules_say_what_is_not_found(place: Place) -> None:
    whole = run(Cut())[0]
    names = {f"model.layers.{n}.odd": whole[f"model.layers.{n}.mlp.act_fn"] for n in range(3)}
    parts = [
        {name: np.split(value, 2, -1)[rank] for name, value in names.items()} for rank in range(2)
    ]
    for rank, own in enumerate(parts):  # another run on the ranks: its values show nothing
        own.update({name: value * np.float32(-1 - rank) for name, value in own.items()})
    one, other = place.put([names]), place.put(parts)
    _, report = place.compare(one, other)
    assert report["counts"]["pairs"] == 0
    _, report = place.compare(one, other, *rules(place, '"*.odd" = "concat -1"'))
    assert report["counts"]["pairs"] == 3


def test_rules_override_what_is_found(place: Place) -> None:
    cut = Cut(kv_heads=4)
    one, other = place.write(cut), place.write(replace(cut, ranks=4))
    more = rules(place, '"*.qkv_proj" = "concat -1"', '"*.gate_up_proj" = "apart"')
    _, report = place.compare(one, other, *more)
    gaps = [row["candidate"]["name"] for row in report["rows"] if row["kind"] == "gap_candidate"]
    assert len(gaps) == 12 and all("gate_up_proj" in name for name in gaps)
    known = load_rules(more[1])
    candidate = open_comparison(str(one), str(other), rules=known).candidate
    assert candidate.of_ranks is not None
    said = {joined.name: (joined.way, joined.why) for joined in candidate.of_ranks.joined}
    assert said["model.layers.1.self_attn.qkv_proj"] == ("concat -1", "by the rules file")
    more = rules(place, '"*.qkv_proj" = "apart"', '"layers.*.qkv_proj" = "split:qkv"')
    _, report = place.compare(one, other, *more)
    assert_all_paired(report)  # the later rule wins
    _, report = place.compare(one, other, *rules(place, '"*.qkv_proj" = "split 16:8:8"'))
    assert report["first_divergence"] is None
    _, report = place.compare(one, other, *rules(place, '"*.qkv_proj" = "split 2:1:1"'))
    assert report["first_divergence"] is None


def test_a_rule_that_does_not_fit_leaves_the_parts_apart(place: Place) -> None:
    cut = Cut(kv_heads=4)
    one, other = place.write(cut), place.write(replace(cut, ranks=4))
    _, report = place.compare(one, other, *rules(place, '"*.qkv_proj" = "split 5:2"'))
    gaps = [row["candidate"]["name"] for row in report["rows"] if row["kind"] == "gap_candidate"]
    assert len(gaps) == 12 and all("qkv_proj" in name for name in gaps)


def test_what_a_rule_calls_replicated_must_be(place: Place) -> None:
    cut = Cut(kv_heads=4)
    one, other = place.write(cut), place.write(replace(cut, ranks=4))
    status, report = place.compare(one, other, *rules(place, '"*.act_fn" = "replicated"'))
    assert status == 1
    assert any("rank1 differs from rank0" in reason for reason in report["outcome"]["reasons"])


def test_check_reads_copies_in_full(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that no piece of the sample has: the ranks look the same, and are not."""
    values = np.random.default_rng(0).standard_normal((3000, 128)).astype(np.float32)
    other = values.copy()
    other[100] += 1
    monkeypatch.setattr("layertui.capture.ranks.groups.LARGE", 1 << 17)
    monkeypatch.setattr("layertui.capture.ranks.settling.LARGE", 1 << 17)
    write(tmp_path / "run", [{"model.norm": values}, {"model.norm": other}])
    status_of(["check", str(tmp_path / "run")])
    said = capsys.readouterr().out
    assert "rank1 differs from rank0 in 1 of its rows, from row 100 on" in said


def test_small_captures_are_compared_between_ranks_in_full(place: Place) -> None:
    records = run(Cut(ranks=4, kv_heads=4, tokens=2000, layers=2))
    name = "model.layers.1.input_layernorm"
    changed = records[1][name].copy()
    changed[1111, 7] += 3
    records[1][name] = changed
    one = place.write(Cut(kv_heads=4, tokens=2000, layers=2))
    status, report = place.compare(one, place.put(records))
    assert status == 1
    (unequal,) = report["candidate"]["ranks"]["unequal"]
    assert (unequal["rank"], unequal["row"], unequal["rows"]) == ("rank1", 1111, 1)


@pytest.mark.parametrize(("ranks", "kv_heads"), [(2, 2), (4, 4), (8, 4)])
def test_sizes_of_queries_are_taken_from_the_other_side(
    place: Place, ranks: int, kv_heads: int
) -> None:
    """Nothing in the run on several ranks tells where queries end, and how wide gate and up are."""
    cut = Cut(style="hf", kv_heads=kv_heads)
    between = (".attn", ".act_fn")
    one, *_ = run(cut)
    fused = run(replace(cut, ranks=ranks, style="vllm"))
    sides = [
        [{name: value for name, value in own.items() if not name.endswith(between)} for own in side]
        for side in ([one], fused)
    ]
    status, report = place.compare(place.put(sides[0]), place.put(sides[1]))
    assert status == 0
    assert_all_paired(report)


NAMINGS: dict[str, Callable[[str], str]] = {
    "suffix": lambda name: f"{name}.output",
    "tuple": lambda name: f"{name}/0",
    "slashes": lambda name: f"{name.replace('.', '/')}/__call__",
    "class": lambda name: f"LlamaForCausalLM.{name}_outputs",
    "wrapped": lambda name: f"module.{name}",
}


@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize("style", ["vllm", "hf"])
def test_names_with_slots_in_them(place: Place, naming: str, style: str) -> None:
    """One capture alone: what a projection is called is all that is known."""
    renamed = NAMINGS[naming]
    ranks = [
        {renamed(name): value for name, value in own.items()}
        for own in run(Cut(ranks=4, kv_heads=4, style=style, inside=True))
    ]
    capture = joined_by_rules(open_capture(place.put(ranks)), Rules())
    assert capture.of_ranks is not None
    left = [joined.name for joined in capture.of_ranks.joined if joined.way == "apart"]
    assert left == []


def drawn(seed: int) -> tuple[Cut, list[str]]:
    """A run that is cut at random, maybe with a fault on one rank, and records to leave out."""
    draw = random.Random(seed)
    style = draw.choice(["vllm", "hf", "megatron"])
    kv_heads = draw.choice([1, 2, 4, 8])
    ranks = draw.choice([n for n in (2, 4, 8) if style != "megatron" or n <= kv_heads] or [1])
    layers = draw.choice([1, 2, 3])
    weights = ["wq", "wk", "wv", "wo", "gate", "up", "down", "norm1", "norm2"]
    fault = Fault(draw.randrange(ranks), draw.randrange(layers), draw.choice(weights),
                  draw.choice([0.0, 1.01, 1.5, -1.0]))  # fmt: skip
    cut = Cut(
        ranks=ranks, style=style, kv_heads=kv_heads, layers=layers, seed=seed,
        tokens=draw.choice([1, 2, 8, 10, ranks]), inside=draw.random() < 0.5,
        fault=fault if draw.random() < 0.6 else None,
    )  # fmt: skip
    share = 0.7 * draw.random()
    return cut, [name for name in run(cut)[0] if draw.random() < share]


@pytest.mark.parametrize("seeds", [range(first, first + 15) for first in range(0, 60, 15)])
def test_nothing_is_joined_wrongly(place: Place, seeds: range) -> None:
    """Whatever is recorded, and whatever fault a rank has: what is joined has the shape of the
    whole, and without a fault its values.
    """
    joined = 0
    for seed in seeds:
        cut, gone = drawn(seed)
        ranks = [{n: v for n, v in own.items() if n not in gone} for own in run(cut)]
        if cut.ranks == 1 or not ranks[0]:
            continue
        (whole,) = run(replace(cut, ranks=1, inside=False, fault=None))
        one = place.put([{n: v for n, v in whole.items() if n not in gone}])
        candidate = open_comparison(str(one), str(place.put(ranks))).candidate
        for record in candidate.records:
            said = record.joined
            if said is None or said.way == "apart" or record.locator is None:
                continue
            joined += 1
            want = whole[said.name]
            assert record.shape == want.shape, (cut, said)
            if cut.fault is None:
                np.testing.assert_allclose(load(record.locator), want, rtol=1e-3, atol=1e-4)
    assert joined > 50


@pytest.mark.parametrize("style", ["vllm", "hf"])
def test_parts_that_happen_to_be_equal(place: Place, style: str) -> None:
    """One token and one head of keys: the attention of all heads gives the same."""
    cut = Cut(style=style, kv_heads=1, tokens=1)
    status, report = place.compare(place.write(cut), place.write(replace(cut, ranks=4)))
    assert status == 0
    assert_all_paired(report)


def contexts(ranks: list[Records], count: int, positions: bool) -> dict[str, Records]:
    """The records of tensor-parallel ranks by rank, cut further by tokens in zigzag."""
    found: dict[str, Records] = {}
    for tp, own in enumerate(ranks):
        for cp, part in enumerate(zigzag(len(own["model.norm"]), count)):
            kept = {name: value[part] for name, value in own.items()}
            found[f"cp{cp}_tp{tp}"] = {"positions": part, **kept} if positions else kept
    return found


def put_named(place: Place, records: dict[str, Records]) -> Path:
    folder = place.folder / f"named{len(list(place.folder.iterdir()))}"
    folder.mkdir()
    for label, own in records.items():
        np.savez(folder / f"{label}.npz", **own)
    return folder


@pytest.mark.parametrize("style", ["vllm", "hf", "megatron"])
@pytest.mark.parametrize("positions", [False, True])
def test_one_rank_against_tensor_and_context_ranks(
    place: Place, style: str, positions: bool
) -> None:
    cut = Cut(style=style, kv_heads=4, tokens=16, inside=True)
    many = put_named(place, contexts(run(replace(cut, ranks=4)), 2, positions))
    whole = run(replace(cut, inside=False))[0]
    if positions:
        whole = {"positions": np.arange(16), **whole}
    status, report = place.compare(place.put([whole]), many)
    if style == "megatron" and not positions:  # nothing tells what is between the projections
        assert report["first_divergence"] is None
        return
    assert status == 0
    assert_all_paired(report)


def test_a_fault_on_a_tensor_rank_of_two_kinds_is_found(place: Place) -> None:
    cut = Cut(kv_heads=4, tokens=16)
    wrong = replace(cut, ranks=4, fault=Fault(2, 1, "gate"))
    many = put_named(place, contexts(run(wrong), 2, True))
    whole = {"positions": np.arange(16), **run(cut)[0]}
    status, report = place.compare(place.put([whole]), many)
    assert status == 1
    first = report["first_divergence"]
    assert first["module"] == "layers.1.mlp.gate_up_proj"
    said = "cp0-tp2 and cp1-tp2 of the candidate: all of the error is in their parts"
    assert first["rank"] == said


def test_rules_for_each_kind(place: Place) -> None:
    """Values that nothing is told of by names, by positions or by the other side."""
    draw = np.random.default_rng(0)
    whole = draw.standard_normal((8, 12)).astype(np.float32)
    other = draw.standard_normal((8, 12)).astype(np.float32)
    ranks = {
        f"tp{tp}-cp{cp}": {"odd": other[part][:, 6 * tp : 6 * tp + 6]}
        for cp, part in enumerate(zigzag(8, 2)) for tp in range(2)
    }  # fmt: skip
    one, many = place.put([{"odd": whole}]), put_named(place, ranks)
    for words in (
        '["tp: concat -1", "cp: zigzag 0"]', '["cp: zigzag 0", "tp: concat 1"]',
    ):  # fmt: skip
        more = rules(place, f'"odd" = {words}')
        _, report = place.compare(one, many, *more)
        assert report["counts"]["pairs"] == 1
        (record,) = open_comparison(
            str(one), str(many), rules=load_rules(more[1])
        ).candidate.records
        assert record.locator is not None
        np.testing.assert_array_equal(load(record.locator), other)
    _, report = place.compare(one, many, *rules(place, '"odd" = "concat -1"'))
    assert report["counts"]["pairs"] == 0  # joined by one kind alone
    assert report["counts"]["gaps_candidate"] == 2
    for words in ('["tp: concat -1", "tp: partial"]', '"xp: concat -1"', "[]"):
        path = rules(place, f'"odd" = {words}')[1]
        assert status_of(["compare", str(one), str(many), "--rules", path]) == 2


@pytest.mark.parametrize("words", [126, 127, 128])
def test_a_vocabulary_that_is_padded_for_its_ranks(place: Place, words: int) -> None:
    """Each of four ranks has logits of 32 words, some of which are padding."""
    cut = Cut(kv_heads=4)
    draw = np.random.default_rng(0)
    logits = draw.standard_normal((cut.tokens, 128)).astype(np.float32)
    (whole,), ranks = run(cut), run(replace(cut, ranks=4))
    whole["lm_head"] = logits[:, :words]
    for rank, own in enumerate(ranks):
        own["lm_head"] = np.split(logits, 4, -1)[rank]
    status, report = place.compare(place.put([whole]), place.put(ranks))
    assert status == 0
    assert_all_paired(report)
    ranks[2]["lm_head"] = ranks[2]["lm_head"] * np.float32(1.5)
    status, report = place.compare(place.put([whole]), place.put(ranks))
    assert status == 1
    first = report["first_divergence"]
    assert first["module"] == "lm_head"
    assert first["rank"] == "rank2 of the candidate: all of the error is in its part"
