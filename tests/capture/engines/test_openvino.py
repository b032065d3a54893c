"""Models in OpenVINO: an ONNX file by its modules, an `.xml` by its operations."""

from __future__ import annotations

# pyright: reportMissingImports=false
# The packages of the extra `openvino` are optional.
from pathlib import Path

import numpy as np
import pytest

from layertui.capture.load import load
from layertui.capture.open import open_capture
from layertui.cli.main import status_of
from layertui.compare.comparison import Comparison, open_comparison
from support.onnx_models import modules_graph

onnx = pytest.importorskip("onnx")
openvino = pytest.importorskip("openvino")
IDS = "3,40,41,42,50,60,70,71,72,90"


def captured(file: Path, out: Path, *words: str) -> Path:
    assert status_of(["capture", "openvino", str(file), "-o", str(out), *words]) == 0
    return out


def compared(reference: Path, candidate: Path) -> Comparison:
    found = open_comparison(str(reference), str(candidate))
    found.measure(use_cache=False)
    return found


def blocks(place: Path, factor: float = 1.0) -> Path:
    """A capture of the graph of two blocks, one of which has another factor."""
    file = modules_graph(place / "model.onnx", factor)
    values = np.random.default_rng(2).standard_normal((5, 16)).astype(np.float32)
    np.savez(place / "in.npz", x=values)
    return captured(file, place / "dump", "--inputs", str(place / "in.npz"))


def test_modules_of_an_onnx_file(tmp_path: Path) -> None:
    """With the values of the graph, whatever the batch in which they were made."""
    found = {record.name: record for record in open_capture(str(blocks(tmp_path))).records}
    weights = {t.name: onnx.numpy_helper.to_array(t)
               for t in onnx.load(str(tmp_path / "model.onnx")).graph.initializer}  # fmt: skip
    value = np.load(tmp_path / "in.npz")["x"]
    for block in range(2):
        value = value @ weights[f"layers.{block}.up.weight"]
        record = found[f"layers.{block}.up-output"]
        assert record.locator is not None
        np.testing.assert_allclose(load(record.locator), value, rtol=1e-4, atol=1e-5)
        value = np.maximum(value, 0) @ weights[f"layers.{block}.down.weight"]
    assert found["head-output"].shape == (5, 8)


def test_a_fault_is_found(tmp_path: Path) -> None:
    comparison = compared(blocks(tmp_path / "good"), blocks(tmp_path / "bad", 1.25))
    assert comparison.exit_status() == 1
    first = comparison.rows[next(i for i, v in enumerate(comparison.verdicts) if v.fails)]
    assert first.label == "layers.1.mlp.down_proj-output"


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = modules_graph(tmp_path / "model.onnx")
    (tmp_path / "text.xml").write_text("this is no model")
    for words, what in (
        ([str(file)], "nothing to run: it takes x float32"),
        ([str(file), "--input-ids", "1,2"], "takes no token ids"),
        ([str(tmp_path / "text.xml"), "--input-ids", "1"], "OpenVINO says "),
        ([str(tmp_path / "gone.xml"), "--input-ids", "1"], "no such file"),
    ):
        assert status_of(["capture", "openvino", *words, "-o", str(tmp_path / "out")]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("layertui: ") and what in line


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, its capture in PyTorch, and its export."""
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    from support.onnx_models import export_and_capture

    return export_and_capture(tmp_path_factory.mktemp("llama"), "llama", "torchscript")


def test_the_tiny_llama_agrees_with_pytorch(llama: Path, tmp_path: Path) -> None:
    file = llama / "onnx_dump_model" / "model.onnx"
    comparison = compared(llama / "torch_dump", captured(file, tmp_path / "d", "--input-ids", IDS))
    outputs = [row for row in comparison.rows if row.role == "output"]
    assert len(outputs) == 33 and all(row.kind == "pair" for row in outputs)
    assert comparison.exit_status() == 0


def test_its_xml_agrees_too(llama: Path, tmp_path: Path) -> None:
    """By the names of operations, which have those of modules in them."""
    model = openvino.Core().read_model(str(llama / "onnx_dump_model" / "model.onnx"))
    openvino.save_model(model, str(tmp_path / "model.xml"), compress_to_fp16=False)
    out = captured(tmp_path / "model.xml", tmp_path / "d", "--input-ids", IDS)
    comparison = compared(llama / "torch_dump", out)
    assert comparison.exit_status() == 0
    outputs = [row for row in comparison.rows if row.role == "output" and row.kind == "pair"]
    assert len(outputs) >= 30
    assert not any("OpenVINO has no value" in note for note in comparison.candidate.notes)
