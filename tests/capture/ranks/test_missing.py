"""Ranks that are missing though their number lies at an end: what names, the recording and rules
tell of it.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from layertui.capture import open_capture, record
from layertui.capture.ranks.layout import parse_layout
from layertui.capture.records import Capture
from support.ranks.cut_llama import Cut, Records, run, write


def missing(capture: Capture) -> list[str]:
    return [record.name for record in capture.records if record.error]


@pytest.mark.parametrize("label", ["rank{}of4", "rank_{}_of_4", "tp{}of4"])
@pytest.mark.parametrize("gone", [0, 3])
def test_names_that_tell_how_many_there_are(tmp_path: Path, label: str, gone: int) -> None:
    folder = write(tmp_path / "run", run(Cut(ranks=4)), label)
    (folder / f"{label.format(gone)}.npz").unlink()
    capture = open_capture(folder)
    kind = "tp" if label.startswith("tp") else "rank"
    assert missing(capture) == [f"{kind}{gone}"]
    assert capture.rank_faults == f"1 rank is missing ({kind}{gone}): no parts are joined"


def test_numbers_up_to_the_number_of_all_count_from_1(tmp_path: Path) -> None:
    records = run(Cut(ranks=4))
    folder = tmp_path / "run"
    folder.mkdir()
    for number, own in enumerate(records, 1):
        np.savez(folder / f"rank{number}of4.npz", **own)
    assert missing(open_capture(folder)) == []
    (folder / "rank1of4.npz").unlink()
    assert missing(open_capture(folder)) == ["rank1"]


@pytest.mark.parametrize(("words", "gone", "name"), [
    ("tp4", 3, "tp3"), ("tp4", 0, "tp0"), ("cp2 tp2", 3, "tp1-cp1"), ("cp2 tp2", 0, "tp0-cp0"),
])  # fmt: skip
def test_a_layout_that_tells_it(tmp_path: Path, words: str, gone: int, name: str) -> None:
    folder = write(tmp_path / "run", run(Cut(ranks=4, kv_heads=4)))
    (folder / f"rank{gone}.npz").unlink()
    assert missing(open_capture(folder, layout=parse_layout(words))) == [name]


def test_a_whole_row_of_a_grid(tmp_path: Path) -> None:
    """Neither of the ranks that are left tells by its number that there are more."""
    folder = write(tmp_path / "run", run(Cut(ranks=4, kv_heads=4)))
    for gone in (1, 3):
        (folder / f"rank{gone}.npz").unlink()
    found = missing(open_capture(folder, layout=parse_layout("cp2 tp2")))
    assert found == ["tp1-cp0", "tp1-cp1"]


@pytest.mark.torch
@pytest.mark.parametrize("gone", [0, 2])
def test_recordings_tell_the_number_of_processes(tmp_path: Path, gone: int) -> None:
    for rank, own in enumerate(_parts(3)):
        if rank == gone:
            continue
        with record(None, tmp_path / "run" / f"rank{rank}") as recorder:
            for name, value in own.items():
                recorder.add(name, value)
        manifest = tmp_path / "run" / f"rank{rank}" / "manifest.jsonl"
        header, rest = manifest.read_text().split("\n", 1)
        told = json.dumps({**json.loads(header), "rank": rank, "world_size": 3})
        manifest.write_text(f"{told}\n{rest}")
    assert missing(open_capture(tmp_path / "run")) == [f"rank{gone}"]


def _parts(ranks: int) -> list[Records]:
    draw = np.random.default_rng(0)
    norm = draw.standard_normal((4, 8)).astype(np.float32)
    return [
        {"layers.0.norm": norm,
         "layers.0.mlp.up_proj": draw.standard_normal((4, 8)).astype(np.float32),
         "layers.0.mlp": norm * 2} for _ in range(ranks)
    ]  # fmt: skip


def test_ranks_that_all_have_the_same_miss_none(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", [run(Cut())[0]] * 3, "rank{}of4")
    assert missing(open_capture(folder)) == []


# Experts


def experts(ranks: int, layers: int, local: bool) -> list[Records]:
    """Two of them on each rank."""
    draw = np.random.default_rng(1)
    found: list[Records] = [{} for _ in range(ranks)]
    for layer in range(layers):
        at = f"model.layers.{layer}"
        shared = draw.standard_normal((6, 2 * ranks)).astype(np.float32)
        for rank, own in enumerate(found):
            own[f"{at}.mlp.gate"] = shared
            for number in range(2):
                expert = number if local else 2 * rank + number
                value = draw.standard_normal((3, 8)).astype(np.float32)
                own[f"{at}.mlp.experts.{expert}.down_proj"] = value
            own[f"{at}.mlp"] = shared * 2
    return found


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize("label", ["rank", "ep"])
@pytest.mark.parametrize("gone", [0, 2, 3])
def test_experts_that_no_rank_has(tmp_path: Path, gone: int, label: str, local: bool) -> None:
    folder = write(tmp_path / "run", experts(4, 2, local), f"{label}{{}}")
    (folder / f"{label}{gone}.npz").unlink()
    capture = open_capture(folder)
    assert missing(capture) == [f"{label}{gone}"]
    names = {record.name for record in capture.records}
    there = {2 * rank + n for rank in range(4) if rank != gone for n in range(2)}
    assert {f"model.layers.1.mlp.experts.{n}.down_proj" for n in there} <= names
    assert "no other rank has their experts" in capture.rank_faults


def test_experts_that_tokens_chose_miss_no_rank(tmp_path: Path) -> None:
    """One layer, and the first half of each rank's experts: they may be the ones that ran."""
    ranks = experts(4, 1, True)
    for own in ranks:
        own["model.layers.0.mlp.gate"] = np.zeros((6, 16), np.float32) + np.arange(16)
    assert missing(open_capture(write(tmp_path / "run", ranks))) == []


