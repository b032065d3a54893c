"""ONNX files of any origin: weights inside and beside them, graphs without modules, bad input."""

from __future__ import annotations

# pyright: reportMissingImports=false
# The packages of the extra `onnx` are optional.
import os
from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import pytest
from onnxruntime import OrtValue

from layertui.capture.engines.onnx_runtime.graph import read_graph
from layertui.capture.engines.onnx_runtime.parts import Runtime, providers_of
from layertui.capture.engines.onnx_runtime.segments import run_all
from layertui.capture.errors import CaptureError
from layertui.capture.load import load
from layertui.capture.open import open_capture
from layertui.capture.records import Locator, Record
from layertui.cli.main import status_of
from support.onnx_models import small_graph

X = np.linspace(-1, 1, 3 * 64, dtype=np.float32).reshape(3, 64)


def external(path: Path, location: str = "model.data") -> Path:
    """The small graph with its matrix in a file beside it."""
    return small_graph(path, save_as_external_data=True, location=location, size_threshold=0)


def relocated(path: Path, **said: str) -> Path:
    """The same file with other words about where its matrix lies."""
    model = onnx.load(str(path), load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            entry.value = said.get(entry.key, entry.value)
    path.write_bytes(model.SerializeToString())
    return path


def located(record: Record) -> Locator:
    assert record.locator is not None
    return record.locator


def failed(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on standard error of a command that ends with status 2."""
    capsys.readouterr()
    assert status_of(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("beside", [False, True], ids=["inside", "beside"])
def test_values_are_those_of_the_graph(beside: bool, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    if beside:
        external(path)
    else:
        small_graph(path)
    np.savez(tmp_path / "in.npz", x=X)
    out = tmp_path / "out"
    words = ["capture", "onnx", str(path), "-o", str(out), "--inputs", str(tmp_path / "in.npz")]
    assert status_of([*words, "--provider", "cpu"]) == 0
    capture = open_capture(str(out))
    assert capture.complete and capture.framework == "onnx"
    assert any("did not note modules" in note for note in capture.notes)
    weights = {t.name: onnx.numpy_helper.to_array(t)
               for t in onnx.load(str(path)).graph.initializer}  # fmt: skip
    h = X @ weights["w"]
    wanted = {"/h": h, "/s": h + weights["b"], "/y": np.maximum(h + weights["b"], 0)}
    found = {record.module: record for record in capture.records if record.slot == "output"}
    for name, values in wanted.items():
        np.testing.assert_allclose(load(located(found[name])), values, rtol=1e-4, atol=1e-5)


def test_weights_are_neither_copied_nor_left_in_the_graph(tmp_path: Path) -> None:
    graph = read_graph(str(external(tmp_path / "model.onnx")))
    array, _ = graph.model.weights["w"]
    assert not array.flags.owndata and not array.flags.writeable
    assert len(graph.model.proto.SerializeToString()) < 64 * 32 * 4
    runtime = Runtime(graph.model, graph.index, providers_of("cpu"))
    proto, weights = runtime._part([0], {}, ["h"])
    assert weights == ["w"] and len(proto.SerializeToString()) < 1000


def test_segments_of_any_size_give_the_same(tmp_path: Path) -> None:
    graph = read_graph(str(small_graph(tmp_path / "model.onnx")))
    runtime = Runtime(graph.model, graph.index, providers_of("cpu"))
    given = {"x": OrtValue.ortvalue_from_numpy(X)}
    results = []
    for batch in (1, 400, 1 << 30):
        made: dict[str, np.ndarray] = {}
        for _, values, held in run_all(runtime, ["h", "s", "y"], given, batch):
            made.update((name, value.numpy()) for name, value in values.items())
            assert len(held) <= 4
        assert list(made) == ["h", "s", "y"]
        results.append(made)
    for other in results[1:]:
        assert all(np.array_equal(results[0][name], other[name]) for name in other)


@pytest.mark.parametrize(
    ("location", "what"),
    [
        ("../elsewhere/model.data", "outside the model's directory"),
        ("a/../../elsewhere/model.data", "outside the model's directory"),
        ("link.data", "leads outside the model's directory"),
        ("folder/model.data", "leads outside the model's directory"),
        ("gone.data", "is missing beside the model"),
        ("", "outside the model's directory"),
    ],
)
def test_weights_outside_the_model_s_directory_are_refused(
    location: str, what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "jail").mkdir()
    external(tmp_path / "elsewhere" / "model.onnx")
    path = tmp_path / "jail" / "model.onnx"
    path.write_bytes((tmp_path / "elsewhere" / "model.onnx").read_bytes())
    (tmp_path / "jail" / "link.data").symlink_to(tmp_path / "elsewhere" / "model.data")
    (tmp_path / "jail" / "folder").symlink_to(tmp_path / "elsewhere")
    relocated(path, location=location)
    line = failed(["capture", "onnx", str(path), "-o", str(tmp_path / "out")], capsys)
    assert what in line
    assert not (tmp_path / "out").exists()
    absolute = relocated(path, location=str(tmp_path / "elsewhere" / "model.data"))
    with pytest.raises(CaptureError, match="outside the model's directory"):
        read_graph(str(absolute))


def test_a_link_to_a_model_may_have_its_weights_beside_the_target(tmp_path: Path) -> None:
    """As the cache of the hub lays models out."""
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    external(tmp_path / "blobs" / "model.onnx")
    for name in ("model.onnx", "model.data"):
        (tmp_path / "snapshot" / name).symlink_to(tmp_path / "blobs" / name)
    assert "w" in read_graph(str(tmp_path / "snapshot" / "model.onnx")).model.weights


def test_damaged_places_of_weights(tmp_path: Path) -> None:
    path = external(tmp_path / "model.onnx")
    whole = (tmp_path / "model.data").read_bytes()
    for said in ({"offset": "-8"}, {"offset": "99999999999"}, {"length": "3"}, {"offset": "x"}):
        copy = tmp_path / "copy.onnx"
        copy.write_bytes(path.read_bytes())
        with pytest.raises(CaptureError, match="the weight"):
            read_graph(str(relocated(copy, **said)))
    (tmp_path / "model.data").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CaptureError, match="truncated"):
        read_graph(str(path))


def test_a_file_cut_anywhere_is_one_line_or_another_graph(tmp_path: Path) -> None:
    data = small_graph(tmp_path / "model.onnx").read_bytes()
    cut = tmp_path / "cut.onnx"
    for length in range(0, len(data), max(1, len(data) // 150)):
        cut.write_bytes(data[:length])
        with pytest.raises(CaptureError) as raised:
            read_graph(str(cut))
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ([], "nothing to run: it takes x float32 [rows, 64]"),
        (["--input-ids", "1,2"], "takes no token ids"),
        (["--inputs", "WRONG_NAME"], "has no input 'z'"),
        (["--inputs", "WRONG_SHAPE"], "is given an array of shape [3, 63]"),
        (["--inputs", "WRONG_KIND"], "is given int64 [3, 64]"),
        (["--inputs", "TEXT"], "no .npz file of plain arrays"),
        (["--inputs", "PICKLE"], "no .npz file of plain arrays"),
        (["--inputs", "nowhere.npz"], "no such file"),
        (["--inputs", "GOOD", "--provider", "abacus"], "has no provider 'abacus'"),
        (["--inputs", "GOOD", "--include", "nothing*"], "no module is recorded"),
    ],
)
def test_bad_input_is_one_line(
    more: list[str], what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small_graph(tmp_path / "model.onnx")
    arrays = {"GOOD": {"x": X}, "WRONG_NAME": {"z": X}, "WRONG_SHAPE": {"x": X[:, 1:]},
              "WRONG_KIND": {"x": X.astype(np.int64)},
              "PICKLE": {"x": np.array([{}], object)}}  # fmt: skip
    (tmp_path / "TEXT").write_text("no arrays")
    for name, content in arrays.items():
        with open(tmp_path / name, "wb") as file:
            np.savez(file, **content)
    words = [str(tmp_path / word) if (tmp_path / word).exists() else word for word in more]
    out = ["-o", str(tmp_path / "out")]
    line = failed(["capture", "onnx", str(tmp_path / "model.onnx"), *out, *words], capsys)
    assert line.startswith("layertui: ") and what in line


def test_what_is_no_model_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.onnx").write_text("this is no model")
    (tmp_path / "empty.onnx").write_bytes(b"")
    small_graph(tmp_path / "new.onnx", opset=999)
    model = onnx.load(str(small_graph(tmp_path / "odd.onnx")))
    model.graph.node[0].op_type = "Nonsense"
    (tmp_path / "odd.onnx").write_bytes(model.SerializeToString())
    with open(tmp_path / "in.npz", "wb") as file:
        np.savez(file, x=X)
    said = {"text": "is no ONNX model", "empty": "is no ONNX model", "new": "made for opset 999",
            "odd": "No Op registered for Nonsense", "absent": "no such file"}  # fmt: skip
    for name, what in said.items():
        words = ["capture", "onnx", str(tmp_path / f"{name}.onnx"), "-o", str(tmp_path / "out")]
        line = failed([*words, "--inputs", str(tmp_path / "in.npz")], capsys)
        assert what in line and f"{name}.onnx" in line
        assert not os.path.exists(tmp_path / "out") or not os.listdir(tmp_path / "out"), name


def lookup(path: Path) -> Path:
    """Rows of a table by token ids, with the other inputs that optimum's exports have."""
    from onnx import helper

    names = {"input_ids": ["batch", "tokens"], "attention_mask": ["batch", "all"],
             "position_ids": ["batch", "tokens"]}  # fmt: skip
    given = [helper.make_tensor_value_info(name, 7, shape) for name, shape in names.items()]
    past = helper.make_tensor_value_info("past_key_values.0.key", 1, ["batch", 2, "past", 8])
    table = onnx.numpy_helper.from_array(np.eye(5, dtype=np.float32), "table")
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["y"], "/embed/Gather"),
             helper.make_node("Shape", ["past_key_values.0.key"], ["past"], "/Shape"),
             helper.make_node("Identity", ["attention_mask"], ["mask"], "/head/Identity"),
             helper.make_node("Identity", ["position_ids"], ["at"], "/place/Identity")]  # fmt: skip
    made = [helper.make_tensor_value_info(name, kind, None)
            for name, kind in (("y", 1), ("past", 7), ("mask", 7), ("at", 7))]  # fmt: skip
    graph = helper.make_graph(nodes, "lookup", [*given, past], made, [table])
    opset = helper.make_opsetid("", 18)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=9), str(path))
    return path


