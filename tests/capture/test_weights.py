"""Checkpoints: real ones as transformers and torch read them; hostile ones refused in one line."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from layertui.capture.errors import CaptureError
from layertui.capture.load import load
from layertui.capture.weights import Weights, open_weights

INDEX = "model.safetensors.index.json"


def refusal(path: Path) -> str:
    with pytest.raises(CaptureError) as caught:
        open_weights(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def values(weights: Weights, name: str) -> np.ndarray[Any, Any]:
    return load(weights.parameters[name].locator)


def safetensors(path: Path, header: Any, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def sharded(folder: Path, mapped: dict[str, Any], **tensors: torch.Tensor) -> Path:
    """A directory with one shard `a.safetensors` and an index that says what `mapped` has."""
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "a.safetensors")
    (folder / INDEX).write_text(json.dumps({"weight_map": mapped}))
    return folder


def test_shards_and_a_torch_file_hold_the_same_weights(real: Path) -> None:
    shards = open_weights(real / "weights" / "hf_sharded")
    whole = open_weights(real / "weights" / "pytorch_model.bin")
    plain = torch.load(real / "weights" / "pytorch_model.bin", weights_only=True)
    assert shards.parameters.keys() == whole.parameters.keys() == plain.keys()
    assert len({p.locator.path for p in shards.parameters.values()}) == 3
    for name, tensor in plain.items():
        assert shards.parameters[name].locator.shape == tuple(tensor.shape)
        assert np.array_equal(values(shards, name), tensor.numpy())
        assert np.array_equal(values(whole, name), tensor.numpy())
    assert shards.config["num_key_value_heads"] == 2
    assert whole.config == {}
    assert shards.notes == whole.notes == ()


@pytest.mark.parametrize("name", ["model.safetensors", "", "config.json"])
def test_a_directory_its_file_and_nothing_else(real: Path, name: str) -> None:
    folder = real / "checkpoints" / "olmo2-f32"
    if name == "config.json":
        assert "no weights in it" in refusal(folder / name)
        return
    weights = open_weights(folder / name)
    expected = load_file(folder / "model.safetensors")
    assert weights.parameters.keys() == expected.keys()
    assert weights.config["model_type"] == "olmo2"
    for name_, tensor in expected.items():
        assert np.array_equal(values(weights, name_), tensor.numpy())


def test_torch_indices(tmp_path: Path) -> None:
    torch.save({"a.weight": torch.ones(2)}, tmp_path / "pytorch_model-1.bin")
    torch.save({"b.weight": torch.ones(3, dtype=torch.bfloat16)}, tmp_path / "pytorch_model-2.bin")
    mapped = {"a.weight": "pytorch_model-1.bin", "b.weight": "pytorch_model-2.bin"}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": mapped}))
    weights = open_weights(tmp_path)
    assert {n: p.locator.dtype for n, p in weights.parameters.items()} == {
        "a.weight": "float32",
        "b.weight": "bfloat16",
    }


def test_find_takes_the_names_of_dumps() -> None:
    place = Path(__file__)
    linear = {"model.layers.0.mlp.up_proj.weight": "w", "model.layers.0.mlp.up_proj.bias": "b"}
    parameters: Any = {**linear, "model.embed_tokens.weight": "e", "scale": "s"}
    tied = Weights(str(place), parameters, {})
    for module in ("model.layers.0.mlp.up_proj", "model.model.layers.0.mlp.up_proj",
                   "layers.0.mlp.up_proj"):  # fmt: skip
        assert tied.find(module) == "w"
        assert tied.find(module, "bias") == "b"
        assert tied.find(module, "scale") is None
    assert tied.find("lm_head") == tied.find("model.lm_head") == tied.find("embed_tokens") == "e"
    assert tied.find("lm_head", "bias") is None
    assert tied.find("", "scale") == tied.find("model", "scale") == "s"
    untied = Weights(str(place), parameters, {"tie_word_embeddings": False})
    assert untied.find("lm_head") is None
    inner = Weights(str(place), parameters, {"text_config": {"tie_word_embeddings": False}})
    assert inner.find("lm_head") is None
    own = Weights(
        str(place), {**parameters, "lm_head.weight": "own"}, {"tie_word_embeddings": True}
    )
    assert own.find("lm_head") == "own"


def test_two_tables_of_embeddings_tie_nothing() -> None:
    parameters: Any = {"encoder.embed_tokens.weight": "a", "decoder.embed_tokens.weight": "b"}
    assert Weights("x", parameters, {}).find("lm_head") is None


def test_what_training_programs_save_around_the_weights(tmp_path: Path) -> None:
    state = OrderedDict([("layer.weight", torch.ones(2, 2)), ("layer.bias", torch.zeros(2))])
    optimizer = {"state": {0: {"exp_avg": torch.ones(2, 2)}}}
    path = tmp_path / "last.pt"
    torch.save({"epoch": 3, "state_dict": state, "optimizer": optimizer}, path)
    weights = open_weights(path)
    assert list(weights.parameters) == ["layer.weight", "layer.bias"]
    assert weights.notes == (
        "a tensor skipped (not below 'state_dict'), such as optimizer.state.0.exp_avg",
    )


def test_files_from_before_torch_1_6(tmp_path: Path) -> None:
    """They go to a torch of their own; published BERT checkpoints still have this format."""
    path = tmp_path / "pytorch_model.bin"
    tensors = {"a.weight": torch.arange(6.0).reshape(2, 3)}
    torch.save(tensors, path, _use_new_zipfile_serialization=False)
    weights = open_weights(tmp_path)
    assert np.array_equal(values(weights, "a.weight"), tensors["a.weight"].numpy())


def test_a_snapshot_in_the_cache_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "models--someone--small"
    (home / "blobs").mkdir(parents=True)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("abc123")
    snapshot = home / "snapshots" / "abc123"
    snapshot.mkdir(parents=True)
    save_file({"a.weight": torch.ones(2)}, home / "blobs" / "f00")
    (snapshot / "model.safetensors").symlink_to(home / "blobs" / "f00")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert list(open_weights("someone/small").parameters) == ["a.weight"]
    assert "no such file or directory" in refusal(Path("someone/else"))
    (home / "refs" / "main").write_text("../../..")
    assert "no such file or directory" in refusal(Path("someone/small"))


def test_without_an_index_all_safetensors_count(tmp_path: Path) -> None:
    save_file({"a.weight": torch.ones(2)}, tmp_path / "one.safetensors")
    save_file({"b.weight": torch.ones(2)}, tmp_path / "two.safetensors")
    save_file({"lora_A.weight": torch.ones(2)}, tmp_path / "adapter_model.safetensors")
    assert list(open_weights(tmp_path).parameters) == ["a.weight", "b.weight"]
    save_file({"b.weight": torch.zeros(2)}, tmp_path / "three.safetensors")
    assert "a second tensor with the name b.weight" in refusal(tmp_path)


def test_directories_without_weights(tmp_path: Path) -> None:
    assert "no weights in it" in refusal(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"ONNX")
    assert "ONNX models are not read; give" in refusal(tmp_path)
    assert "ONNX models are not read; give" in refusal(tmp_path / "model.onnx")
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    assert "truncated: 4 bytes are less than a GGUF header" in refusal(tmp_path / "model.gguf")
    (tmp_path / "model.gguf").unlink()
    save_file({"lora_A.weight": torch.ones(2)}, tmp_path / "adapter_model.safetensors")
    assert "holds an adapter" in refusal(tmp_path)
    assert "no such file or directory" in refusal(tmp_path / "nothing")


def test_dtypes_that_are_not_read_are_said(tmp_path: Path) -> None:
    header = {
        "a.weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        "b.weight": {"dtype": "F4", "shape": [8], "data_offsets": [4, 8]},
        "c.weight": {"dtype": "F4", "shape": [8], "data_offsets": [8, 12]},
    }
    safetensors(tmp_path / "model.safetensors", header, bytes(12))
    weights = open_weights(tmp_path)
    assert list(weights.parameters) == ["a.weight"]
    assert weights.notes == (
        "2 tensors skipped (unknown safetensors dtype 'F4'), such as b.weight",
    )


@pytest.mark.parametrize("kept", [0, 7, 8, 500, 20_000])
def test_truncated_shards(real: Path, tmp_path: Path, kept: int) -> None:
    for path in (real / "weights" / "hf_sharded").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    victim = tmp_path / "model-00002-of-00003.safetensors"
    victim.write_bytes(victim.read_bytes()[:kept])
    message = refusal(tmp_path)
    assert message.startswith(f"{victim}: ")
    assert "truncated" in message
    victim.unlink()
    assert refusal(tmp_path) == f"{victim}: is missing"


@pytest.mark.parametrize("kept", [0, 3, 100, 5_000, 100_000])
def test_truncated_torch_files(real: Path, tmp_path: Path, kept: int) -> None:
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes((real / "weights" / "pytorch_model.bin").read_bytes()[:kept])
    assert refusal(path).startswith(f"{path}: ")


@pytest.mark.parametrize(
    "name", ["../outside.safetensors", "/etc/passwd", "sub/a.safetensors", "..", "", "a\n", 7, None]
)
def test_an_index_names_files_of_its_own_directory_only(tmp_path: Path, name: Any) -> None:
    save_file({"x": torch.ones(1)}, tmp_path / "outside.safetensors")
    folder = sharded(tmp_path / "model", {"x": name}, x=torch.ones(1))
    assert "refused: it names a file outside its directory" in refusal(folder)


def test_an_index_that_promises_too_much(tmp_path: Path) -> None:
    folder = sharded(
        tmp_path / "model", {"x": "a.safetensors", "y": "a.safetensors"}, x=torch.ones(1)
    )
    assert "its index lists 1 tensor that no file has, such as y" in refusal(folder)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"weight_map": []}', "{}", "[" * 100_000, '{"weight_map": {}}']
)
def test_damaged_indices(tmp_path: Path, text: str) -> None:
    (tmp_path / INDEX).write_text(text)
    assert "damaged" in refusal(tmp_path)


def test_a_damaged_config_is_not_passed_over(tmp_path: Path) -> None:
    save_file({"x": torch.ones(1)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{")
    assert refusal(tmp_path) == f"{tmp_path / 'config.json'}: damaged: not JSON"


def test_headers_that_promise_more_than_any_memory(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    started = time.process_time()
    path.write_bytes((1 << 62).to_bytes(8, "little") + b"{}")
    assert "header of" in refusal(tmp_path)
    for shape, end in (([1 << 40, 1 << 40], 16), ([1 << 30], 1 << 32), ([4], 17), ([-4], -16)):
        entry = {"dtype": "F32", "shape": shape, "data_offsets": [0, end]}
        safetensors(path, {"x.weight": entry}, bytes(16))
        assert refusal(tmp_path).startswith(f"{path}: x.weight: ")
    assert time.process_time() - started < 5


def test_names_that_are_no_line_of_text(tmp_path: Path) -> None:
    entry = {"dtype": "F32", "shape": [9], "data_offsets": [0, 4]}
    safetensors(tmp_path / "model.safetensors", {"a\nb\x1b[31m": entry}, bytes(4))
    assert "a?b?[31m: damaged header" in refusal(tmp_path)


def test_pickles_that_run_programs_are_refused(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'attacked'}",)

    torch.save({"x": Attack()}, tmp_path / "pytorch_model.bin")
    assert "refused: pickle wants" in refusal(tmp_path)
    assert not (tmp_path / "attacked").exists()


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_damage_is_refused_in_one_line_or_harmless(
    real: Path, tmp_path_factory: pytest.TempPathFactory, data: Any
) -> None:
    """Bytes changed, left out or cut off anywhere in the files' own descriptions."""
    kind = data.draw(st.sampled_from(["model.safetensors", "pytorch_model.bin", INDEX]))
    folder = tmp_path_factory.mktemp("damaged")
    if kind == INDEX:
        shutil.copytree(real / "weights" / "hf_sharded", folder, dirs_exist_ok=True)
    elif kind == "pytorch_model.bin":
        shutil.copy(real / "weights" / kind, folder / kind)
    else:
        save_file({"a.weight": torch.ones(3, 5), "b.bias": torch.zeros(4)}, folder / kind)
    content = bytearray((folder / kind).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, min(len(content) - 1, 4000)))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    (folder / kind).write_bytes(content)
    try:
        weights = open_weights(folder)
    except CaptureError as error:
        assert "\n" not in str(error)
        return
    for parameter in weights.parameters.values():
        if parameter.locator.reader == "raw":
            assert load(parameter.locator).shape == parameter.locator.shape


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.safetensors")
    assert "is not a plain file" in refusal(tmp_path)
