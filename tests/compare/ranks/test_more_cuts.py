"""Ways to cut a run that little shows: logits, experts that few tokens chose, fused outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layertui.capture import open_capture
from support.ranks.cut_llama import Cut, Fault, Records, run, write, zigzag
from support.ranks.reports import report_of

CUT = Cut(kv_heads=4)


def drawn(*shape: int) -> Any:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def with_logits(ranks: int, logits: Any) -> list[Records]:
    parts = np.split(logits, ranks, -1)
    runs = run(replace(CUT, ranks=ranks))
    return [{**own, "lm_head": part} for own, part in zip(runs, parts, strict=True)]


def assert_all_agrees(found: tuple[int, Any]) -> None:
    status, report = found
    counts = report["counts"]
    assert (status, report["first_divergence"]) == (0, None)
    assert (counts["gaps_reference"], counts["gaps_candidate"]) == (0, 0)


def test_logits_of_two_ranks_and_of_four(tmp_path: Path) -> None:
    logits = drawn(10, 64)
    two = write(tmp_path / "two", with_logits(2, logits))
    four = with_logits(4, logits)
    assert_all_agrees(report_of(tmp_path, two, write(tmp_path / "four", four)))
    four[3]["lm_head"] = four[3]["lm_head"] * np.float32(1.5)
    status, report = report_of(tmp_path, two, write(tmp_path / "bad", four))
    first = report["first_divergence"]
    assert (status, first["module"]) == (1, "lm_head")
    assert first["rank"] == "rank3 of the candidate: all of the error is in its part"


@pytest.mark.parametrize("words", [64, 62])
def test_logits_of_ranks_that_have_some_tokens(tmp_path: Path, words: int) -> None:
    """With a vocabulary that is padded for its ranks, and without."""
    cut, logits = replace(CUT, tokens=16), drawn(16, 64)
    whole = {"positions": np.arange(16), **run(cut)[0], "lm_head": logits[:, :words]}
    (tmp_path / "many").mkdir()
    for tp, own in enumerate(run(replace(cut, ranks=2))):
        own["lm_head"] = np.split(logits, 2, -1)[tp]
        for cp, part in enumerate(zigzag(16, 2)):
            kept = {name: value[part] for name, value in own.items()}
            np.savez(tmp_path / "many" / f"tp{tp}-cp{cp}.npz", positions=part, **kept)
    one = write(tmp_path / "one", [whole])
    assert_all_agrees(report_of(tmp_path, one, tmp_path / "many"))


@pytest.mark.parametrize("lengths", [(3, 3, 3, 2), (4, 4, 3)])
def test_tokens_of_contexts_that_are_not_as_many(tmp_path: Path, lengths: Sequence[int]) -> None:
    whole = {"positions": np.arange(11), **run(replace(CUT, tokens=11))[0]}
    ends = np.cumsum(lengths)[:-1]
    ranks = [
        {name: np.split(value, ends)[rank] for name, value in whole.items()}
        for rank in range(len(lengths))
    ]
    capture = open_capture(write(tmp_path / "many", ranks, "cp{}"))
    assert [record.name for record in capture.records] == list(whole)
    assert {record.shape[0] for record in capture.records if record.shape} == {11}
    one = write(tmp_path / "one", [whole])
    assert_all_agrees(report_of(tmp_path, one, tmp_path / "many"))


@pytest.mark.parametrize(("kv_heads", "ranks"), [(8, 4), (4, 4), (2, 2), (2, 4), (1, 4)])
def test_fused_outputs_alone(tmp_path: Path, kv_heads: int, ranks: int) -> None:
    """Nothing in either capture tells where queries end."""

    def fused(cut: Cut) -> list[Records]:
        return [{n: v for n, v in own.items() if n.endswith(("qkv_proj", "embed_tokens"))}
                for own in run(cut)]  # fmt: skip

    cut = Cut(kv_heads=kv_heads)
    one, many = write(tmp_path / "one", fused(cut)), fused(replace(cut, ranks=ranks))
    assert_all_agrees(report_of(tmp_path, one, write(tmp_path / "many", many)))
    bad = fused(replace(cut, ranks=ranks, fault=Fault(1, 1, "wq", 1.3)))
    status, report = report_of(tmp_path, one, write(tmp_path / "bad", bad))
    first = report["first_divergence"]
    assert (status, first["module"]) == (1, "layers.1.self_attn.qkv_proj")
    assert first["rank"] == "rank1 of the candidate: all of the error is in its part"


@pytest.mark.parametrize("value", [0, np.nan])
def test_one_value_everywhere_does_not_show_that_ranks_have_the_whole(
    tmp_path: Path, value: float
) -> None:
    """Of a layer behind NaN, and of one that gives zeros."""
    sides = [run(CUT), run(replace(CUT, ranks=4))]
    for own in (own for side in sides for own in side):
        for name in ("self_attn.qkv_proj", "self_attn.attn", "mlp.gate_up_proj", "mlp.act_fn"):
            record = f"model.layers.2.{name}"
            own[record] = np.full_like(own[record], value)
    one, many = (write(tmp_path / str(n), side) for n, side in enumerate(sides))
    report = report_of(tmp_path, one, many)[1]
    shapes = [row for row in report["rows"] if row["verdict"] == "shape"]
    assert shapes == [] and report["counts"]["gaps_candidate"] == 0


def mixture(chosen: dict[int, list[int]], ranks: int, wrong: int = -1) -> list[Records]:
    """By layer, the experts of eight that tokens chose; on several ranks each counts its own from
    0. The `wrong` expert of layer 1 gives other values.
    """
    found: list[Records] = [{} for _ in range(ranks)]
    size = 8 // ranks
    for layer, experts in chosen.items():
        scores = drawn(6, 8) + np.float32(layer)
        for own in found:
            own[f"model.layers.{layer}.mlp.gate"] = scores
        for expert in experts:
            draw = np.random.default_rng(10 * layer + expert)
            value = draw.standard_normal((3, 16)).astype(np.float32)
            if (layer, expert) == (1, wrong):
                value *= np.float32(1.3)
            name = f"model.layers.{layer}.mlp.experts.{expert % size}.up_proj"
            found[expert // size][name] = value
    return found


CHOSEN = {
    "all in one layer": {0: [*range(8)], 1: [0, 3, 5], 2: [1, 2, 6, 7]},
    "all in none": {0: [0, 2, 4, 6, 7], 1: [0, 3, 5], 2: [1, 2, 6, 7]},
    "none of a rank": {0: [*range(8)], 1: [0, 1, 5], 2: [5]},
}


@pytest.mark.parametrize("which", CHOSEN)
def test_experts_of_which_tokens_chose_a_few(tmp_path: Path, which: str) -> None:
    chosen = CHOSEN[which]
    one = write(tmp_path / "one", mixture(chosen, 1))
    many = write(tmp_path / "many", mixture(chosen, 4))
    names = [{record.name for record in open_capture(path).records} for path in (one, many)]
    assert names[0] == names[1]
    assert_all_agrees(report_of(tmp_path, one, many))
    bad = write(tmp_path / "bad", mixture(chosen, 4, wrong=5))
    status, report = report_of(tmp_path, one, bad)
    assert (status, report["first_divergence"]["module"]) == (1, "layers.1.mlp.experts.5.up_proj")


def test_experts_that_every_rank_has_a_part_of_are_not_numbered(tmp_path: Path) -> None:
    """In the first layer those that tokens chose are as many as one of four ranks would have."""
    whole = mixture({0: [0, 1], 1: [3, 5]}, 1)[0]
    many = write(tmp_path / "many", [whole] * 4)
    assert {record.name for record in open_capture(many).records} == set(whole)
