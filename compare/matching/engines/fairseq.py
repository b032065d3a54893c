"""fairseq, OPT and torch's own transformer: a feed-forward network without a module of its own."""

from __future__ import annotations

from .names import EngineNames

FAIRSEQ = EngineNames(
    "fairseq",
    paths=(
        (r"^((?:\w+\.)*layers\.\d+)\.(?:fc1|linear1)$", r"\1.mlp.up_proj"),
        (r"^((?:\w+\.)*layers\.\d+)\.(?:fc2|linear2)$", r"\1.mlp.down_proj"),
        (r"^((?:\w+\.)*layers\.\d+)\.self_attn_layer_norm$", r"\1.input_layernorm"),
        (r"^((?:\w+\.)*layers\.\d+)\.final_layer_norm$", r"\1.post_attention_layernorm"),
    ),
)
