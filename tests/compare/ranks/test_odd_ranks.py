"""One rank that is not like the others: what it lacks, and what it has in another form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.ranks.cut_llama import Cut, Fault, Records, run, stages, write
from support.ranks.reports import report_of

CUT = Cut(kv_heads=4)
Change = Callable[[str, Any], Any]


def changed(rank: int, change: Change, cut: Cut = CUT, ranks: int = 4) -> list[Records]:
    """What ranks record, each value of one of them as `change` makes it; None leaves it out."""
    found = run(replace(cut, ranks=ranks))
    own = {name: change(name, value) for name, value in found[rank].items()}
    found[rank] = {name: value for name, value in own.items() if value is not None}
    return found


def reasons(folder: Path, ranks: list[Records], cut: Cut = CUT) -> tuple[int, list[str], Any]:
    one = write(folder / "one", run(replace(cut, ranks=1, fault=None)))
    status, report = report_of(folder, one, write(folder / "many", ranks))
    return status, report["outcome"]["reasons"], report["first_divergence"]


def drop(*words: str) -> Change:
    return lambda name, value: None if any(word in name for word in words) else value


LACKS = {
    "layers": (drop("layers.1", "layers.2"), "model.layers.1, model.layers.2, which other ranks"),
    "a layer": (drop("layers.1"), "model.layers.1, which other ranks have"),
    "a record": (drop("layers.1.mlp.gate_up_proj"), "model.layers.1.mlp.gate_up_proj"),
}


@pytest.mark.parametrize("what", LACKS)
@pytest.mark.parametrize("rank", [0, 2])
def test_what_one_rank_lacks(tmp_path: Path, what: str, rank: int) -> None:
    change, said = LACKS[what]
    status, found, first = reasons(tmp_path, changed(rank, change))
    assert status == 1 and first is None
    assert found[0].startswith(f"candidate: rank{rank} lacks {said}")


def test_logits_that_one_rank_lacks(tmp_path: Path) -> None:
    logits = np.random.default_rng(0).standard_normal((10, 64)).astype(np.float32)
    ranks = run(replace(CUT, ranks=4))
    for rank, own in enumerate(ranks[:3]):
        own["lm_head"] = np.split(logits, 4, -1)[rank]
    whole = {**run(CUT)[0], "lm_head": logits}
    one, many = write(tmp_path / "one", [whole]), write(tmp_path / "many", ranks)
    status, report = report_of(tmp_path, one, many)
    assert (status, report["outcome"]["reasons"]) == (1, ["candidate: rank3 lacks lm_head"])


def test_logits_of_the_first_rank_alone_are_lacked_by_none(tmp_path: Path) -> None:
    logits = np.random.default_rng(0).standard_normal((10, 64)).astype(np.float32)
    ranks = run(replace(CUT, ranks=4))
    ranks[0]["lm_head"] = logits
    one = write(tmp_path / "one", [{**run(CUT)[0], "lm_head": logits}])
    assert report_of(tmp_path, one, write(tmp_path / "many", ranks))[0] == 0


def steps_of(folder: Path, ranks: int, gone: tuple[int, int] | None) -> Path:
    for step in range(3):
        cut = replace(CUT, ranks=ranks)
        cut.ids = np.random.default_rng(step).integers(0, 128, cut.tokens if step == 0 else 1)
        for rank, own in enumerate(run(cut)):
            place = folder / (f"rank{rank}" if ranks > 1 else "") / f"step_{step}.npz"
            place.parent.mkdir(parents=True, exist_ok=True)
            if (rank, step) != gone:
                np.savez(place, **own)
    return folder


@pytest.mark.parametrize("gone", [None, (2, 2), (0, 1)])
def test_a_step_that_one_rank_lacks(tmp_path: Path, gone: tuple[int, int] | None) -> None:
    one = steps_of(tmp_path / "one", 1, None)
    status, report = report_of(tmp_path, one, steps_of(tmp_path / "many", 4, gone))
    assert report["first_divergence"] is None
    if gone is None:
        assert status == 0
        return
    said = f"candidate: rank{gone[0]} lacks step {gone[1]}, which other ranks have"
    assert (status, report["outcome"]["reasons"]) == (1, [said])


def test_stages_that_have_other_layers_lack_none(tmp_path: Path) -> None:
    one = write(tmp_path / "one", run(CUT))
    (tmp_path / "many").mkdir()
    for tp, own in enumerate(run(replace(CUT, ranks=2))):
        for pp, part in enumerate(stages(own, (2, 1), False)):
            np.savez(tmp_path / "many" / f"tp{tp}-pp{pp}.npz", **part)
    assert report_of(tmp_path, one, tmp_path / "many")[0] == 0


@pytest.mark.parametrize("changed_stage", [0, 1])
def test_a_layer_of_two_stages(tmp_path: Path, changed_stage: int) -> None:
    whole = run(CUT)[0]
    parts = stages(whole, (2, 1), False)
    for stage in range(2):
        parts[stage].update({
            name: value * np.float32(1.5) if stage == changed_stage else value
            for name, value in whole.items() if "layers.1" in name
        })  # fmt: skip
    one = write(tmp_path / "one", [whole])
    status, report = report_of(tmp_path, one, write(tmp_path / "many", parts, "pp{}"))
    said = "candidate: model.layers.1 is on pp0 and pp1, with other values"
    assert (status, report["outcome"]["reasons"]) == (1, [said])


def test_a_row_more_on_one_rank(tmp_path: Path) -> None:
    def longer(name: str, value: Any) -> Any:
        return np.concatenate((value, value[-1:])) if name.endswith("1.mlp.act_fn") else value

    status, found, _ = reasons(tmp_path, changed(2, longer))
    assert status == 1
    assert found == ["candidate: rank2 has another shape of model.layers.1.mlp.act_fn"]


@pytest.mark.parametrize("ranks", [2, 4])
def test_a_rank_in_another_dtype(tmp_path: Path, ranks: int) -> None:
    other = changed(1, lambda _, value: value.astype(np.float16), ranks=ranks)
    status, found, _ = reasons(tmp_path, other)
    said = "rank1 has the dtype float16, and others another, of model.embed_tokens and 34 more"
    assert status == 1 and f"candidate: {said}" in found


NORM, LAYER, LAST = "model.layers.1.input_layernorm", "model.layers.1", "model.norm"


@pytest.mark.parametrize("name", [NORM, LAYER, LAST])
@pytest.mark.parametrize("ranks", [2, 4])
def test_zeros_on_all_ranks_but_the_first_are_no_parts_of_a_sum(
    tmp_path: Path, name: str, ranks: int
) -> None:
    found = run(replace(CUT, ranks=ranks))
    for own in found[1:]:
        own[name] = own[name] * 0
    status, said, _ = reasons(tmp_path, found)
    assert status == 1 and any(name in text for text in said)


@pytest.mark.parametrize("name", ["input_ids", "positions"])
@pytest.mark.parametrize(("ranks", "odd"), [(2, 1), (4, 2)])
def test_one_token_that_is_another_on_one_rank(
    tmp_path: Path, name: str, ranks: int, odd: int
) -> None:
    numbers = np.arange(10)
    found = [{name: numbers, **own} for own in run(replace(CUT, ranks=ranks))]
    one = write(tmp_path / "one", [{name: numbers, **run(CUT)[0]}])
    assert report_of(tmp_path, one, write(tmp_path / "good", found))[0] == 0
    found[odd][name] = np.where(numbers == 4, 77, numbers)
    status, report = report_of(tmp_path, one, write(tmp_path / "odd", found))
    (unequal,) = report["candidate"]["ranks"]["unequal"]
    assert status == 1 and (unequal["name"], unequal["rank"]) == (name, f"rank{odd}")


@pytest.mark.parametrize("name", ["self_attn.qkv_proj", "mlp.gate_up_proj", "self_attn.attn"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_the_rank_that_has_nan_is_named(tmp_path: Path, name: str, value: float) -> None:
    def spoilt(record: str, values: Any) -> Any:
        if record == f"model.layers.1.{name}":
            values = values.copy()
            values[3, 5] = value
        return values

    cut = replace(CUT, fault=Fault(1, 1, "wo", 1.0000005))  # rounding, elsewhere
    status, _, first = reasons(tmp_path, changed(2, spoilt, cut), cut)
    assert status == 1 and first["module"] == f"layers.1.{name}"
    assert first["rank"] == "rank2 of the candidate: all of the error is in its part"
