"""Ranks at the ends of the numbering that are missing: said where it can be known, and not else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layertui.cli.main import status_of
from support.ranks.cut_llama import Cut, Records, run, stages, write, zigzag


def put(folder: Path, records: Mapping[str, Records]) -> Path:
    """A file of each of these ranks."""
    folder.mkdir()
    for label, own in records.items():
        np.savez(folder / f"{label}.npz", **own)
    return folder


def without(records: Sequence[Records], *gone: int, label: str = "rank", first: int = 0) -> Any:
    return {f"{label}{n + first}": own for n, own in enumerate(records) if n not in gone}


def reasons(folder: Path, one: Path, other: Path, *more: str) -> tuple[int, list[str]]:
    target = folder / "report.json"
    status = status_of(["compare", str(one), str(other), "--format", "json", "-o", str(target),
                        "--overwrite", *more])  # fmt: skip
    return status, json.loads(target.read_text())["outcome"]["reasons"]


def said(ranks: str, proportion: str, words: str = "as wide as") -> str:
    count, here = ranks.count(",") + 1, proportion.partition("/")[0]
    are = "rank is" if count == 1 else "ranks are"
    return (
        f"candidate: {count} {are} missing ({ranks}): no parts are joined; parts of {here} ranks "
        f"are {proportion} {words} in the other capture"
    )


@pytest.mark.parametrize("style", ["vllm", "hf", "megatron"])
@pytest.mark.parametrize(
    ("ranks", "gone", "named", "proportion"),
    [
        (4, (3,), "rank3", "3/4"),
        (4, (0,), "rank0", "3/4"),
        (4, (2, 3), "rank2, rank3", "2/4"),
        (8, (0, 7), "rank0, rank7", "6/8"),
        (4, (0, 2), "rank0, rank2", "2/4"),
    ],
)
def test_tensor_ranks_are_named_by_the_other_captures_widths(
    tmp_path: Path, style: str, ranks: int, gone: tuple[int, ...], named: str, proportion: str
) -> None:
    cut = Cut(style=style, kv_heads=8)
    one = write(tmp_path / "one", run(cut))
    there = put(tmp_path / "there", without(run(replace(cut, ranks=ranks)), *gone))
    status, why = reasons(tmp_path, one, there)
    assert status == 1 and said(named, proportion) in why


@pytest.mark.parametrize(("kv_heads", "gone"), [(2, (3,)), (2, (0,)), (1, (3,)), (2, (0, 1))])
def test_neighbours_with_the_same_keys_do_not_hide_it(
    tmp_path: Path, kv_heads: int, gone: tuple[int, ...]
) -> None:
    one = write(tmp_path / "one", run(Cut(kv_heads=kv_heads)))
    there = put(tmp_path / "there", without(run(Cut(kv_heads=kv_heads, ranks=4)), *gone))
    named = ", ".join(f"rank{n}" for n in gone)
    assert said(named, f"{4 - len(gone)}/4") in reasons(tmp_path, one, there)[1]


def test_ranks_of_the_reference_are_named_too(tmp_path: Path) -> None:
    there = put(tmp_path / "there", without(run(Cut(ranks=4)), 3))
    status, why = reasons(tmp_path, there, write(tmp_path / "one", run(Cut())))
    assert status == 1 and said("rank3", "3/4").replace("candidate:", "reference:") in why


@pytest.mark.parametrize(("gone", "named"), [(3, "rank4"), (0, "rank1")])
def test_where_ranks_count_from_1_values_tell_the_first_from_the_last(
    tmp_path: Path, gone: int, named: str
) -> None:
    one = write(tmp_path / "one", run(Cut()))
    there = put(tmp_path / "there", without(run(Cut(ranks=4)), gone, first=1))
    assert said(named, "3/4") in reasons(tmp_path, one, there)[1]


@pytest.mark.parametrize("scatter", [(3, 3, 2, 2), (3, 3, 3, 1)])
def test_some_tokens_on_each_rank(tmp_path: Path, scatter: tuple[int, ...]) -> None:
    one = write(tmp_path / "one", run(Cut()))
    there = put(tmp_path / "there", without(run(Cut(ranks=4, scatter=scatter)), 3))
    assert said("rank3", "3/4") in reasons(tmp_path, one, there)[1]


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("gone", [0, 3])
def test_context_ranks(tmp_path: Path, folded: bool, gone: int) -> None:
    whole = run(Cut(tokens=16))[0]
    tokens = zigzag(16, 4) if folded else np.split(np.arange(16), 4)
    ranks = [{name: value[own] for name, value in whole.items()} for own in tokens]
    one = write(tmp_path / "one", [whole])
    there = put(tmp_path / "there", without(ranks, gone, label="cp"))
    assert said(f"cp{gone}", "3/4", "as long as") in reasons(tmp_path, one, there)[1]


def test_a_fault_further_down_does_not_hide_it(tmp_path: Path) -> None:
    ranks = [{name: value * 3 if ".1." in name or ".2." in name else value
              for name, value in own.items()} for own in run(Cut(ranks=4))]  # fmt: skip
    one = write(tmp_path / "one", run(Cut()))
    there = put(tmp_path / "there", without(ranks, 3))
    assert said("rank3", "3/4") in reasons(tmp_path, one, there)[1]


# Where nothing is missing


@pytest.mark.parametrize("numbers", [(0, 2, 4, 6), (0, 1, 10, 11), (4, 5, 6, 7)])
def test_numbers_that_are_left_out_miss_nothing_where_the_parts_are_the_whole(
    tmp_path: Path, numbers: tuple[int, ...]
) -> None:
    one = write(tmp_path / "one", run(Cut()))
    ranks = dict(zip((f"rank{n}" for n in numbers), run(Cut(ranks=4)), strict=True))
    assert reasons(tmp_path, one, put(tmp_path / "there", ranks)) == (0, [])


def test_a_narrower_model_is_not_one_with_a_rank_less(tmp_path: Path) -> None:
    """Feed-forward blocks of three quarters of the width, with the same weights as far as they go:
    what is computed of the parts is something else.
    """
    cut = Cut()
    one = write(tmp_path / "one", run(cut))
    for weights in cut.weights:
        weights.update(gate=weights["gate"][:72], up=weights["up"][:72])
        weights["down"] = weights["down"][:, :72]
    narrow = run(cut)[0]
    parts = [
        {name: np.split(value, 3, -1)[rank] if "act_fn" in name else value
         for name, value in narrow.items() if "gate_up" not in name} for rank in range(3)
    ]  # fmt: skip
    status, why = reasons(tmp_path, one, put(tmp_path / "there", without(parts)))
    assert status == 1 and not any("missing" in text for text in why)


def test_other_values_of_other_widths_miss_nothing(tmp_path: Path) -> None:
    one = write(tmp_path / "one", run(Cut()))
    there = put(tmp_path / "there", without(run(Cut(ranks=4, seed=1)), 3))
    status, why = reasons(tmp_path, one, there)
    assert status == 1 and not any("missing" in text for text in why)


def test_the_same_ranks_on_both_sides_are_compared(tmp_path: Path) -> None:
    ranks = run(Cut(ranks=4))
    one = put(tmp_path / "one", without(ranks, 0, label="tp"))
    there = put(tmp_path / "there", without(ranks, 0, label="tp"))
    assert reasons(tmp_path, one, there) == (0, [])


# Stages of a pipeline


@pytest.mark.parametrize("label", ["pp", "rank"])
@pytest.mark.parametrize(("gone", "local"), [((0,), False), ((1,), False), ((0, 2), False)])
def test_stages_whose_layers_nobody_has(
    tmp_path: Path, label: str, gone: tuple[int, ...], local: bool
) -> None:
    whole = run(Cut(layers=4))[0]
    one = write(tmp_path / "one", [whole])
    parts = stages(whole, (1, 1, 1, 1), local)
    there = put(tmp_path / "there", without(parts, *gone, label=label))
    named = ", ".join(f"{label}{n}" for n in gone)
    are = "1 rank is" if len(gone) == 1 else f"{len(gone)} ranks are"
    status, why = reasons(tmp_path, one, there)
    assert status == 1
    assert f"candidate: {are} missing ({named}): no other rank has their layers" in why


@pytest.mark.parametrize("tensor", [1, 2])
def test_layers_that_count_from_0_are_not_those_of_the_first_stage(
    tmp_path: Path, tensor: int
) -> None:
    """The first stage is missing: layer 0 of the second one is another layer."""
    cut = Cut(layers=4)
    one = write(tmp_path / "one", run(cut))
    ranks = {
        f"pp{pp}-tp{tp}": part
        for tp, own in enumerate(run(replace(cut, ranks=tensor)))
        for pp, part in enumerate(stages(own, (1, 1, 2), True)) if pp > 0
    }  # fmt: skip
    there = put(tmp_path / "there", ranks)
    status, why = reasons(tmp_path, one, there)
    assert status == 1
    assert "candidate: 1 rank is missing (pp0): no other rank has their layers" in why
    assert not any("diverged" in text for text in why)


@pytest.mark.parametrize("local", [False, True])
def test_stages_that_count_from_1(tmp_path: Path, local: bool) -> None:
    whole = run(Cut(layers=4))[0]
    one = write(tmp_path / "one", [whole])
    parts = stages(whole, (1, 1, 1, 1), local)
    assert reasons(tmp_path, one, put(tmp_path / "there", without(parts, label="pp", first=1))) == (
        0,
        [],
    )


def test_one_tensor_rank_of_a_stage(tmp_path: Path) -> None:
    ranks = {
        f"pp{pp}-tp{tp}": part for tp, own in enumerate(run(Cut(layers=4, ranks=2)))
        for pp, part in enumerate(stages(own, (2, 2), True)) if (pp, tp) != (1, 1)
    }  # fmt: skip
    one = write(tmp_path / "one", run(Cut(layers=4)))
    why = reasons(tmp_path, one, put(tmp_path / "there", ranks))[1]
    assert "candidate: 1 rank is missing (tp1-pp1): no parts are joined" in why


# Several kinds of parallelism


def two_kinds(tensor: int, contexts: int) -> tuple[Records, dict[tuple[int, int], Records]]:
    """The whole, and what each rank has of it, by places in tensor and context parallelism."""
    cut = Cut(tokens=16, kv_heads=4)
    tokens = zigzag(16, contexts)
    ranks = run(replace(cut, ranks=tensor))
    return run(cut)[0], {
        (tp, cp): {name: value[tokens[cp]] for name, value in own.items()}
        for tp, own in enumerate(ranks) for cp in range(contexts)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("tensor", "contexts", "gone", "shown"),
    [
        (4, 2, "tp3", "parts of 3 ranks are 3/4 as wide as in the other capture"),
        (4, 2, "tp0", "parts of 3 ranks are 3/4 as wide as in the other capture"),
        (2, 4, "tp1", "parts of 1 rank are 1/2 as wide as in the other capture"),
        (2, 4, "cp3", "parts of 3 ranks are 3/4 as long as in the other capture"),
        (2, 4, "cp0", "parts of 3 ranks are 3/4 as long as in the other capture"),
    ],
)
def test_a_place_of_one_kind_that_no_rank_has(
    tmp_path: Path, tensor: int, contexts: int, gone: str, shown: str
) -> None:
    whole, ranks = two_kinds(tensor, contexts)
    named = {f"tp{tp}-cp{cp}": own for (tp, cp), own in ranks.items()}
    one = write(tmp_path / "one", [whole])
    assert reasons(tmp_path, one, put(tmp_path / "all", named)) == (0, [])
    there = {name: own for name, own in named.items() if gone not in name.split("-")}
    status, why = reasons(tmp_path, one, put(tmp_path / "there", there))
    assert status == 1
    assert f"candidate: 1 rank is missing ({gone}): no parts are joined; {shown}" in why


def test_stages_of_which_one_tensor_rank_is_there(tmp_path: Path) -> None:
    own = run(Cut(layers=4, ranks=2, kv_heads=4))[0]
    ranks = {f"pp{pp}-tp0": part for pp, part in enumerate(stages(own, (2, 2), True))}
    one = write(tmp_path / "one", run(Cut(layers=4, kv_heads=4)))
    why = reasons(tmp_path, one, put(tmp_path / "there", ranks))[1]
    shown = "parts of 1 rank are 1/2 as wide as in the other capture"
    assert f"candidate: 1 rank is missing (tp1): no parts are joined; {shown}" in why


def test_one_tensor_rank_that_is_all(tmp_path: Path) -> None:
    whole = run(Cut(layers=4))[0]
    ranks = {f"pp{pp}-tp0": part for pp, part in enumerate(stages(whole, (2, 2), True))}
    one = write(tmp_path / "one", [whole])
    assert reasons(tmp_path, one, put(tmp_path / "there", ranks)) == (0, [])


# One rank alone


@pytest.mark.parametrize("label", ["rank", "tp"])
@pytest.mark.parametrize("style", ["vllm", "hf", "megatron"])
@pytest.mark.parametrize("there", [0, 1])
def test_the_other_of_two_ranks(tmp_path: Path, label: str, style: str, there: int) -> None:
    cut = Cut(style=style, kv_heads=2)
    one = write(tmp_path / "one", run(cut))
    alone = put(tmp_path / "there", without(run(replace(cut, ranks=2)), 1 - there, label=label))
    shown = "parts of 1 rank are 1/2 as wide as in the other capture"
    has = "the one that is there has parts"
    for sides, name in (((one, alone), "candidate"), ((alone, one), "reference")):
        status, why = reasons(tmp_path, *sides)
        assert status == 1
        assert f"{name}: 1 rank is missing ({label}{1 - there}): {has}; {shown}" in why


def test_one_rank_that_has_all_misses_none(tmp_path: Path) -> None:
    whole = run(Cut())[0]
    one = write(tmp_path / "one", [whole])
    assert reasons(tmp_path, one, put(tmp_path / "there", {"rank0": whole})) == (0, [])


def test_one_rank_of_each_capture(tmp_path: Path) -> None:
    sides = [put(tmp_path / name, without(run(Cut(ranks=2)), 1)) for name in ("one", "there")]
    assert reasons(tmp_path, *sides) == (0, [])
