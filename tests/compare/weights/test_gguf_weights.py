"""A GGUF file as the weights of a candidate: what quantisation makes is told from a fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from layertui.capture import record
from layertui.capture.errors import CaptureError
from layertui.capture.load import load
from layertui.capture.weights import open_weights
from layertui.cli.main import status_of
from support.gguf_files.models import finish, write_gguf
from support.tiny_checkpoints import IDS, write_llama

gguf = pytest.importorskip("gguf")
KINDS = ("F32", "Q8_0", "Q4_0")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("llama") / "model")


def loaded(llama: Path) -> Any:
    return transformers.LlamaForCausalLM.from_pretrained(llama, dtype=torch.float32).eval()


def run(model: Any, folder: Path) -> str:
    with torch.no_grad(), record(model, folder):
        model(input_ids=torch.tensor([IDS]))
    return str(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_have_the_names_and_rows_of_transformers(
    kind: str, llama: Path, tmp_path: Path
) -> None:
    kept = write_gguf(tmp_path / "model.gguf", loaded(llama), kind)
    weights = open_weights(tmp_path / "model.gguf")
    assert weights.parameters.keys() == kept.keys()
    for name, values in kept.items():
        np.testing.assert_array_equal(load(weights.parameters[name].locator), values, name)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", [False, True], ids=["clean", "fault"])
def test_a_quantised_candidate_with_and_without_a_fault(
    fault: bool, kind: str, llama: Path, tmp_path: Path
) -> None:
    """PyTorch runs the weights of the file, in place of llama.cpp, whose own runs are those of
    `test_llama_cpp.py`.
    """
    reference = run(loaded(llama), tmp_path / "reference")
    other = loaded(llama)
    kept = write_gguf(tmp_path / "model.gguf", other, kind)
    other.load_state_dict({name: torch.from_numpy(values.copy()) for name, values in kept.items()})
    if fault:
        with torch.no_grad():
            other.model.layers[1].mlp.up_proj.weight.mul_(1.25)
    report = tmp_path / "report.json"
    words = ["compare", reference, run(other, tmp_path / "candidate"), "--format", "json"]
    models = ["--reference-model", str(llama), "--candidate-model", str(tmp_path / "model.gguf")]
    status = status_of([*words, *models, "-o", str(report)])
    found = json.loads(report.read_text())
    first = found["first_divergence"]
    if fault:
        assert status == 1
        said = [(f["candidate"], f["causes"][0]["name"]) for f in found["findings"] if f["causes"]]
        assert ("model.layers.1.mlp.up_proj-output", "scale") in said
    elif kind == "F32":
        assert status == 0 and first is None
    else:
        assert first["module"] == "embed_tokens"
        assert {f["causes"][0]["name"] for f in found["findings"]} == {"quantised"}


def test_what_is_not_known_is_refused_in_one_line(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "gemma2")
    writer.add_tensor("output_norm.weight", np.ones(32, np.float32))
    finish(writer)
    with pytest.raises(CaptureError, match="of the architecture 'gemma2' are not read"):
        open_weights(tmp_path / "model.gguf")
