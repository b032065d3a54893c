"""Every snippet is run as it is printed, where its engine is installed."""

from __future__ import annotations

# pyright: reportMissingImports=false
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layertui.capture import CaptureError, open_capture
from layertui.capture.cpp import include_directory
from layertui.capture.load import load
from layertui.capture.recorder.vllm_variable import VARIABLE
from layertui.capture.snippets import ENGINES, snippet
from layertui.cli.main import status_of
from support.console_examples import blocks, run_block


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Snippets write into the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(engine: str, **given: Any) -> dict[str, Any]:
    names = dict(given)
    exec(compile(snippet(engine), f"{engine}.txt", "exec"), names)
    return names


@pytest.mark.parametrize("engine", ENGINES)
def test_each_is_printed(engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["snippet", engine]) == 0
    text = capsys.readouterr().out
    assert text == snippet(engine) and text.endswith("\n")
    assert max(map(len, text.splitlines())) <= 112
    assert re.search(r"[Ee]ager|graphs|jit|optimisations", text)  # which mode
    if engine != "onnx":  # which runs in one process
        assert re.search(r"rank|processes|[Ss]everal|shards", text)


def test_an_engine_that_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["snippet", "tea"]) == 2
    assert "'torch', 'vllm'" in capsys.readouterr().err
    with pytest.raises(CaptureError, match=r"no snippet for '\.\./x'"):
        snippet("../x")


def test_torch() -> None:
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU())
    run("torch", model=model, inputs={"input": torch.ones(1, 3)})
    capture = open_capture("torch_dump")
    assert capture.complete is True
    assert {record.module for record in capture.records} == {"", "0", "1"}


def test_jax() -> None:
    flax = pytest.importorskip("flax")
    jax = pytest.importorskip("jax")
    assert flax
    import flax.linen as nn

    class Model(nn.Module):
        @nn.compact
        def __call__(self, ids: Any) -> Any:
            return nn.Dense(4, name="lm_head")(nn.Embed(16, 8, name="embed_tokens")(ids))

    model, ids = Model(), np.array([[1, 2, 3]])
    run("jax", model=model, variables=model.init(jax.random.key(0), ids), ids=ids)
    flax_run, tree = open_capture("jax_dump"), open_capture("jax_tree")
    assert {record.module for record in flax_run.records} == {"", "embed_tokens", "lm_head"}
    assert [record.module for record in tree.records] == ["layers.0.mlp"]


@pytest.mark.parametrize("exporter", ["graph", "torchscript"])
def test_onnx(exporter: str, inside: Path) -> None:
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    weight = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    x = np.ones((2, 3), np.float32)
    if exporter == "graph":
        helper = onnx.helper
        floats = onnx.TensorProto.FLOAT
        nodes = [
            helper.make_node("MatMul", ["x", "w"], ["/model/up_proj/MatMul_output_0"]),
            helper.make_node("Relu", ["/model/up_proj/MatMul_output_0"], ["y"]),
        ]
        graph = helper.make_graph(
            nodes, "g", [helper.make_tensor_value_info("x", floats, [2, 3])],
            [helper.make_tensor_value_info("y", floats, [2, 4])],
            [onnx.numpy_helper.from_array(weight, "w")],
        )  # fmt: skip
        opset = [helper.make_opsetid("", 17)]
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), "model.onnx")
    else:
        torch = pytest.importorskip("torch")
        model = torch.nn.Sequential(torch.nn.Linear(3, 4, bias=False), torch.nn.ReLU())
        model[0].weight.data = torch.from_numpy(weight.T.copy())
        torch.onnx.export(model, (torch.from_numpy(x),), "model.onnx", dynamo=False,
                          input_names=["x"])  # fmt: skip
    run("onnx", inputs={"x": x})
    capture = open_capture("onnx_dump")
    found = [load(r.locator) for r in capture.records if r.locator is not None]
    assert any(a.shape == (2, 4) and np.allclose(a, x @ weight, atol=1e-5) for a in found)
    assert all(record.error is None for record in capture.records)


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here")
def test_cpp(inside: Path) -> None:
    (inside / "engine.cpp").write_text(snippet("cpp"))
    printed = "from layertui.capture.cpp import include_directory; print(include_directory())"
    assert printed in snippet("cpp")
    subprocess.run(
        ["g++", "-std=c++17", "-I", include_directory(), "engine.cpp", "-o", "engine"], check=True
    )
    subprocess.run([inside / "engine"], check=True)
    capture = open_capture("cpp_dump")
    assert capture.complete is True
    assert [(r.name, r.shape) for r in capture.records] == [
        ("model.layers.0.mlp-output", (1, 10, 64))
    ]


@pytest.mark.max
def test_max(inside: Path) -> None:
    """In a process of its own, since MAX writes to standard error and may abort at the end."""
    program = snippet("max") + (
        "\nimport numpy as np"
        "\nfrom max.driver import CPU, Buffer"
        "\nfrom max.dtype import DType"
        "\nfrom max.graph import DeviceRef, Graph, TensorType"
        "\nkind = TensorType(DType.float32, (2, 3), DeviceRef.CPU())"
        "\nwith Graph('g', input_types=[kind]) as graph:"
        "\n    build(graph)"
        "\nmodel = session_that_writes([CPU()]).load(graph)"
        "\nmodel.execute(Buffer.from_numpy(np.ones((2, 3), np.float32)))\n"
    )
    subprocess.run([sys.executable, "-c", program], timeout=900, capture_output=True)
    (record,) = open_capture("max_dump").records
    assert (record.name, record.shape) == ("model.layers.0.mlp-output", (2, 3))
    assert record.locator is not None and (load(record.locator) == 2).all()


def test_vllm_lines_are_valid_and_switch_the_plugin_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM is not installed here: its classes are stand-ins that note what they are given."""
    given: dict[str, Any] = {}

    class LLM:
        def __init__(self, model: str, **options: Any) -> None:
            import os

            given.update(options, variable=os.environ.get(VARIABLE))

        def generate(self, prompt: str, parameters: Any) -> None:
            given["prompt"] = prompt

    engine: Any = types.ModuleType("vllm")
    engine.LLM, engine.SamplingParams = LLM, lambda **options: options
    monkeypatch.setitem(sys.modules, "vllm", engine)
    monkeypatch.setenv(VARIABLE, "")  # and is put back afterwards
    run("vllm")
    assert given == {"enforce_eager": True, "enable_prefix_caching": False,
                     "variable": "vllm_dump", "prompt": "Hello"}  # fmt: skip
    names = set(re.findall(r"LAYERTUI_\w+", snippet("vllm")))
    source = (Path(__file__).parents[2] / "capture/recorder/vllm_workers.py").read_text()
    assert all(name in source for name in names)


def test_the_examples_of_the_manual(inside: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/manual/capture.md").read_text(encoding="utf-8")
    (block,) = blocks(page, "snippet-example")
    run_block(block, inside)
    (code,) = re.findall(r"<!-- tree-example -->\n```python\n(.*?)```", page, re.DOTALL)
    exec(code, {})
    names = [record.module for record in open_capture("tree_dump").records]
    assert names == ["layers.0.attn", "layers.0.mlp"]


def test_sglang_line_is_one_command() -> None:
    lines = [line for line in snippet("sglang").splitlines() if not line.startswith("#")]
    done = subprocess.run(["sh", "-nc", "\n".join(lines)], capture_output=True)
    assert done.returncode == 0
    assert all(line.endswith("\\") for line in lines[:-1])
