"""What other tools wrote of one model: opened, in the order of the run, with names of modules, and
with the values that the model had.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layertui.capture import Capture, CaptureError, open_capture
from layertui.capture.extras import has_package
from layertui.capture.load import load_any
from layertui.capture.values import PartialValues


@pytest.fixture(scope="session")
def dumps(real: Path) -> Path:
    return real / "dumps"


@pytest.fixture(scope="session")
def reference(dumps: Path) -> dict[str, Any]:
    """The outputs of every module as layertui itself captured them, without the batch's axis."""
    found = {}
    for record in open_capture(dumps / "torch_reference").records:
        if record.slot in ("output", "output_0") and record.locator is not None:
            value = load_any(record.locator)
            assert isinstance(value, np.ndarray)
            found[record.module] = value[0] if value.ndim == 3 else value
    return found


def outputs(capture: Capture) -> dict[str, Any]:
    assert capture.unreadable == 0
    return {
        record.module: load_any(record.locator)
        for record in capture.records
        if record.slot in ("output", "output_0", "value") and record.locator is not None
    }


def order_of(capture: Capture, *modules: str) -> bool:
    names = [record.module for record in capture.records if record.slot.startswith("output")]
    places = [names.index(module) for module in modules]
    return capture.order_known and places == sorted(places)


RUN = (
    "model.embed_tokens", "model.layers.0.input_layernorm", "model.layers.0.self_attn.q_proj",
    "model.layers.0.mlp.down_proj", "model.layers.0", "model.layers.1.self_attn.o_proj",
    "model.layers.1", "model.norm", "lm_head",
)  # fmt: skip


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("hf-transformers/safetensors", "tree of calls"),
        ("msprobe/tensor", "dump.json"),
        ("onnxruntime/onnx_dyn.npz", "order of the file"),
    ],
)
def test_modules_of_a_run(dumps: Path, reference: dict[str, Any], place: str, source: str) -> None:
    capture = open_capture(dumps / place)
    assert capture.order_source == source
    found = outputs(capture)
    for module in RUN:
        value = found[module]
        np.testing.assert_allclose(value[0], reference[module], rtol=1e-4, atol=1e-5)
    assert order_of(capture, *RUN)


def test_printed_trees(dumps: Path, tmp_path: Path) -> None:
    capture = open_capture(dumps / "hf-transformers" / "repr_4layers")
    assert capture.order_source == "tree of calls" and capture.unreadable == 0
    assert [r.name for r in capture.records if r.module == "model.layers.3"][-1:] == [
        "model.layers.3-output"
    ]
    (norm,) = [r for r in capture.records if r.name == "model.norm-output"]
    assert norm.stats is not None and norm.locator is not None
    value = load_any(norm.locator)
    assert abs(float(np.mean(value)) - norm.stats["mean"]) < 1e-4
    # the same tree with statistics alone
    place = next((dumps / "hf-transformers" / "repr_4layers").glob("*FULL_TENSORS.json"))
    text = json.loads(place.read_text())

    def without_values(node: Any) -> Any:
        if isinstance(node, dict):
            return {k: without_values(v) for k, v in node.items() if k != "value"}
        return [without_values(v) for v in node] if isinstance(node, list) else node

    summary = tmp_path / place.name.replace("FULL_TENSORS", "SUMMARY")
    summary.write_text(json.dumps(without_values(text)))
    records = {r.name: r for r in open_capture(tmp_path).records}
    stats = records["model.norm-output"].stats
    assert stats is not None and set(stats) == {"mean", "std", "min", "max", "count"}
    assert records["model.norm-output"].locator is None


