"""Which values are a module's: graphs written by hand, as exporters write them."""

from __future__ import annotations

# pyright: reportMissingImports=false
# The packages of the extra `onnx` are optional.
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper
import onnxruntime  # noqa: F401 - without it the tests are skipped
from onnx import helper

from layertui.capture.engines.onnx_runtime.graph import Graph, read_graph
from layertui.capture.open import open_capture
from layertui.cli.main import status_of
from layertui.compare.comparison import open_comparison
from layertui.compare.rerun.layers import rows_of
from layertui.compare.rerun.session import RerunSession

WEIGHTS = {"w": np.eye(4, dtype=np.float32) * 2, "v": np.ones((4, 4), np.float32)}


def write(path: Path, nodes: list[Any], outputs: tuple[str, ...] = ("y",), **more: Any) -> Path:
    """A graph that takes `x`, float32 [rows, 4]."""
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, ["rows", 4])],
        [helper.make_tensor_value_info(name, 1, None) for name in outputs],
        [onnx.numpy_helper.from_array(array, name) for name, array in WEIGHTS.items()], **more,
    )  # fmt: skip
    opset = helper.make_opsetid("", 18)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=9), str(path))
    return path


def node(kind: str, inputs: str, output: str, scope: str, **more: Any) -> Any:
    """A node of torch's newer exporter: `scope` is where it is, `block.lin`."""
    made = helper.make_node(kind, inputs.split(), [output], f"node_{output}", **more)
    parts = scope.split(".") if scope else []
    paths = ["", *(".".join(parts[: count + 1]) for count in range(len(parts)))]
    entry = made.metadata_props.add()
    entry.key, entry.value = "pkg.torch.onnx.name_scopes", repr([*paths, output])
    return made


def calls(graph: Graph) -> list[tuple[str, int, tuple[str, ...], tuple[str, ...]]]:
    return [
        (c.module, c.number, tuple(v for _, v in c.inputs), tuple(v for _, v in c.outputs))
        for c in graph.found.calls
    ]


def shared(path: Path) -> Path:
    """One block run twice, in front of a head."""
    return write(path, [
        node("MatMul", "x w", "a", "block.lin"), node("Relu", "a", "b", "block.act"),
        node("MatMul", "b w", "c", "block.lin"), node("Relu", "c", "d", "block.act"),
        node("MatMul", "d v", "y", "head"),
    ])  # fmt: skip


def test_calls_of_a_module_that_runs_twice(tmp_path: Path) -> None:
    graph = read_graph(str(shared(tmp_path / "m.onnx")))
    assert calls(graph) == [
        ("block.lin", 1, ("x",), ("a",)), ("block.act", 1, ("a",), ("b",)),
        ("block.lin", 2, ("b",), ("c",)), ("block.act", 2, ("c",), ("d",)),
        ("head", 1, ("d",), ("y",)), ("", 1, ("x",), ("y",)),
    ]  # fmt: skip
    # Where the first call of the block ends is not told: no record that might be the wrong one.
    assert list(graph.found.several_calls) == ["block"]


def test_further_calls_by_the_names_of_the_older_exporter(tmp_path: Path) -> None:
    """`lin_1` is the second call of `lin`, unless it has weights of its own."""

    def named(kind: str, inputs: str, output: str, name: str) -> Any:
        return helper.make_node(kind, inputs.split(), [output], name)

    path = write(tmp_path / "m.onnx", [
        named("MatMul", "x w", "a", "/block/lin/MatMul"),
        named("Relu", "a", "b", "/block/act/Relu"),
        named("MatMul", "b w", "c", "/block/lin_1/MatMul"),
        named("MatMul", "c v", "y", "/head/MatMul"),
    ])  # fmt: skip
    found = calls(read_graph(str(path)))
    assert [call[:2] for call in found][:3] == [
        ("block.lin", 1), ("block.act", 1), ("block.lin", 2),
    ]  # fmt: skip
    assert found[2] == ("block.lin", 2, ("b",), ("c",))
    model = onnx.load(str(path))
    own = onnx.numpy_helper.from_array(WEIGHTS["w"], "block.lin_1.weight")
    model.graph.initializer.append(own)
    model.graph.node[2].input[1] = own.name
    onnx.save(model, str(path))
    assert ("block.lin_1", 1, ("b",), ("c",)) in calls(read_graph(str(path)))


