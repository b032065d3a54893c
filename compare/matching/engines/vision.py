"""Vision transformers of timm and transformers."""

from __future__ import annotations

from .names import EngineNames

VISION = EngineNames(
    "ViT",
    signs=((r"(?:^|\.)patch_embed(?:dings?)?\b", r"\.(?:norm1|layernorm_before|ln_1)\b"),),
    paths=(
        (r"^(?:\w+\.){0,2}encoder\.layers?\.(?=\d)", "layers."),
        (r"^(layers\.\d+)\.attention\.attention\.", r"\1.self_attn."),
        (r"^(layers\.\d+)\.attention\.output\.dense$", r"\1.self_attn.o_proj"),
        (r"^(layers\.\d+)\.intermediate\.dense$", r"\1.mlp.up_proj"),
        (r"^(layers\.\d+)\.output\.dense$", r"\1.mlp.down_proj"),
        (r"^(?:\w+\.)?embeddings\.patch_embeddings$", "patch_embed"),
        (r"^(?:\w+\.)?layernorm$", "norm"),
    ),
    anywhere={
        "norm1": "input_layernorm", "layernorm_before": "input_layernorm",
        "norm2": "post_attention_layernorm", "layernorm_after": "post_attention_layernorm",
    },
    in_attention={"proj": "o_proj"},
)  # fmt: skip
