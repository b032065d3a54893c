"""Tensor files whose names a JSON beside them says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from layertui.capture import open_capture

NAMES = ["model.embed_tokens", "model.layers.0.mlp", "model.layers.1.mlp", "lm_head"]


def _files(folder: Path) -> list[str]:
    for number in range(len(NAMES)):
        np.save(folder / f"{number}.npy", np.full((2, 3), number, np.float32))
    return [f"{number}.npy" for number in range(len(NAMES))]


def _forms(files: list[str]) -> dict[str, Any]:
    both = list(zip(NAMES, files, strict=True))
    return {
        "name: file": dict(both),
        "file: name": {file: name for name, file in both},
        "stem: name": {file[:-4]: name for name, file in both},
        "with a folder": {name: f"/data/run7/{file}" for name, file in both},
        "list": [{"name": name, "file": file, "shape": [2, 3]} for name, file in both],
        "inside": {"run": "x", "tensors": [{"module": n, "path": f} for n, f in both]},
        "name: entry": {name: {"filename": file, "shape": [2, 3]} for name, file in both},
        "file: entry": {file: {"module": name} for name, file in both},
    }


@pytest.mark.parametrize("form", list(_forms(["0.npy"] * 4)))
def test_names_and_order(tmp_path: Path, form: str) -> None:
    (tmp_path / "index.json").write_text(json.dumps(_forms(_files(tmp_path))[form]))
    capture = open_capture(tmp_path)
    assert [record.name for record in capture.records] == NAMES
    assert [record.locator and Path(record.locator.path).name for record in capture.records] == [
        f"{number}.npy" for number in range(len(NAMES))
    ]
    assert (capture.order_known, capture.order_source) == (True, "order of index.json")


def test_json_lines_with_slots_steps_and_calls(tmp_path: Path) -> None:
    lines = []
    for number, (name, kind, step) in enumerate(
        [("mlp", "input", 0), ("mlp", "output", 0), ("mlp", "output", 0), ("mlp", "output", 1)]
    ):
        torch.save(torch.full((2,), number), tmp_path / f"{number:03}.pt")
        lines.append({"layer": name, "kind": kind, "step": step, "filename": f"{number:03}.pt"})
    (tmp_path / "index.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found = [(r.module, r.slot, r.call, r.step) for r in open_capture(tmp_path).records]
    assert found == [
        ("mlp", "input", 1, 0), ("mlp", "output", 1, 0), ("mlp", "output", 2, 0),
        ("mlp", "output", 1, 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "said",
    [
        {"name": "run 7", "model": "0.npy"},  # names too few
        dict.fromkeys(NAMES, "0.npy"),  # one file several times
        {"0.npy": "mlp", "1.npy": "mlp", "2.npy": "mlp", "3.npy": "mlp"},  # says nothing
        {name: f"{number}.txt" for number, name in enumerate(NAMES)},  # files that are not here
        [1, 2, 3], "0.npy", {"a": {"b": {"c": None}}},
    ],
)  # fmt: skip
def test_other_json_changes_nothing(tmp_path: Path, said: Any) -> None:
    files = _files(tmp_path)
    (tmp_path / "index.json").write_text(json.dumps(said))
    assert [record.name + ".npy" for record in open_capture(tmp_path).records] == files


def test_damaged_json_and_links_change_nothing(tmp_path: Path) -> None:
    files = _files(tmp_path)
    index = tmp_path / "index.json"
    whole = json.dumps(_forms(files)["name: file"])
    for end in range(0, len(whole) - 1, 7):
        index.write_text(whole[:end])
        assert [record.name + ".npy" for record in open_capture(tmp_path).records] == files
    index.unlink()
    (tmp_path.parent / "elsewhere.json").write_text(whole)
    index.symlink_to(tmp_path.parent / "elsewhere.json")
    assert [record.name + ".npy" for record in open_capture(tmp_path).records] == files


def test_names_cannot_lead_anywhere(tmp_path: Path) -> None:
    files = _files(tmp_path)
    said = dict(zip(files, ["../../a", "/etc/b", "c\n\x1b[1m", "d"],
                                             strict=True))  # fmt: skip
    (tmp_path / "index.json").write_text(json.dumps(said))
    for record in open_capture(tmp_path).records:
        assert record.locator is not None and Path(record.locator.path).parent == tmp_path
        assert record.name.isprintable()
