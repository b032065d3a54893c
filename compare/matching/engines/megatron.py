"""Megatron-Core: `[tokens, batch, hidden]`, projections fused by groups of heads."""

from __future__ import annotations

from .names import EngineNames

MEGATRON = EngineNames(
    "Megatron",
    signs=(
        (r"self_attention\.linear_(?:qkv|proj|q|kv)\b",),
        (r"(?:^|\.)pre_mlp_layernorm\b",),
        (r"^decoder\.layers\.\d+\.mlp\.linear_fc[12]\b",),
    ),
    paths=(
        (r"^decoder\.(?=layers\.|final_layernorm)", ""),
        (r"^embedding\.word_embeddings$", "embed_tokens"),
    ),
    anywhere={"pre_mlp_layernorm": "post_attention_layernorm", "output_layer": "lm_head"},
    in_attention={
        "linear_qkv": "qkv_proj", "linear_q": "q_proj", "linear_proj": "o_proj",
        "q_layernorm": "q_norm", "k_layernorm": "k_norm",
    },
    in_mlp={"linear_fc1": "gate_up_proj", "linear_fc2": "down_proj"},
    meanings=(
        (r"^(layers\.\d+)\.self_attn\.core_attention-output$", r"\1.self_attn.o_proj", "input_0"),
    ),
    grouped_attention=True,
)  # fmt: skip
