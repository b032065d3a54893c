"""TensorRT-LLM. Its `fc` is what the activation is applied to, its `gate` what that is multiplied
with: Hugging Face's `gate_proj` and `up_proj`. Without a gate, `fc` is the only one.
"""

from __future__ import annotations

from .names import EngineNames

_ANYWHERE = {"vocab_embedding": "embed_tokens", "post_layernorm": "post_attention_layernorm"}
_SIGNS = (r"(?:^|\.)vocab_embedding\b",), (r"\.post_layernorm\b", r"\.attention\.(?:qkv|dense)\b")

TENSORRT_LLM = EngineNames(
    "TensorRT-LLM",
    signs=tuple((*line, r"\.mlp\.gate\b") for line in _SIGNS),
    anywhere=_ANYWHERE,
    in_mlp={"fc": "gate_proj", "gate": "up_proj", "proj": "down_proj"},
)
TENSORRT_LLM_UNGATED = EngineNames(
    "TensorRT-LLM without gates",
    signs=_SIGNS,
    anywhere=_ANYWHERE,
    in_mlp={"fc": "up_proj", "proj": "down_proj"},
)
