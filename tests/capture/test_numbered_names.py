"""Numbers in front of names that count records, and files of one layer each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from layertui.capture import Capture, open_capture
from layertui.compare import open_comparison

MODULES = (
    "model.embed_tokens", "model.layers.0.input_layernorm", "model.layers.0.mlp.down_proj",
    "model.layers.1.input_layernorm", "model.layers.1.mlp.down_proj", "lm_head",
)  # fmt: skip
VALUES = {
    name: np.random.default_rng(at).standard_normal((3, 4)).astype(np.float32)
    for at, name in enumerate(MODULES)
}


def files(folder: Path, names: list[str]) -> Path:
    folder.mkdir()
    for name, value in zip(names, VALUES.values(), strict=True):
        np.save(folder / f"{name}.npy", value)
    return folder


def seen(capture: Capture) -> list[tuple[str, str, int]]:
    return [(record.module, record.slot, record.call) for record in capture.records]


@pytest.mark.parametrize(
    "style",
    ["{at:04d}_{name}", "{at}-{dashes}", "{at:03d}.{name}", "{at} {name}", "{at:02d}:{name}"],
)
def test_numbers_count_records(tmp_path: Path, style: str) -> None:
    names = [
        style.format(at=at + 9, name=name, dashes=name.replace(".", "-"))
        for at, name in enumerate(MODULES)
    ]
    capture = open_capture(files(tmp_path / "c", names))
    assert (capture.order_known, capture.order_source) == (True, "numbers in front of the names")
    assert [record.name for record in capture.records] == names
    reference = files(tmp_path / "r", list(MODULES))
    comparison = open_comparison(str(reference), str(tmp_path / "c"))
    pairs = [
        (r.reference.name, r.candidate.name) for r in comparison.rows if r.reference and r.candidate
    ]
    assert sorted(pairs) == sorted(zip(MODULES, names, strict=True))


def test_a_module_that_runs_twice_has_two_calls(tmp_path: Path) -> None:
    names = ["00_norm", "01_mlp", "02_norm", "03_head", "04_tail", "05_end"]
    capture = open_capture(files(tmp_path / "c", names))
    assert seen(capture)[:3] == [("norm", "value", 1), ("mlp", "value", 1), ("norm", "value", 2)]


@pytest.mark.parametrize(
    "names",
    [
        ["0_hidden", "1_hidden", "2_hidden", "3_hidden", "4_hidden", "5_hidden"],  # of layers
        ["0.conv", "1.norm", "2.act", "3.pool", "4.flat", "5.head"],  # of a Sequential
        ["0_norm", "0_mlp", "1_norm", "1_mlp", "2_norm", "2_mlp"],  # of layers
        ["0_a", "1_b", "2_c", "3_d", "4_e", "last"],  # not all
        ["7_a", "900_b", "17_c", "123456_d", "5_e", "88_f"],  # that count nothing
    ],
)
def test_numbers_that_count_no_records_stay(tmp_path: Path, names: list[str]) -> None:
    capture = open_capture(files(tmp_path / "c", names))
    assert sorted(record.module for record in capture.records) == sorted(names)
    assert not capture.order_known


def test_files_of_one_layer_each(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    folder.mkdir()
    for layer in (0, 1):
        own = {
            name.split(".", 3)[3]: value
            for name, value in VALUES.items()
            if f"layers.{layer}." in name
        }
        save_file(own, folder / f"layer_{layer}.safetensors")
    save_file({"lm_head": VALUES["lm_head"]}, folder / "other.safetensors")
    capture = open_capture(folder)
    assert not any(record.error for record in capture.records)
    comparison = open_comparison(str(files(tmp_path / "r", list(MODULES))), str(folder))
    pairs = {
        r.reference.name: r.candidate.name for r in comparison.rows if r.reference and r.candidate
    }
    assert pairs == {
        name: f"layer_{name.split('.')[2]}/{name.split('.', 3)[3]}" if "layers" in name else "other"
        for name in MODULES[1:]
    }


def test_parts_that_hold_one_name_twice_are_still_refused(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    folder.mkdir()
    for part in ("part1", "part2"):
        save_file({"model.norm": VALUES["lm_head"]}, folder / f"{part}.safetensors")
    assert ["duplicate name" in (r.error or "") for r in open_capture(folder).records] == [True] * 2
