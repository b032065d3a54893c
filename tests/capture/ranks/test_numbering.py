"""Stages of a pipeline and experts of ranks, counted from 0 on each or numbered through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layertui.capture import open_capture, record
from layertui.capture.load import load
from layertui.capture.records import Capture
from support.ranks.cut_llama import Cut, Fault, Records, run, stages, write


def assert_whole(capture: Capture, whole: Records) -> None:
    assert [record.name for record in capture.records] == list(whole)
    for one in capture.records:
        assert one.locator is not None
        np.testing.assert_array_equal(load(one.locator), whole[one.name])


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize("sizes", [(2, 2), (1, 3), (2, 1, 1)])
def test_stages_that_are_named_become_one_model(
    tmp_path: Path, local: bool, sizes: tuple[int, ...]
) -> None:
    whole = run(Cut(layers=4))[0]
    capture = open_capture(write(tmp_path / "run", stages(whole, sizes, local), "pp{}"))
    assert_whole(capture, whole)
    said = f"pipeline of {len(sizes)} stages: layers of each count from 0, and are numbered through"
    assert (said in capture.notes) == local


def test_stages_of_two_tensor_ranks_each(tmp_path: Path) -> None:
    ranks = run(Cut(ranks=2, layers=4))
    cut = [stages(own, (2, 2), local=True) for own in ranks]
    (tmp_path / "run").mkdir()
    for tp, own in enumerate(cut):
        for pp, part in enumerate(own):
            np.savez(tmp_path / f"run/tp{tp}-pp{pp}.npz", **part)
    capture = open_capture(tmp_path / "run")
    whole = run(Cut(layers=4))[0]
    assert sorted(record.name for record in capture.records) == sorted(whole)
    for one in capture.records:
        assert one.locator is not None
        np.testing.assert_allclose(load(one.locator), whole[one.name], rtol=2e-4, atol=2e-5)


def test_equal_models_on_two_ranks_are_no_stages(tmp_path: Path) -> None:
    good, bad = run(Cut())[0], run(Cut(fault=Fault(0, 1, "up")))[0]
    capture = open_capture(write(tmp_path / "run", [good, bad]))
    assert not any("pipeline" in note for note in capture.notes)


def linked(folder: Path, order: tuple[int, ...], broken: bool = False) -> Capture:
    """Native captures of stages, which have inputs: one stage's output is the next one's input."""
    draw = np.random.default_rng(0)
    flow = [draw.standard_normal((4, 8)).astype(np.float32) for _ in range(7)]
    for rank, stage in enumerate(order):
        with record(None, folder / f"rank{rank}") as recorder:
            for layer in range(2):
                at = 2 * stage + layer
                given = flow[at] + (1 if broken and layer == 0 else 0)
                recorder.add(f"model.layers.{layer}", given, slot="input_0")
                recorder.add(f"model.layers.{layer}", flow[at + 1], slot="output")
    return open_capture(folder)


@pytest.mark.torch
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_stages_are_told_by_what_one_hands_to_the_next(
    tmp_path: Path, order: tuple[int, ...]
) -> None:
    capture = linked(tmp_path / "run", order)
    names = {f"model.layers.{layer}-output" for layer in range(6)}
    assert {r.name for r in capture.records if r.slot == "output"} == names
    assert capture.of_ranks is not None and not capture.of_ranks.joined


@pytest.mark.torch
def test_without_a_link_they_stay_apart(tmp_path: Path) -> None:
    capture = linked(tmp_path / "run", (0, 1, 2), broken=True)
    assert {r.name.partition("/")[0] for r in capture.records} == {"rank0", "rank1", "rank2"}


def experts(ranks: int, each: int, width: int, local: bool) -> list[Records]:
    draw = np.random.default_rng(1)
    x = draw.standard_normal((6, 8)).astype(np.float32)
    gate = draw.standard_normal((6, width)).astype(np.float32)
    found: list[Records] = []
    for rank in range(ranks):
        own: Records = {"model.layers.0.input_layernorm": x, "model.layers.0.mlp.gate": gate}
        for expert in range(each):
            number = expert if local else rank * each + expert
            value: Any = draw.standard_normal((3, 8)).astype(np.float32)
            own[f"model.layers.0.mlp.experts.{number}.down_proj"] = value
        own["model.layers.0.mlp"] = x * 2
        found.append(own)
    return found


@pytest.mark.parametrize("local", [False, True])
def test_experts_of_all_ranks_are_gathered(tmp_path: Path, local: bool) -> None:
    ranks = experts(3, 2, 6, local)
    capture = open_capture(write(tmp_path / "run", ranks))
    values = {r.name: r for r in capture.records}
    for number in range(6):
        name = f"model.layers.0.mlp.experts.{number}.down_proj"
        place = values[name].locator
        assert place is not None
        own = ranks[number // 2]
        key = name if not local else name.replace(f"experts.{number}.", f"experts.{number % 2}.")
        np.testing.assert_array_equal(load(place), own[key])
    assert len(values) == 9


def test_experts_are_not_numbered_where_the_router_has_another_width(tmp_path: Path) -> None:
    """Every rank has a part of every expert, or it is not known."""
    capture = open_capture(write(tmp_path / "run", experts(3, 2, 2, True)))
    assert not any("numbered through" in note for note in capture.notes)
    assert any(r.name.startswith("rank1/") for r in capture.records)


def interleaved(records: Records, count: int, chunks: int, around: str) -> list[Records]:
    """The records by stage, of which each has several chunks of layers counted from 0."""
    found: list[Records] = [{} for _ in range(count)]
    size = 8 // (count * chunks)
    for name, value in records.items():
        if "layers" not in name:
            first = "embed" in name
            chunk = 0 if first else chunks - 1
            found[0 if first else -1][f"{around}{chunk}.{name.removeprefix('model.')}"] = value
            continue
        number = int(name.split(".")[2])
        chunk, stage = divmod(number // size, count)
        rest = name.removeprefix("model.").replace(f"layers.{number}", f"layers.{number % size}")
        found[stage][f"{around}{chunk}.{rest}"] = value
    return found


@pytest.mark.parametrize("around", ["", "module."])
@pytest.mark.parametrize(("count", "chunks"), [(2, 2), (2, 4), (4, 2)])
def test_interleaved_stages(tmp_path: Path, count: int, chunks: int, around: str) -> None:
    whole = run(Cut(layers=8))[0]
    ranks = interleaved(whole, count, chunks, around)
    capture = open_capture(write(tmp_path / "run", ranks, "pp{}"))
    expected = {around + name.removeprefix("model."): value for name, value in whole.items()}
    assert {record.name for record in capture.records} == set(expected)
    for one in capture.records:
        assert one.locator is not None
        np.testing.assert_array_equal(load(one.locator), expected[one.name])


def test_interleaved_stages_of_tensor_ranks(tmp_path: Path) -> None:
    for tp, own in enumerate(run(Cut(ranks=2, layers=8))):
        for pp, part in enumerate(interleaved(own, 2, 2, "")):
            (tmp_path / "run").mkdir(exist_ok=True)
            np.savez(tmp_path / "run" / f"tp{tp}_pp{pp}.npz", **part)
    whole = run(Cut(layers=8))[0]
    capture = open_capture(tmp_path / "run")
    assert {r.name for r in capture.records} == {n.removeprefix("model.") for n in whole}


def test_chunks_without_stages_keep_their_names(tmp_path: Path) -> None:
    ranks = interleaved(run(Cut(layers=8))[0], 2, 2, "")
    names = {record.name.partition("/")[2] for record in
             open_capture(write(tmp_path / "run", ranks)).records}  # fmt: skip
    assert "0.layers.0.mlp" in names
