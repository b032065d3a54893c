"""Tiny models exported to ONNX, and faults in their files."""

from __future__ import annotations

# pyright: reportMissingImports=false
# The packages of the extra `onnx` are optional.
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from layertui.cli.main import status_of

EXPORTERS = ("torchscript", "dynamo")


def qwen2_config() -> Any:
    """Of the same sizes as the tiny llama; its projections have biases."""
    import transformers

    from .tiny_checkpoints import llama_config

    config = llama_config()
    kept = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
            "num_attention_heads", "num_key_value_heads", "max_position_embeddings",
            "rms_norm_eps", "bos_token_id", "eos_token_id", "pad_token_id",
            "tie_word_embeddings")  # fmt: skip
    sizes = {name: getattr(config, name) for name in kept}
    return transformers.Qwen2Config(**sizes, architectures=["Qwen2ForCausalLM"], dtype="float32")


def write_model(folder: Path, kind: str) -> Path:
    """A checkpoint of a tiny `llama` or `qwen2`."""
    from .tiny_checkpoints import write_causal, write_llama

    return write_llama(folder) if kind == "llama" else write_causal(folder, qwen2_config())


def export_and_capture(place: Path, kind: str, exporter: str) -> Path:
    """`place` with a checkpoint (`model`), its captures in both engines and its export."""
    from .tiny_checkpoints import IDS_TEXT

    write_model(place / "model", kind)
    words = ["capture", "both", str(place / "model"), "-o", str(place), "--candidate", "onnx",
             "--exporter", exporter, "--input-ids", IDS_TEXT, "--device", "cpu"]  # fmt: skip
    assert status_of(words) == 0
    return place


def exported(place: Path) -> Path:
    """The ONNX file beside the capture."""
    return place / "onnx_dump_model" / "model.onnx"


def weight_of(file: Path, module: str) -> str:
    """The name of the initializer that a module multiplies with, or looks up in: its largest."""
    from layertui.capture.engines.onnx_runtime.graph import read_graph

    graph = read_graph(str(file))
    known = graph.index.initializers
    inside = [node for number, node in enumerate(graph.index.nodes)
              if graph.scopes[number][-1] == module]  # fmt: skip
    found = [name for node in inside for name in node.input if name in known]
    return max(found, key=lambda name: math.prod(known[name].dims))


def with_changed_weight(
    file: Path, folder: Path, module: str, change: float | Callable[[Any], Any]
) -> Path:
    """A copy of a model in which the largest weight of one module is another: a factor, or what
    `change` makes of it.
    """
    import onnx

    name = weight_of(file, module)
    model = onnx.load(str(file))
    for tensor in model.graph.initializer:
        if tensor.name == name:
            array = onnx.numpy_helper.to_array(tensor)
            array = change(array.copy()) if callable(change) else array * change
            tensor.CopyFrom(onnx.numpy_helper.from_array(array.astype("float32"), name))
    folder.mkdir()
    onnx.save(model, str(folder / "model.onnx"))
    return folder / "model.onnx"


def small_graph(path: Path, **more: Any) -> Path:
    """y = relu(x @ w + b), without modules, made without torch. `x` is float32 [rows, 64]."""
    import numpy as np
    import onnx
    from onnx import helper

    generator = np.random.default_rng(0)
    weights = {"w": generator.standard_normal((64, 32)), "b": generator.standard_normal(32)}
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"]),
         helper.make_node("Add", ["h", "b"], ["s"]), helper.make_node("Relu", ["s"], ["y"])],
        "small", [helper.make_tensor_value_info("x", 1, ["rows", 64])],
        [helper.make_tensor_value_info("y", 1, ["rows", 32])],
        [onnx.numpy_helper.from_array(a.astype("float32"), n) for n, a in weights.items()],
    )  # fmt: skip
    opset = helper.make_opsetid("", more.pop("opset", 18))
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=9), str(path), **more)
    return path


def modules_graph(path: Path, factor: float = 1.0) -> Path:
    """Two blocks of up, act and down, and a head, with names of nodes as torch's older exporter
    writes them; made without torch. The second block's down has another factor.
    """
    import numpy as np
    import onnx
    from onnx import helper

    generator = np.random.default_rng(1)
    nodes, weights, value = [], {}, "x"
    for block in range(2):
        for part, shape in (("up", (16, 32)), ("act", None), ("down", (32, 16))):
            scope, made = f"/layers.{block}/{part}", f"/layers.{block}/{part}/out"
            if shape is None:
                nodes.append(helper.make_node("Relu", [value], [made], f"{scope}/Relu"))
            else:
                weight = f"layers.{block}.{part}.weight"
                wrong = factor if (block, part) == (1, "down") else 1.0
                weights[weight] = generator.standard_normal(shape) * wrong
                nodes.append(helper.make_node("MatMul", [value, weight], [made], f"{scope}/MatMul"))
            value = made
    weights["head.weight"] = generator.standard_normal((16, 8))
    nodes.append(helper.make_node("MatMul", [value, "head.weight"], ["y"], "/head/MatMul"))
    graph = helper.make_graph(
        nodes, "blocks", [helper.make_tensor_value_info("x", 1, ["rows", 16])],
        [helper.make_tensor_value_info("y", 1, ["rows", 8])],
        [onnx.numpy_helper.from_array(a.astype("float32"), n) for n, a in weights.items()],
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    opset = helper.make_opsetid("", 18)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=9), str(path))
    return path
