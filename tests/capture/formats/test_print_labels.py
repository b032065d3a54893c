"""What prints in logs are called where shapes, dtypes and loggers' brackets stand before them."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch

from layertui.capture import open_capture
from layertui.capture.formats.text.print_labels import label_in, name_before
from layertui.capture.load import load_any
from layertui.capture.values import PartialValues

VALUES = torch.arange(6.0).reshape(1, 2, 3) / 7


@pytest.mark.parametrize(
    ("before", "name"),
    [
        ("2026-01-01 10:00:01,123 INFO model.py:7 [model.layers.{}.mlp] shape=[1, 2, 3]\n",
         "model.layers.{}.mlp"),
        ("layer {} mlp output shape: torch.Size([1, 2, 3]) values: ", "layer {} mlp output"),
        ("[DEBUG] layer {} attn_out torch.Size([1, 2, 3])\n ", "layer {} attn_out"),
        ("[INFO] [layers.{}.mlp] ", "layers.{}.mlp"),
        ("[layers.{}.mlp] output: ", "layers.{}.mlp-output"),
        ("[layers.{}.mlp][output] torch.Size([1, 2, 3])\n", "layers.{}.mlp-output"),
        ("layers.{}.mlp shape: (1, 2, 3) dtype: torch.float32 device: cuda:0\n", "layers.{}.mlp"),
        ("layers.{}.mlp\nshape: torch.Size([1, 2, 3])\ndtype: torch.float32\n", "layers.{}.mlp"),
        ("INFO:model.layers.{}.mlp:", "model.layers.{}.mlp"),
        ("2026-01-01 12:00:00,123 INFO model: layer_{}.q\n", "layer_{}.q"),
        ("2026-01-01 12:00:00,123 INFO my_pkg.debug: layer_{}.q = ", "layer_{}.q"),
        ("2026-01-01 12:00:00,123 INFO layers.{}.mlp: ", "layers.{}.mlp"),
        ("2026-01-01 10:00:01,123 - model.layers.{}.mlp - INFO - ", "model.layers.{}.mlp"),
        ("layer {} value: ", "layer {} value"),
        ("layer_{}.q_proj (1, 2, 3): ", "layer_{}.q_proj"),
        ("[rank0]:[layers.{}.q] mean=0.5 std=nan: ", "layers.{}.q"),
        ("=== layers.{}.mlp [1, 2, 3] ===\n", "layers.{}.mlp"),
        ("Layer model.layers.{}.mlp | shape=torch.Size([1, 2, 3]) | dtype=torch.bfloat16\n",
         "model.layers.{}.mlp"),
        ("layer {}\nmlp output, shape=(1, 2, 3)\n", "layer {} mlp output"),
        ("model.layers.{}.mlp.size: ", "model.layers.{}.mlp.size"),
        ("layer {} max: ", "layer {} max"),
        ("2026-11-28 10:01:02.123 | DEBUG    | model.llama:forward:212 - layer_{}.q: ",
         "layer_{}.q"),
        ("I1128 10:01:02.123456 140213 llama.py:212] layer_{}.q: ", "layer_{}.q"),
        ("I20261128 10:01:02.123456 140213 run.cc:88] layer_{}.q: ", "layer_{}.q"),
        ("layer_{}.q (shape: (1, 2, 3)):\n", "layer_{}.q"),
        ("layer_{}.q (shape=[1, 2, 3], dtype=torch.float32): ", "layer_{}.q"),
        ("layer_{}.q -> ", "layer_{}.q"),
        ("[INFO] layer_{}.q => ", "layer_{}.q"),
        ("--- layer_{}.q ---\n", "layer_{}.q"),
        ("layer_{}.q: <tf.Tensor: shape=(1, 2, 3), dtype=float32, numpy=\n", "layer_{}.q"),
        ("layer_{}.q <tf.Tensor: shape=(1, 2, 3), dtype=float32, numpy=\n", "layer_{}.q"),
    ],
)  # fmt: skip
def test_the_label_is_the_name(tmp_path: Path, before: str, name: str) -> None:
    path = tmp_path / "run.log"
    path.write_text("".join(f"{before.format(layer)}{VALUES!r}\n" for layer in range(3)))
    capture = open_capture(path)
    assert [record.name for record in capture.records] == [name.format(n) for n in range(3)]
    assert {(record.shape, record.error) for record in capture.records} == {((1, 2, 3), None)}


@pytest.mark.parametrize(
    "line",
    [
        "[INFO] ", "[rank0]: ", "[hook.py:12] [DEBUG] ", "shape: torch.Size([1, 2, 3])",
        "[MainThread] shape=[1, 2]", "2026-01-01 10:00:00 torch.float32",
    ],
)  # fmt: skip
def test_what_names_nothing(line: str) -> None:
    assert label_in(line) == ""


@pytest.mark.parametrize(
    "part", ["torch.Size([", "shape=[1,", "mean=1 ", "[1, 2] ", "1", "- a ", "[a]", "dtype=a "]
)
def test_long_lines_are_read_soon(part: str) -> None:
    line = (part * 2000)[:2000] + "!"
    start = time.perf_counter()
    label_in(line)
    name_before(line)
    assert time.perf_counter() - start < 1.0


@pytest.mark.parametrize(
    "label",
    ["q (shape: (1, 2, 40)):\n", "q torch.Size([1, 2, 40])\n", "q\nshape: 1x2x40\n",
     "q, shape=[1, 2, 40]: "],
)  # fmt: skip
def test_an_abbreviated_print_has_the_shape_of_its_label(tmp_path: Path, label: str) -> None:
    values = torch.arange(80.0).reshape(1, 2, 40)
    torch.set_printoptions(threshold=10)
    try:
        (tmp_path / "run.log").write_text(f"{label}{values!r}\nr: {values!r}\n")
    finally:
        torch.set_printoptions(profile="default")
    first, second = open_capture(tmp_path / "run.log").records
    assert (first.name, first.shape, first.partial) == ("q", (1, 2, 40), (12, 80))
    assert first.error is None
    assert second.error is not None and "no torch.Size tells the shape" in second.error


LABELS = ["{}:", "{} =", "{} (1, 2, 40) float32\n", "[debug] {} =\n", "{}\n"]


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("threshold", [10, 10**6])
def test_arrays_as_numpy_prints_them(tmp_path: Path, label: str, threshold: int) -> None:
    """`print(array)`: brackets, no commas, no shape unless the label says it."""
    rng = np.random.default_rng(3)
    arrays = {f"layers.{n}.mlp": rng.standard_normal((1, 2, 40)).astype(np.float32) for n in (0, 1)}
    with np.printoptions(threshold=threshold):
        parts = [label.format(name) for name in arrays]
        prints = [
            part + ("" if part.endswith("\n") else " ") + str(array)
            for part, array in zip(parts, arrays.values(), strict=True)
        ]
    (tmp_path / "run.log").write_text(
        "mesh: [[0, 1], [2, 3]]\n" + "\n".join(prints) + "\ndone [3]\n"
    )
    records = open_capture(tmp_path / "run.log").records
    assert [record.module for record in records] == list(arrays)
    for record, array in zip(records, arrays.values(), strict=True):
        if threshold == 10 and "(1, 2" not in label:
            assert "nothing tells the shape" in str(record.error)
            continue
        assert record.shape == array.shape and record.dtype == "float32"
        assert record.locator is not None
        loaded = load_any(record.locator)
        if threshold == 10:
            assert isinstance(loaded, PartialValues)
            assert np.allclose(loaded.values, array.reshape(-1)[loaded.positions], atol=1e-7)
        else:
            assert np.allclose(loaded, array, atol=1e-7)


def test_lists_of_lists_and_unnamed_rows_are_no_prints(tmp_path: Path) -> None:
    text = "ids: [[1, 2], [3, 4]]\nscores: [[0.5, 0.25]]\nlayers.0: tensor([[1.0, 2.0]])\n"
    (tmp_path / "run.log").write_text(text)
    assert [record.name for record in open_capture(tmp_path / "run.log").records] == ["layers.0"]