def test_what_follows_from_token_ids_is_made(tmp_path: Path) -> None:
    path, out = lookup(tmp_path / "model.onnx"), tmp_path / "out"
    words = ["capture", "onnx", str(path), "-o", str(out), "--provider", "cpu"]
    assert status_of([*words, "--input-ids", "1,2,3;4,0,1", "--level", "op"]) == 0
    capture = open_capture(str(out))
    assert capture.input_ids == [[1, 2, 3], [4, 0, 1]]
    found = {r.module: load(located(r)) for r in capture.records if r.slot == "output"}
    assert np.array_equal(found["embed/Gather"].argmax(-1), [[1, 2, 3], [4, 0, 1]])
    assert np.array_equal(found["/Shape"], [2, 2, 0, 8])
    assert np.array_equal(found["head/Identity"], np.ones((2, 3)))
    assert np.array_equal(found["place/Identity"], [[0, 1, 2]] * 2)


def test_token_ids_that_the_model_does_not_have_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["capture", "onnx", str(lookup(tmp_path / "model.onnx")), "-o", str(tmp_path / "out")]
    line = failed([*words, "--input-ids", "1,99"], capsys)
    assert "idx=99 must be within the inclusive range [-5,4]" in line
    assert "ONNXRuntimeError" not in line
    line = failed([*words, "--prompt", "hello"], capsys)
    assert "no tokenizer in it" in line or "needs the extra 'torch'" in line
