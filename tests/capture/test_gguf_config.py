"""What the metadata of GGUF files say of a model, as configs of transformers say it."""

from __future__ import annotations

from pathlib import Path

import pytest

from layertui.capture.formats.gguf_file import list_tensors
from layertui.capture.weights import open_weights
from layertui.capture.weights.gguf_config import interleaved_heads
from support.gguf_files.small import small_gguf

LLAMA = {
    "llama.embedding_length": 64, "llama.block_count": 2, "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2, "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "llama.rope.freq_base": 500000.0, "llama.context_length": 128,
}  # fmt: skip


def test_numbers_have_the_names_of_transformers(tmp_path: Path) -> None:
    """Floats as they were written, not as float32 holds them."""
    config = open_weights(small_gguf(tmp_path / "m.gguf", LLAMA)).config
    assert config == {
        "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "hidden_act": "silu",
        "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0, "max_position_embeddings": 128,
    }  # fmt: skip


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_left_out(value: float, tmp_path: Path) -> None:
    """JSON, in which captures say it, has no such numbers."""
    odd = {**LLAMA, "llama.rope.freq_base": value}
    assert "rope_theta" not in open_weights(small_gguf(tmp_path / "m.gguf", odd)).config


@pytest.mark.parametrize(
    ("more", "size"),
    [
        ({}, 16),
        ({"llama.attention.key_length": 32}, 32),
        ({"llama.attention.key_length": 7}, None),
        ({"llama.attention.key_length": 0}, None),
        ({"llama.attention.head_count": 0}, None),
        ({"general.architecture": "qwen2"}, None),
    ],
)
def test_which_files_have_rows_of_heads_in_pairs(
    more: dict[str, int], size: int | None, tmp_path: Path
) -> None:
    metadata, _ = list_tensors(str(small_gguf(tmp_path / "m.gguf", {**LLAMA, **more})))
    assert interleaved_heads(metadata) == size
