"""BERT and its descendants in transformers, which nest quantities in containers."""

from __future__ import annotations

from .names import EngineNames

BERT = EngineNames(
    "bert",
    paths=(
        (r"^(?:\w+\.){0,3}encoder\.layer\.(?=\d)", "layers."),
        (r"^(?:\w+\.){0,3}embeddings\.word_embeddings$", "embed_tokens"),
        (r"^(layers\.\d+)\.attention\.self\.", r"\1.self_attn."),
        (r"^(layers\.\d+)\.attention\.output\.dense$", r"\1.self_attn.o_proj"),
        (r"^(layers\.\d+)\.intermediate\.dense$", r"\1.mlp.up_proj"),
        (r"^(layers\.\d+)\.output\.dense$", r"\1.mlp.down_proj"),
    ),
    in_attention={"query": "q_proj", "key": "k_proj", "value": "v_proj"},
)
