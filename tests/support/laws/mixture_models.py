"""Small mixtures of experts of transformers."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import nn

LAYERS = 3
SIZES: dict[str, Any] = {
    "vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4,
    "num_key_value_heads": 2, "num_hidden_layers": LAYERS, "max_position_embeddings": 64,
    "attn_implementation": "eager", "use_cache": False, "pad_token_id": 0,
}  # fmt: skip
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "mixtral": ("Mixtral", {"num_local_experts": 8, "num_experts_per_tok": 2}),
    "qwen2_moe": ("Qwen2Moe", {
        "num_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 24,
        "shared_expert_intermediate_size": 40,
    }),
    "qwen3_moe": ("Qwen3Moe", {
        "num_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 24,
        "norm_topk_prob": True, "head_dim": 8,
    }),
    "deepseek": ("DeepseekV3", {
        "num_key_value_heads": 4, "n_routed_experts": 8, "num_experts_per_tok": 3, "n_group": 2,
        "topk_group": 1, "moe_intermediate_size": 24, "first_k_dense_replace": 0,
        "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8,
        "v_head_dim": 8,
    }),
    "gpt_oss": ("GptOss", {
        "num_local_experts": 8, "num_experts_per_tok": 2, "head_dim": 8, "sliding_window": 8,
    }),
}  # fmt: skip


def build(family: str, dtype: torch.dtype) -> nn.Module:
    name, more = FAMILIES[family]
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**{**SIZES, **more})
    model = getattr(transformers, f"{name}Model")(config)
    for key, parameter in model.named_parameters():
        if key.endswith("bias"):
            parameter.data.normal_(0, 0.1)
        elif parameter.dim() > 1:
            parameter.data *= 4
    return model.to(dtype).eval()
