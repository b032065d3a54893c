"""GGUF files of models of transformers, as llama.cpp's converter writes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm", "model.embed_tokens": "token_embd",
    "model.norm": "output_norm", "lm_head": "output", "model.layers.": "blk.",
}  # fmt: skip
_PERMUTED = ("llama",)  # whose rows of queries and keys are turned into rotary pairs

Change = Callable[[str, np.ndarray], np.ndarray]


def write_gguf(
    path: Path, model: Any, quantisation: str = "F32", change: Change | None = None,
    tokenizer: Path | None = None,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Write the weights of a model (llama, qwen2, qwen3), matrices quantised, after `change` of
    each by its name in transformers; gives the weights by these names as the file has them. With
    the directory of a byte-level `tokenizer` the file has that, too.
    """
    import gguf

    config = model.config
    kind = gguf.GGMLQuantizationType[quantisation]
    writer = gguf.GGUFWriter(path, config.model_type)
    _add_settings(writer, config)
    if tokenizer is not None:
        _add_tokens(writer, tokenizer, config.vocab_size)
    else:
        writer.add_tokenizer_model("no_vocab")
    kept: dict[str, np.ndarray] = {}
    for name, weight in model.state_dict().items():
        values, new = weight.float().numpy(), name
        if change is not None:
            values = change(name, values)
        for old, other in _NAMES.items():
            new = new.replace(old, other)
        heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
        heads = next((count for part, count in heads.items() if f"{part}." in new), 0)
        heads *= config.model_type in _PERMUTED
        kept[name] = values
        if heads:
            halves = values.reshape(heads, 2, -1, *values.shape[1:])
            values = halves.swapaxes(1, 2).reshape(values.shape)
        values = np.ascontiguousarray(values)
        if values.ndim == 1 or quantisation == "F32":
            writer.add_tensor(new, values)
            continue
        raw = gguf.quants.quantize(values, kind)
        writer.add_tensor(new, raw, raw_dtype=kind)
        back = gguf.quants.dequantize(raw, kind)
        if heads:
            pairs = back.reshape(heads, -1, 2, *back.shape[1:])
            back = pairs.swapaxes(1, 2).reshape(back.shape)
        kept[name] = back
    finish(writer)
    return kept


def finish(writer: Any) -> None:
    """Write everything that a writer was given."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_settings(writer: Any, config: Any) -> None:
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)


def _add_tokens(writer: Any, folder: Path, size: int) -> None:
    import gguf

    made = json.loads((folder / "tokenizer.json").read_text())
    names = {number: token for token, number in made["model"]["vocab"].items()}
    special = {token["id"] for token in made["added_tokens"]}
    kinds = [
        gguf.TokenType.CONTROL if number in special
        else gguf.TokenType.NORMAL if number in names else gguf.TokenType.UNUSED
        for number in range(size)
    ]  # fmt: skip
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([names.get(number, f"<unused{number}>") for number in range(size)])
    writer.add_token_types(kinds)
    writer.add_token_merges(['! "'])  # there must be some
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_add_bos_token(False)