def test_ranks_of_which_nothing_is_known_get_a_line(tmp_path: Path) -> None:
    ranks = [run(Cut(seed=seed))[0] for seed in (0, 1)]
    notes = open_capture(write(tmp_path / "run", ranks)).notes
    assert any("[ranks] of a rules file says which kind" in note for note in notes)


# Ranks of which nothing can be read


def folders(path: Path) -> Path:
    for rank, own in enumerate(run(Cut(ranks=4))):
        (path / f"rank{rank}").mkdir(parents=True)
        np.savez(path / f"rank{rank}" / "acts.npz", **own)
    return path


@pytest.mark.parametrize("rank", [0, 3])
@pytest.mark.parametrize("kind", ["empty", "text", "link"])
def test_a_directory_without_tensors_is_a_rank_that_is_missing(
    tmp_path: Path, rank: int, kind: str
) -> None:
    folder = folders(tmp_path / "run") / f"rank{rank}"
    (folder / "acts.npz").unlink()
    if kind == "text":
        (folder / "log.txt").write_text("started\n")
    if kind == "link":
        (folder / "acts.npz").symlink_to(tmp_path / "nowhere.npz")
    capture = open_capture(tmp_path / "run")
    assert len(missing(capture)) == 1
    assert capture.rank_faults == f"1 rank is missing (rank{rank}): no parts are joined"


def test_an_empty_directory_has_its_place_in_a_layout(tmp_path: Path) -> None:
    (folders(tmp_path / "run") / "rank3" / "acts.npz").unlink()
    capture = open_capture(tmp_path / "run", layout=parse_layout("cp2 tp2"))
    assert capture.rank_faults == "1 rank is missing (rank3): no parts are joined"


def test_directories_that_only_one_rank_fills_are_no_ranks(tmp_path: Path) -> None:
    """Every process makes one, and the first writes."""
    folder = folders(tmp_path / "run")
    for rank in (1, 2, 3):
        (folder / f"rank{rank}" / "acts.npz").unlink()
    assert missing(open_capture(folder)) == []
