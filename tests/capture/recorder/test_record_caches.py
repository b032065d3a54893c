"""Generation with caches of a fixed size is recorded as with those that grow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers

from layertui.capture import open_capture, record
from layertui.cli.main import status_of

IDS = torch.tensor([[1, 2, 3, 4, 5, 6]])


def model(**more: object) -> transformers.LlamaForCausalLM:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, eos_token_id=None,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


def generated(kind: str, folder: Path, made: transformers.LlamaForCausalLM) -> Path:
    with record(made, folder):
        made.generate(IDS, max_new_tokens=5, do_sample=False, cache_implementation=kind)
    return folder


@pytest.fixture
def dynamic(tmp_path: Path) -> Path:
    return generated("dynamic", tmp_path / "dynamic", model())


def test_what_is_not_filled_is_not_recorded(
    dynamic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    static = generated("static", tmp_path / "static", model())
    keys = {
        r.step: r.shape
        for r in open_capture(static).records
        if r.slot == "output_past_key_values_1_keys" and r.module == "model"
    }
    assert keys == {step: (1, 2, 6 + step, 8) for step in range(5)}
    assert status_of(["compare", str(dynamic), str(static), "--format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    pairs = [row for row in report["rows"] if row["kind"] == "pair"]
    assert sum("past_key_values" in row["reference"]["slot"] for row in pairs) > 30
    assert report["counts"]["coverage"] == 1.0


def test_a_wrong_entry_of_a_static_cache_is_found(dynamic: Path, tmp_path: Path) -> None:
    made = model()
    attention = made.model.layers[1].self_attn
    calls = 0

    def spoil(module: object, args: object, kwargs: dict) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            kwargs["past_key_values"].layers[1].keys[:, :, 2] *= 3

    attention.register_forward_pre_hook(spoil, with_kwargs=True, prepend=True)
    static = generated("static", tmp_path / "static", made)
    assert status_of(["compare", str(dynamic), str(static)]) == 1