def test_layers_that_a_tree_leaves_out_are_found_by_their_files(
    dumps: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "dump"
    shutil.copytree(dumps / "hf-transformers" / "safetensors", folder)
    for file in list(folder.glob("*layers.1*")):
        shutil.copy(file, folder / file.name.replace("layers.1", "layers.2"))
    tree = next(folder.glob("*FULL_TENSORS.json"))
    tree.write_text(tree.read_text().replace("layers.1", "layers.2"))
    next(folder.glob("*SUMMARY.json")).unlink()
    capture = open_capture(folder)
    assert capture.unreadable == 0
    assert order_of(
        capture, "model.layers.0.mlp.down_proj", "model.layers.1.self_attn.q_proj",
        "model.layers.1.mlp.down_proj", "model.layers.2.self_attn.q_proj", "model.norm",
    )  # fmt: skip
    assert not any(r.name == "model.layers.0-output" for r in capture.records)
    for file in list(folder.glob("*layers.1*")):
        file.unlink()
    (note,) = open_capture(folder).notes
    assert "layers 1 to 1 were left out by the writer" in note


def test_statistics_of_msprobe(dumps: Path) -> None:
    capture = open_capture(dumps / "msprobe" / "statistics")
    assert capture.order_known and len(capture.records) == 82
    (record,) = [r for r in capture.records if r.name == "model.embed_tokens-output"]
    assert record.stats is not None
    assert set(record.stats) == {"min", "max", "mean", "l2", "count"}
    assert (record.locator, record.error, record.module_class) == (None, None, "Embedding")


def test_sglang_by_index(dumps: Path, reference: dict[str, Any]) -> None:
    capture = open_capture(dumps / "sglang" / "dumper_all")
    assert (capture.order_source, len(capture.records)) == ("dump_index", 85)
    found = outputs(capture)
    for module in ("model.embed_tokens", "model.layers.0.mlp.down_proj"):
        np.testing.assert_allclose(found[module], reference[module], rtol=1e-4, atol=1e-5)
    assert order_of(capture, "model.embed_tokens", "model.layers.0.mlp.down_proj",
                    "model.layers.1.mlp.down_proj", "logits_processor")  # fmt: skip


def test_sglang_ranks(dumps: Path) -> None:
    capture = open_capture(dumps / "sglang" / "dumper_tp2_dims")
    names = [record.name for record in capture.records]
    assert "model.embed_tokens-output" in names
    shapes = {record.name: record.shape for record in capture.records}
    assert shapes["model.layers.0.self_attn.qkv_proj-output"] == (8, 64)  # `h[tp]`, by its parts
    assert not any("/" in name for name in names)
    assert capture.unreadable == 0


def test_passes_end_in_the_next_file(dumps: Path) -> None:
    capture = open_capture(dumps / "sglang" / "pass_hooks")
    steps = {step: [r.name for r in capture.records if r.step == step] for step in (0, 1)}
    assert steps[0][-2:] == ["model", "logits_processor"]
    assert steps[0][0] == steps[1][0] == "model.embed_tokens"
    assert "logits_processor" not in steps[1]
    assert capture.order_known and capture.unreadable == 0
    assert capture.notes == ["model and logits of the last pass are in no file"]


@pytest.mark.parametrize("name", ["llama_eval_callback.log", "llama_eval_callback_old.log"])
def test_logs_of_llama_cpp(dumps: Path, reference: dict[str, Any], name: str) -> None:
    capture = open_capture(dumps / "llama.cpp" / name)
    assert (len(capture.records), capture.unreadable) == (25, 0)
    assert capture.order_source == "order of the log"
    (record,) = [r for r in capture.records if r.name == "ffn_norm-1"]
    assert record.locator is not None and record.stats is not None
    value = load_any(record.locator)
    assert isinstance(value, PartialValues)
    assert (value.shape, record.partial) == ((8, 32), (36, 256))
    wanted = reference["model.layers.1.post_attention_layernorm"]
    np.testing.assert_allclose(value.values, wanted.reshape(-1)[value.positions], atol=6e-5)
    assert abs(record.stats["mean"] - float(wanted.mean(dtype=np.float64))) < 1e-6


def test_a_graph_that_is_evaluated_again_is_a_step(dumps: Path, tmp_path: Path) -> None:
    text = (dumps / "llama.cpp" / "llama_eval_callback.log").read_text()
    (tmp_path / "run.log").write_text(text + text)
    capture = open_capture(tmp_path / "run.log")
    assert [sum(r.step == step for r in capture.records) for step in (0, 1)] == [25, 25]


def test_polygraphy(dumps: Path, tmp_path: Path) -> None:
    content = json.loads((dumps / "polygraphy" / "ort.json").read_text())
    content["lst"][0][1] *= 2
    (tmp_path / "two.json").write_text(json.dumps(content))
    capture = open_capture(tmp_path / "two.json")
    assert capture.unreadable == 0
    assert [sum(r.step == step for r in capture.records) for step in (0, 1)] == [33, 33]
    assert capture.records[0].name == "/model/embed_tokens/Gather_output_0"
    assert load_any(capture.records[0].locator).shape == (1, 8, 32)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["flax.msgpack", "flax.pkl", "flax_tree.npy"])
