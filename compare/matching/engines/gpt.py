"""Models after GPT-2 and GPT-NeoX, as transformers has them."""

from __future__ import annotations

from .names import EngineNames

GPT = EngineNames(
    "gpt",
    anywhere={
        "wte": "embed_tokens", "word_embeddings": "embed_tokens", "embed_in": "embed_tokens",
        "token_embedding": "embed_tokens", "wpe": "embed_positions",
        "ln_1": "input_layernorm", "ln_2": "post_attention_layernorm",
        "attn": "self_attn", "attention": "self_attn", "self_attention": "self_attn",
        "c_attn": "qkv_proj", "query_key_value": "qkv_proj", "Wqkv": "qkv_proj",
        "qkv": "qkv_proj",
    },
    in_attention={"c_proj": "o_proj", "dense": "o_proj", "out_proj": "o_proj"},
    in_mlp={
        "c_fc": "up_proj", "fc1": "up_proj", "fc_in": "up_proj", "dense_h_to_4h": "up_proj",
        "c_proj": "down_proj", "fc2": "down_proj", "fc_out": "down_proj",
        "dense_4h_to_h": "down_proj", "act": "act_fn",
    },
    at_top={
        "ln_f": "norm", "final_layernorm": "norm", "final_layer_norm": "norm", "norm_f": "norm",
        "embed_out": "lm_head",
    },
)  # fmt: skip

# GPT-NeoX, BLOOM and Falcon fuse queries, keys and values head by head.
GROUPED_GPT = EngineNames(
    "GPT-NeoX, Falcon",
    signs=(
        (r"(?:^|\.)gpt_neox\..*query_key_value\b",),
        (r"(?:^|\.)h\.\d+\.self_attention\.query_key_value\b",),
    ),
    grouped_attention=True,
)
