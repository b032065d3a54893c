"""The console examples of the manual's pages on verifying a model and on limits, executed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import transformers

from support.console_examples import blocks, run_block
from support.tiny_checkpoints import with_wrong_weight, write_llama, write_tokenizer

MANUAL = Path(__file__).parents[2] / "docs" / "manual"


def run_page(name: str, mark: str, folder: Path, **environment: str) -> None:
    found = blocks((MANUAL / name).read_text(encoding="utf-8"), mark)
    assert found, f"{name} has no example {mark}"
    for block in found:
        run_block(block, folder, **environment)


def scaled(model: Path, folder: Path, factor: float) -> None:
    """A copy in which one projection has another factor."""
    copy = transformers.LlamaForCausalLM.from_pretrained(model)
    with torch.no_grad():
        copy.get_parameter("model.layers.1.mlp.down_proj.weight").mul_(factor)
    copy.save_pretrained(folder)
    write_tokenizer(folder)


def test_limits_learned_and_applied(tmp_path: Path) -> None:
    write_llama(tmp_path / "model")
    scaled(tmp_path / "model", tmp_path / "faulty", 1 + 1e-5)
    run_page("limits.md", "limits-example", tmp_path)


def test_changes_since_an_earlier_candidate(tmp_path: Path) -> None:
    run_page("compare.md", "changes-example", tmp_path)


def test_a_model_verified(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_llama(tmp_path / "model")
    wrong = "model.layers.1.mlp.down_proj.weight"
    with_wrong_weight(tmp_path / "model", tmp_path / "other", wrong)
    run_page("verify.md", "verify-example", tmp_path)


def test_an_onnx_model(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from support.onnx_models import with_changed_weight

    write_llama(tmp_path / "model")
    run_page("onnx.md", "onnx-example", tmp_path)
    exported = tmp_path / "captures" / "onnx_dump_model" / "model.onnx"
    with_changed_weight(exported, tmp_path / "other", "model.layers.1.mlp.down_proj", 1.25)
    run_page("onnx.md", "onnx-fault-example", tmp_path)


@pytest.mark.llamacpp
@pytest.mark.xdist_group("llamacpp")
def test_a_gguf_file(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    pytest.importorskip("llama_cpp")
    from support.gguf_files.models import write_gguf

    wrong = "model.layers.1.mlp.down_proj.weight"
    model = transformers.LlamaForCausalLM.from_pretrained(write_llama(tmp_path / "model"))
    write_gguf(tmp_path / "model.gguf", model)
    write_gguf(tmp_path / "faulty-Q8_0.gguf", model, "Q8_0",
               lambda name, values: 1.25 * values if name == wrong else values)  # fmt: skip
    run_page("llamacpp.md", "llamacpp-example", tmp_path)


@pytest.mark.max
@pytest.mark.xdist_group("llama in max")
def test_a_model_verified_in_max(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)  # MAX keeps there what it compiled
    assert "XDG_CACHE_HOME" not in os.environ
    write_llama(tmp_path / "model")
    run_page("verify.md", "verify-max-example", tmp_path)
