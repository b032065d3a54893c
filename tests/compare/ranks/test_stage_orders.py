"""Interleaved stages of a pipeline whose chunks have no numbers: the other capture's values, or
what the ranks hand to each other, show where their layers stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layertui.capture import open_capture, record
from support.ranks.cut_llama import Cut, Fault, Records, run, stages, write
from support.ranks.reports import report_of

LAYERS = 8


def merged(
    records: Records, count: int, chunks: int, order: Sequence[int] = ()
) -> list[Records]:  # fmt: skip
    """The records by stage, which counts the layers of its chunks through. `order` says which rank
    has which stage.
    """
    found: list[Records] = [{} for _ in range(count)]
    size = LAYERS // (count * chunks)
    for name, value in records.items():
        parts = name.split(".")
        if "layers" not in parts:
            found[0 if "embed" in name else -1][name] = value
            continue
        chunk, stage = divmod(int(parts[2]) // size, count)
        parts[2] = str(chunk * size + int(parts[2]) % size)
        found[order[stage] if order else stage][".".join(parts)] = value
    return found


def names_of_pairs(report: dict[str, Any]) -> list[tuple[str, str]]:
    pairs = [row for row in report["rows"] if row["kind"] == "pair"]
    return [(row["reference"]["name"], row["candidate"]["name"]) for row in pairs]


@pytest.mark.parametrize("label", ["pp{}", "rank{}"])
@pytest.mark.parametrize(("count", "chunks"), [(2, 1), (2, 2), (4, 2), (2, 4)])
def test_values_show_the_order(tmp_path: Path, label: str, count: int, chunks: int) -> None:
    whole = run(Cut(layers=LAYERS))[0]
    one = write(tmp_path / "one", [whole])
    status, report = report_of(
        tmp_path, one, write(tmp_path / "there", merged(whole, count, chunks), label)
    )
    assert status == 0
    assert sorted(names_of_pairs(report)) == sorted((name, name) for name in whole)


@pytest.mark.parametrize("layer", [0, 1, 5])
@pytest.mark.parametrize(("count", "chunks"), [(2, 1), (2, 2), (2, 4)])
def test_a_fault_is_found_in_its_layer(
    tmp_path: Path, layer: int, count: int, chunks: int
) -> None:  # fmt: skip
    one = write(tmp_path / "one", run(Cut(layers=LAYERS)))
    bad = run(Cut(layers=LAYERS, fault=Fault(0, layer, "up")))[0]
    there = write(tmp_path / "there", merged(bad, count, chunks), "pp{}")
    report = report_of(tmp_path, one, there)[1]
    assert report["first_divergence"]["module"] == f"layers.{layer}.mlp.gate_up_proj"


def test_outputs_of_layers_alone_show_it(tmp_path: Path) -> None:
    """The stream of residuals, of which neighbours are alike."""
    whole = {n: v for n, v in run(Cut(layers=LAYERS))[0].items() if n.count(".") <= 2}
    one = write(tmp_path / "one", [whole])
    there = write(tmp_path / "there", merged(whole, 2, 2), "pp{}")
    status, report = report_of(tmp_path, one, there)
    assert status == 0 and report["counts"]["pairs"] == len(whole)


def test_tensor_ranks_of_interleaved_stages(tmp_path: Path) -> None:
    one = write(tmp_path / "one", run(Cut(layers=LAYERS)))
    (tmp_path / "there").mkdir()
    for tp, own in enumerate(run(Cut(layers=LAYERS, ranks=2))):
        for pp, part in enumerate(merged(own, 2, 2)):
            np.savez(tmp_path / "there" / f"tp{tp}-pp{pp}.npz", **part)
    status, report = report_of(tmp_path, one, tmp_path / "there")
    assert status == 0 and report["counts"]["gaps_reference"] == 0


@pytest.mark.parametrize("layer", [0, 4, 6])
def test_a_fault_in_stages_of_other_sizes(tmp_path: Path, layer: int) -> None:
    one = write(tmp_path / "one", run(Cut(layers=LAYERS)))
    bad = run(Cut(layers=LAYERS, fault=Fault(0, layer, "up")))[0]
    there = write(tmp_path / "there", stages(bad, (5, 3), True), "pp{}")
    report = report_of(tmp_path, one, there)[1]
    assert report["first_divergence"]["module"] == f"layers.{layer}.mlp.gate_up_proj"
    assert report["counts"]["gaps_candidate"] == 0


def test_what_values_do_not_show_is_said_with_what_to_write(tmp_path: Path) -> None:
    one = write(tmp_path / "one", run(Cut(layers=LAYERS)))
    other = run(Cut(layers=LAYERS, seed=1))[0]
    there = write(tmp_path / "there", merged(other, 2, 2), "pp{}")
    notes = report_of(tmp_path, one, there)[1]["candidate"]["notes"]
    (said,) = [note for note in notes if note.startswith("pipeline of 2 stages")]
    assert "as if no stage had several chunks, which nothing shows: `vpp2` in [ranks]" in said


@pytest.mark.parametrize("first", [(0, 1, 2, 5), (0, 1, 2, 5, 6), (0, 1, 4)])
def test_values_that_fit_no_order_leave_layers_apart(
    tmp_path: Path, first: tuple[int, ...]
) -> None:  # fmt: skip
    """Chunks of other sizes than can be told; `first` are the layers of the first stage."""
    whole = run(Cut(layers=LAYERS))[0]
    rest = [layer for layer in range(LAYERS) if layer not in first]
    where = {
        layer: (stage, local) for stage, own in enumerate((first, rest))
        for local, layer in enumerate(own)
    }  # fmt: skip
    ranks: list[Records] = [{}, {}]
    for name, value in whole.items():
        parts = name.split(".")
        stage = 0 if "embed" in name else 1
        if "layers" in parts:
            stage, local = where[int(parts[2])]
            parts[2] = str(local)
        ranks[stage][".".join(parts)] = value
    one = write(tmp_path / "one", [whole])
    status, report = report_of(tmp_path, one, write(tmp_path / "there", ranks, "pp{}"))
    assert status == 1 and report["first_divergence"] is None
    (why,) = [text for text in report["outcome"]["reasons"] if text.startswith("candidate: layers")]
    assert "in an order that is not known: `vpp2` in [ranks]" in why
    for one_name, other in names_of_pairs(report):
        if ".pp" in other:  # by values
            layer, (stage, local) = (
                int(one_name.split(".")[2]),
                other.split(".pp")[1].split(".")[:2],
            )
            assert where[layer] == (int(stage), int(local))
        else:
            assert "layers" not in other


@pytest.mark.parametrize(("label", "words"), [("pp{}", "vpp2"), ("rank{}", "pp2 vpp2")])
def test_rules_tell_the_chunks(tmp_path: Path, label: str, words: str) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(f'[ranks]\ncandidate = "{words}"\n')
    one = write(tmp_path / "one", run(Cut(layers=LAYERS)))
    other = run(Cut(layers=LAYERS, seed=1))[0]
    there = write(tmp_path / "there", merged(other, 2, 2), label)
    report = report_of(tmp_path, one, there, "--rules", str(rules))[1]
    assert sorted(names_of_pairs(report)) == sorted((name, name) for name in other)


def test_chunks_that_do_not_fit_are_not_numbered(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[ranks]\ncandidate = "vpp3"\n')
    whole = run(Cut(layers=LAYERS))[0]
    one = write(tmp_path / "one", [whole])
    there = write(tmp_path / "there", merged(whole, 2, 2), "pp{}")
    report = report_of(tmp_path, one, there, "--rules", str(rules))[1]
    said = "vpp3 does not fit stages of 4, 4 layers: they are not numbered through"
    assert said in report["candidate"]["notes"]


def test_whole_models_on_two_ranks_are_no_stages(tmp_path: Path) -> None:
    ranks = [run(Cut(layers=4, seed=seed))[0] for seed in (0, 1)]
    one = write(tmp_path / "one", run(Cut(layers=4)))
    report = report_of(tmp_path, one, write(tmp_path / "there", ranks))[1]
    assert not any("pipeline" in note for note in report["candidate"]["notes"])


# Recordings


def flow() -> list[Any]:
    draw = np.random.default_rng(0)
    return [draw.standard_normal((4, 8)).astype(np.float32) for _ in range(LAYERS + 1)]


def recorded(folder: Path, chunks: int, by_call: bool, inputs: bool = True) -> Path:
    """Two stages, each with the inputs and outputs of its layers, chunk by chunk."""
    values, size = flow(), LAYERS // (2 * chunks)
    for stage in range(2):
        with record(None, folder / f"pp{stage}") as recorder:
            for chunk in range(chunks):
                for own in range(size):
                    at = (2 * chunk + stage) * size + own
                    name = f"model.layers.{own if by_call else chunk * size + own}"
                    if inputs:
                        recorder.add(name, values[at], slot="input_0")
                    recorder.add(name, values[at + 1], slot="output")
    return folder


def assert_in_order(path: Path) -> None:
    values = flow()
    outputs = {r.name: r for r in open_capture(path).records if r.slot == "output"}
    assert set(outputs) == {f"model.layers.{n}-output" for n in range(LAYERS)}
    from layertui.capture.load import load

    for number in range(LAYERS):
        place = outputs[f"model.layers.{number}-output"].locator
        assert place is not None
        np.testing.assert_array_equal(load(place), values[number + 1])


@pytest.mark.torch
@pytest.mark.parametrize("chunks", [1, 2, 4])
def test_what_stages_hand_to_each_other_shows_it(tmp_path: Path, chunks: int) -> None:
    assert_in_order(recorded(tmp_path / "run", chunks, by_call=False))


@pytest.mark.torch
def test_chunks_under_the_same_names_are_calls(tmp_path: Path) -> None:
    assert_in_order(recorded(tmp_path / "run", 2, by_call=True))


@pytest.mark.torch
def test_calls_are_no_chunks_where_the_other_capture_has_them_too(tmp_path: Path) -> None:
    one = recorded(tmp_path / "one", 2, by_call=True, inputs=False)
    status, report = report_of(tmp_path, one, recorded(tmp_path / "b", 2, True, inputs=False))
    assert status == 0 and report["counts"]["pairs"] == LAYERS
