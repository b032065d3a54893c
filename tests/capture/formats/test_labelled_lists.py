"""Lists whose items say their own names, in every container that holds lists."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from layertui.capture import Capture, CaptureError, open_capture
from layertui.capture.load import load

NAMES = ("model.embed", "model.layers.0.mlp", "model.layers.1.mlp", "lm_head")


def tensor(index: int) -> np.ndarray[Any, Any]:
    return np.full((1, 2, 3), index, np.float32)


def as_torch(node: Any) -> Any:
    if isinstance(node, np.ndarray):
        return torch.tensor(node)
    if isinstance(node, dict):
        return {key: as_torch(value) for key, value in node.items()}
    return type(node)(map(as_torch, node)) if isinstance(node, (list, tuple)) else node


def write_pt(path: Path, node: Any) -> None:
    torch.save(as_torch(node), path / "acts.pt")


def write_pkl(path: Path, node: Any) -> None:
    (path / "acts.pkl").write_bytes(pickle.dumps(node))


def write_npy(path: Path, node: Any) -> None:
    np.save(path / "acts.npy", np.array(node, dtype=object), allow_pickle=True)


def write_json(path: Path, node: Any) -> None:
    (path / "acts.json").write_text(json.dumps(node, default=lambda array: array.tolist()))


WRITERS = (write_pt, write_pkl, write_npy, write_json)


def values(capture: Capture) -> dict[str, float]:
    return {r.name: float(load(r.locator).flat[0]) for r in capture.records if r.locator}


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(
    "item",
    [
        lambda name, array: (name, array),
        lambda name, array: {"name": name, "tensor": array},
        lambda name, array: {"layer": name, "output": array},
        lambda name, array: {"module": name, "value": array, "shape": [1, 2, 3]},
        lambda name, array: {"name": name, "dtype": "float32", "data": array},
        lambda name, array: {"name": name, "activation": array},
    ],
)
def test_the_text_is_the_name_and_the_order_is_kept(
    tmp_path: Path, write: Callable[[Path, Any], None], item: Callable[[str, Any], Any]
) -> None:
    write(tmp_path, [item(name, tensor(index)) for index, name in enumerate(NAMES)])
    capture = open_capture(tmp_path)
    assert values(capture) == {name: index for index, name in enumerate(NAMES)}
    assert [record.module for record in capture.records] == list(NAMES)
    assert {record.shape for record in capture.records} == {(1, 2, 3)}


@pytest.mark.parametrize("write", (write_pt, write_pkl))
@pytest.mark.parametrize(
    ("node", "names"),
    [
        ([(0, "a.0", tensor(0)), (1, "a.1", tensor(1))], ["a.0", "a.1"]),
        ([("a.0", (1, 2, 3), tensor(0)), ("a.1", (1, 2, 3), tensor(1))], ["a.0", "a.1"]),
        ([("layer 0 attn", tensor(0)), ("layer 1 attn", tensor(1))],
         ["layer 0 attn", "layer 1 attn"]),
        ({"names": ["a.0", "a.1"], "tensors": [tensor(0), tensor(1)]}, ["a.0", "a.1"]),
        ([{"layer": 0, "name": "mlp", "data": tensor(0)},
          {"layer": 1, "name": "mlp", "data": tensor(1)}], ["layer_0/mlp", "layer_1/mlp"]),
        ([{"layer": 0, "output": tensor(0)}, {"layer": 1, "output": tensor(1)}],
         ["layer_0", "layer_1"]),
        ([("a.mlp", tensor(0)), ("b.mlp", tensor(1)), ("a.mlp", tensor(2))],
         ["a.mlp", "b.mlp", "a.mlp(2)"]),
        ([("a.mlp", None), ("b.mlp", tensor(1))], ["b.mlp"]),
        # What names nothing, or one thing for all, keeps its numbers.
        ([tensor(0), tensor(1)], ["0", "1"]),
        ([("a.mlp", tensor(0)), tensor(1)], ["0/1", "1"]),
        ([("cuda:0", tensor(0)), ("cuda:0", tensor(1))], ["0/1", "1/1"]),
        ({"names": ["a.0"], "tensors": [tensor(0), tensor(1)]}, ["tensors/0", "tensors/1"]),
    ],
)  # fmt: skip
def test_other_ways_to_write_it(
    tmp_path: Path, write: Callable[[Path, Any], None], node: Any, names: list[str]
) -> None:
    write(tmp_path, node)
    assert [record.name for record in open_capture(tmp_path).records] == names


def test_steps_of_entries(tmp_path: Path) -> None:
    entries = [
        {"step": step, "name": f"layers.{layer}.mlp", "tensor": tensor(10 * step + layer)}
        for step in range(2) for layer in range(2)
    ]  # fmt: skip
    write_pt(tmp_path, entries)
    capture = open_capture(tmp_path)
    assert [(r.step, r.module) for r in capture.records] == [
        (0, "layers.0.mlp"), (0, "layers.1.mlp"), (1, "layers.0.mlp"), (1, "layers.1.mlp")
    ]  # fmt: skip


@pytest.mark.parametrize("write", (write_pt, write_pkl, write_npy))
def test_an_empty_list_holds_nothing(tmp_path: Path, write: Callable[[Path, Any], None]) -> None:
    write(tmp_path, [])
    with pytest.raises(CaptureError, match="holds no"):
        open_capture(tmp_path)


def test_a_list_that_repeats_itself_is_refused_soon(tmp_path: Path) -> None:
    node: Any = [("a.b", tensor(0)), ("a.c", tensor(1))]
    for _ in range(24):
        node = [("x.1", node), ("x.2", node)]
    write_pkl(tmp_path, node)
    with pytest.raises(CaptureError, match=r"too deep|too often"):
        open_capture(tmp_path)


@pytest.mark.parametrize("word", ["shape", "size", "dims", "strides", "input_shape", "Shape"])
def test_whole_numbers_that_describe_a_tensor_are_no_record(tmp_path: Path, word: str) -> None:
    tree = {"layers.0.mlp": {"out": [[0.5, 1.5]], word: [1, 2]}, "layers.1": {word: [1, 2]}}
    (tmp_path / "a.json").write_text(json.dumps(tree))
    assert [record.name for record in open_capture(tmp_path).records] == ["layers.0.mlp/out"]


@pytest.mark.parametrize("file", ["layer_{}", "block{}", "model.layers.{}"])
def test_keys_of_one_layer_in_a_file_that_tells_which(tmp_path: Path, file: str) -> None:
    for layer in range(2):
        keys = ("self_attn.q_proj", "mlp", "mlp.down_proj-output")
        torch.save(
            {k: torch.full((2,), layer) for k in keys}, tmp_path / f"{file.format(layer)}.pt"
        )
    torch.save({"lm_head": torch.ones(2), "model.norm": torch.ones(2)}, tmp_path / "other.pt")
    records = open_capture(tmp_path).records
    assert {record.error for record in records} == {None}
    stems = [file.format(layer) for layer in range(2)]
    assert {(record.module, record.slot) for record in records} == {
        ("other/lm_head", "value"), ("model.norm", "value"),
        *((f"{stem}/self_attn.q_proj", "value") for stem in stems),
        *((f"{stem}/mlp", "value") for stem in stems),
        *((f"{stem}/mlp.down_proj", "output") for stem in stems),
    }  # fmt: skip


def test_keys_that_tell_their_layer_stay_what_they_are(tmp_path: Path) -> None:
    for layer in range(2):
        torch.save({f"layers.{layer}.mlp": torch.ones(2)}, tmp_path / f"layer_{layer}.pt")
    assert [record.module for record in open_capture(tmp_path).records] == [
        "layers.0.mlp", "layers.1.mlp"
    ]  # fmt: skip


PASSES = {"embed": 2, "l0_mlp": 2, "l1_mlp": 2, "logits": 2}


@pytest.mark.parametrize("write", WRITERS[:3])  # in JSON a list of arrays is an array
def test_lists_under_all_names_are_passes(
    tmp_path: Path, write: Callable[[Path, Any], None]
) -> None:
    """A hook that appends to the list of its module: a pass for warming up, then the real one."""
    write(tmp_path, {name: [tensor(0), tensor(1)] for name in PASSES})
    records = open_capture(tmp_path).records
    assert {(r.module, r.step) for r in records} == {(n, step) for n in PASSES for step in (0, 1)}
    assert all(load(r.locator).flat[0] == r.step for r in records if r.locator)


@pytest.mark.parametrize(
    "lengths",
    [
        {**PASSES, "l1_mlp": 1},  # some are called less often
        {"l0_mlp": 2, "l1_mlp": 2, "l2_mlp": 2, "l3_mlp": 2},  # what a layer returns
        {"hidden": 3, "keys": 3, "values": 3, "logits": 3},  # a tensor of each layer
    ],
)  # fmt: skip
def test_other_lists_are_none(tmp_path: Path, lengths: dict[str, int]) -> None:
    write_pt(tmp_path, {n: [tensor(at) for at in range(size)] for n, size in lengths.items()})
    assert {record.step for record in open_capture(tmp_path).records} == {0}
