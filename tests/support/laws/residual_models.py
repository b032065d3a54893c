"""Small models of transformers that add their layers to a stream."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import nn

LAYERS = 4
SIZES: dict[str, Any] = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4,
    "num_hidden_layers": LAYERS, "max_position_embeddings": 64, "attn_implementation": "eager",
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "use_cache": False,
}  # fmt: skip
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {"num_key_value_heads": 2}),
    "gemma2": ("Gemma2", {"num_key_value_heads": 2, "head_dim": 8}),
    "olmo2": ("Olmo2", {"num_key_value_heads": 2}),
    "granite": ("Granite", {"num_key_value_heads": 2, "residual_multiplier": 0.22}),
    "cohere": ("Cohere", {"num_key_value_heads": 2}),
    "phi": ("Phi", {}),
    "neox": ("GPTNeoX", {}),
    "bert": ("Bert", {}),
}


def build(family: str, dtype: torch.dtype) -> nn.Module:
    name, more = FAMILIES[family]
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**SIZES, **more)
    model = getattr(transformers, f"{name}Model")(config)
    for parameter in model.parameters():
        parameter.data *= 4 if parameter.dim() > 1 else 1
    return model.to(dtype).eval()