def test_flax(dumps: Path, name: str) -> None:
    found = outputs(open_capture(dumps / "flax" / name))
    assert len(found) == 29
    assert found["model/embed_tokens/__call__/0"].shape == (1, 8, 32)
    same = outputs(open_capture(dumps / "flax" / "flax.pkl"))
    for key, value in found.items():
        np.testing.assert_array_equal(value, same[key])


@pytest.mark.parametrize(
    ("name", "package"),
    [("a.gguf", ""), ("dcp", ""), ("h.h5", "h5py"), ("p.parquet", "pyarrow")],
)
def test_weights(dumps: Path, name: str, package: str) -> None:
    if package and not has_package(package):
        with pytest.raises(CaptureError, match="needs the extra"):
            open_capture(dumps / "weights" / name)
        return
    capture = open_capture(dumps / "weights" / name)
    assert (len(capture.records), capture.unreadable) == (21, 0)
    shapes = sorted(load_any(r.locator).shape for r in capture.records if r.locator)
    assert (128, 32) in shapes and (48, 32) in shapes


def test_chunks_of_a_distributed_tensor(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from torch.distributed.checkpoint.state_dict_saver import save

    state = {"model": {"a.weight": torch.arange(24.0).reshape(6, 4), "b": torch.ones(3).bfloat16()},
             "epoch": 3}  # fmt: skip
    save(state, checkpoint_id=tmp_path / "c", no_dist=True)
    found = outputs(open_capture(tmp_path / "c"))
    assert set(found) == {"model.a.weight", "model.b"}
    np.testing.assert_array_equal(found["model.a.weight"], state["model"]["a.weight"].numpy())
    (tmp_path / "c" / ".metadata").unlink()
    with pytest.raises(CaptureError, match=r"\.metadata of the checkpoint is missing"):
        open_capture(tmp_path / "c")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("m.onnx", b"\x08\x07rest", "an ONNX graph: run it"),
        ("a.tar.gz", b"\x1f\x8b\x08rest", "compressed by gzip: unpack it"),
        ("model.safetensors.lfs", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("e.engine", b"ptrt\0", "a TensorRT engine"),
        ("x.dump", b"\0\1\2\3" * 9, "--raw 10x64xf32"),
        ("config.json", b"{}", "JSON without lists of numbers"),
    ],
)
def test_what_is_not_read_is_named(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CaptureError) as raised:
        open_capture(tmp_path)
    assert words in str(raised.value) and "\n" not in str(raised.value)


def test_arrays_of_msgpack_numpy(tmp_path: Path) -> None:
    def text(word: str) -> bytes:
        return bytes([0xA0 | len(word)]) + word.encode()

    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    array = (
        b"\x85" + text("nd") + b"\xc3" + text("type") + text("<f4") + text("kind") + b"\xc4\x00"
        + text("shape") + b"\x92\x02\x03" + text("data") + b"\xc4\x18" + values.tobytes()
    )  # fmt: skip
    (tmp_path / "x.msgpack").write_bytes(b"\x82" + text("a.b") + array + text("run") + b"\x01")
    (record,) = open_capture(tmp_path / "x.msgpack").records
    assert (record.name, record.error) == ("a.b", None)
    assert record.locator is not None and np.array_equal(load_any(record.locator), values)