def test_what_modules_share_is_no_output_of_the_first(tmp_path: Path) -> None:
    """A table with one more axis, made once for both blocks: the second takes the table."""
    path = write(tmp_path / "m.onnx", [
        node("Cos", "x", "cos", "rotary"), node("Sin", "x", "sin", "rotary"),
        node("Neg", "cos", "wide", "one"), node("Mul", "x wide", "a", "one"),
        node("Mul", "a sin", "b", "one"), node("Mul", "b wide", "y", "two"),
    ])  # fmt: skip
    found = {module: (inputs, outputs) for module, _, inputs, outputs in calls(
        read_graph(str(path)))}  # fmt: skip
    assert found["rotary"] == (("x",), ("cos", "sin"))
    assert set(found["one"][0]) == {"cos", "x", "sin"} and found["one"][1] == ("b",)
    assert found["two"] == (("b", "cos"), ("y",))


def test_a_module_that_returns_several_values_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", [
        node("Cos", "x", "a", "pair"), node("Sin", "x", "b", "pair"), node("Mul", "a b", "y", ""),
    ])  # fmt: skip
    graph = read_graph(str(path))
    assert list(graph.found.several_values) == ["pair"] and [c[0] for c in calls(graph)] == [""]


def test_branches_take_values_from_outside(tmp_path: Path) -> None:
    """What an inner graph takes is an input of the node that holds it, in segments too."""

    def branch(kind: str) -> Any:
        return helper.make_graph([helper.make_node(kind, ["a"], ["z"])], kind, [],
                                 [helper.make_tensor_value_info("z", 1, None)])  # fmt: skip

    path = write(tmp_path / "m.onnx", [
        node("MatMul", "x w", "a", "lin"), node("ReduceSum", "x", "sum", "gate", keepdims=0),
        node("Greater", "sum zero", "big", "gate"),
        node("If", "big", "y", "choose", then_branch=branch("Neg"), else_branch=branch("Relu")),
    ])  # fmt: skip
    model = onnx.load(str(path))
    zero = onnx.numpy_helper.from_array(np.float32(0), "zero")
    model.graph.initializer.append(zero)
    onnx.save(model, str(path))
    assert ("choose", 1, ("big", "a"), ("y",)) in calls(read_graph(str(path)))
    out = captured(path, tmp_path / "out")
    record = next(r for r in open_capture(str(out)).records if r.name == "choose-output")
    assert record.locator is not None and record.shape == (3, 4)


def captured(path: Path, out: Path) -> Path:
    values = np.linspace(0.1, 1, 12, dtype=np.float32).reshape(3, 4)
    np.savez(path.with_suffix(".npz"), x=values)
    words = ["--inputs", str(path.with_suffix(".npz")), "--provider", "cpu"]
    assert status_of(["capture", "onnx", str(path), "-o", str(out), *words]) == 0
    return out


def test_each_call_is_run_again_on_its_own_input(tmp_path: Path) -> None:
    good = captured(shared(tmp_path / "good.onnx"), tmp_path / "good")
    path = shared(tmp_path / "bad.onnx")
    model = onnx.load(str(path))
    wrong = onnx.numpy_helper.from_array(WEIGHTS["w"] * 1.5, "wrong")
    model.graph.initializer.append(wrong)
    model.graph.node[2].input[1] = "wrong"  # the second call of block.lin
    onnx.save(model, str(path))
    comparison = open_comparison(str(good), str(captured(path, tmp_path / "bad")))
    comparison.measure(use_cache=False)
    with RerunSession(comparison, use_cache=False) as session:
        assert session.rerun(rows_of(session.layers.all))
        assert [r.problem for r in session.results.values() if r.problem] == []
        wrong_rows = [comparison.rows[index].label for index in session.wrong_rows()]
    assert wrong_rows == ["block.lin(2)-output"]


def test_the_manifest_keeps_how_calls_were_made(tmp_path: Path) -> None:
    out = captured(shared(tmp_path / "m.onnx"), tmp_path / "out")
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    made = [line["call"] for line in lines if "call" in line and isinstance(line["call"], dict)]
    assert [(c["module"], c["n"], list(c["kwargs"])) for c in made][:3] == [
        ("block.lin", 1, ["x"]), ("block.act", 1, ["a"]), ("block.lin", 2, ["b"]),
    ]  # fmt: skip
    assert lines[-1]["end"] is True and lines[-1]["records"] == sum("seq" in x for x in lines)
