"""CSV, savetxt, JSON and JSON lines, and headers of text dumps in any spelling."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layertui.capture import Capture, CaptureError, open_capture
from layertui.capture.load import load_any
from layertui.capture.run_metadata import write_metadata

VALUES = np.arange(12, dtype=np.float32).reshape(3, 4) / 7


def loaded(capture: Capture) -> dict[str, Any]:
    return {r.name: load_any(r.locator) for r in capture.records if r.locator is not None}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.csv", {"delimiter": ","}),
        ("a.txt", {}),
        ("a.tsv", {"delimiter": "\t"}),
        ("a.csv", {"delimiter": ";", "fmt": "%.9g"}),
        ("a.txt", {"header": "a comment", "fmt": "%12.8f"}),
        ("a.csv", {"delimiter": ", ", "header": "w,x,y,z", "comments": ""}),
    ],
)
def test_tables(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    np.savetxt(tmp_path / name, VALUES, **options)
    capture = open_capture(tmp_path)
    (record,) = capture.records
    assert (record.name, record.shape, record.dtype) == ("a", (3, 4), "float32")
    np.testing.assert_allclose(loaded(capture)["a"], VALUES, rtol=1e-6, atol=1e-8)


def test_a_table_as_pandas_writes_it(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(",0,1\n0,0.5,1.5\n1,2.5,nan\n")
    np.testing.assert_array_equal(loaded(open_capture(tmp_path))["a"], [[0.5, 1.5], [2.5, np.nan]])


def test_whole_numbers_and_vectors(tmp_path: Path) -> None:
    (tmp_path / "ids.csv").write_text("3,40,5\n")
    (tmp_path / "v.csv").write_text("1.5\n-inf\n2e3\n")
    capture = open_capture(tmp_path)
    assert [(r.name, r.dtype, r.shape) for r in capture.records] == [
        ("ids", "int64", (1, 3)), ("v", "float32", (3,)),
    ]  # fmt: skip
    np.testing.assert_array_equal(loaded(capture)["v"], np.float32([1.5, -np.inf, 2e3]))


def test_the_shape_that_the_user_says(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "a.txt", VALUES)
    (record,) = open_capture(tmp_path, raw="1x2x6xf32").records
    assert (record.shape, record.error) == ((1, 2, 6), None)
    with pytest.raises(CaptureError, match="12 numbers, the shape"):
        open_capture(tmp_path, raw="5x5xf32")


def test_steps_in_the_names_of_tables(tmp_path: Path) -> None:
    for step in range(2):
        np.savetxt(tmp_path / f"layer_0_step{step}.csv", VALUES, delimiter=",")
    assert [(r.step, r.name) for r in open_capture(tmp_path).records] == [
        (0, "layer_0"), (1, "layer_0")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [("1,2\n3\n", "row 2 has 1 numbers"), ("1,2\n3,x\n", "something other than numbers")],
)
def test_tables_that_are_none(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a.csv").write_text("0.5,1\n" * 60 + text)
    with pytest.raises(CaptureError) as raised:
        open_capture(tmp_path)
    assert words.replace("row 2", "row 62") in str(raised.value)


def test_tables_beside_tensor_files_are_passed_over(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "loss.csv", VALUES, delimiter=",")
    np.save(tmp_path / "x.npy", VALUES)
    capture = open_capture(tmp_path)
    assert [r.name for r in capture.records] == ["x"]
    assert capture.notes == ["loss.csv: its numbers are skipped, since there are tensor files"]


def test_the_metadata_of_a_run_is_no_note(tmp_path: Path) -> None:
    write_metadata(str(tmp_path), {"input_ids": [[1, 2, 3]]})
    np.save(tmp_path / "x.npy", VALUES)
    assert open_capture(tmp_path).notes == []


# JSON

ROWS = [[0.5, 1.5], [2.5, None]]


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (ROWS, ["a"]),
        ({"q": ROWS, "layers": {"0": {"mlp": ROWS}}}, ["q", "layers/0/mlp"]),
        ({"x": {"shape": [2, 2], "data": [0.5, 1.5, 2.5, None]}}, ["x"]),
        ([{"name": "q", "values": ROWS}, {"name": "k", "values": ROWS}], ["q", "k"]),
        ({"tensors": [{"name": "q", "data": ROWS}], "note": "x", "n": 3}, ["tensors/q"]),
    ],
)
def test_json(tmp_path: Path, content: Any, names: list[str]) -> None:
    (tmp_path / "a.json").write_text(json.dumps(content))
    capture = open_capture(tmp_path)
    found = loaded(capture)
    assert list(found) == names
    for value in found.values():
        np.testing.assert_array_equal(value, np.float32([[0.5, 1.5], [2.5, np.nan]]))


def test_json_lines_with_steps(tmp_path: Path) -> None:
    lines = [
        {"name": name, "step": step, "values": ROWS} for step in range(2) for name in ("z", "b")
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    capture = open_capture(tmp_path)
    assert [(r.step, r.name) for r in capture.records] == [(0, "z"), (0, "b"), (1, "z"), (1, "b")]
    (tmp_path / "a.jsonl").write_text('{"q": [1.5]}\n{"k": [2.5]}\n')
    assert list(loaded(open_capture(tmp_path))) == ["q", "k"]


def test_lists_that_are_no_arrays_cost_themselves_alone(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"x": [[1, 2], [3]], "y": [1, "b"], "z": [1.5, 2.5]}')
    capture = open_capture(tmp_path)
    assert {r.name: r.error is None for r in capture.records} == {"x": False, "y": False, "z": True}


def test_settings_are_no_tensors(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"rope": [1, 2, 3]}')
    with pytest.raises(CaptureError, match="no tensors found in 1 file"):
        open_capture(tmp_path)


# Headers of text dumps


@pytest.mark.parametrize(
    "header",
    [
        "# Shape: 1x3x4", "# shape: (1, 3, 4)", "Shape: 1 3 4", "# Shape: [1,3,4]",
        "// dims: 1 3 4", "shape = (1, 3, 4)", "% Dimensions: 1 x 3 x 4", "#shape:1,3,4",
        "# tensor shape: torch.Size([1, 3, 4])", "# Tensor: a\n# SHAPE: {1, 3, 4}\n# dtype: f32",
    ],
)  # fmt: skip
@pytest.mark.parametrize("rows", [True, False])
@pytest.mark.parametrize("name", ["py_a.txt", "a.txt"])
def test_any_spelling_of_the_header(tmp_path: Path, header: str, rows: bool, name: str) -> None:
    table = VALUES if rows else VALUES.reshape(-1, 1)
    lines = [" ".join(f"{value:.8e}" for value in row) for row in table]
    (tmp_path / name).write_text("\n".join([header, *lines]) + "\n")
    capture = open_capture(tmp_path)
    (record,) = capture.records
    assert (record.name, record.shape, record.dtype) == ("a", (1, 3, 4), "float32")
    np.testing.assert_allclose(loaded(capture)["a"][0], VALUES, rtol=1e-7)


def test_a_dump_without_a_header(tmp_path: Path) -> None:
    text = "\n".join(f"{value:.8e}" for value in VALUES.ravel()) + "\n"
    (tmp_path / "cpp_a.txt").write_text(text)
    with pytest.raises(CaptureError, match="--raw 1x3x2048xf32 says what it would"):
        open_capture(tmp_path)
    (record,) = open_capture(tmp_path, raw="1x3x4xf32").records
    assert (record.shape, record.error) == ((1, 3, 4), None)
    (record,) = open_capture(tmp_path, raw="3x4").records
    assert (record.shape, record.dtype) == ((3, 4), "float32")
    with pytest.raises(CaptureError, match="20 values promised, the file has 12"):
        open_capture(tmp_path, raw="20xf32")


@pytest.mark.parametrize(
    "text",
    ["tensor([[0.5, 1.5],\n        [2.5, 3.5]])\n", "[[0.5, 1.5], [2.5, 3.5]]",
     "[[0.5 1.5]\n [2.5 3.5]]\n", "\n0.5 1.5\n2.5 3.5"],
)  # fmt: skip
def test_one_tensor_printed_to_a_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "layer_0.txt").write_text(text)
    found = loaded(open_capture(tmp_path))
    np.testing.assert_array_equal(found["layer_0"], np.float32([[0.5, 1.5], [2.5, 3.5]]))
