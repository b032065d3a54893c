"""Models in JAX (MaxText and T5X) and Keras."""

from __future__ import annotations

from .names import EngineNames

MAXTEXT = EngineNames(
    "MaxText",
    signs=(
        (r"\bpre_self_attention_(?:layer_)?norm\b",),
        (r"(?:^|[./])decoder[./]decoder_norm\b",),
        (r"\bmlp[./]wi_0\b",),
    ),
    paths=(
        (r"^decoder\.(?=layers(?:\.|$)|decoder_norm|logits_dense)", ""),
        (r"^(?:decoder\.)?token_embedder$", "embed_tokens"),
    ),
    anywhere={
        "pre_self_attention_layer_norm": "input_layernorm",
        "pre_self_attention_norm": "input_layernorm",
        "post_self_attention_layer_norm": "post_attention_layernorm",
        "decoder_norm": "norm",
        "logits_dense": "lm_head",
    },
    in_attention={"out": "o_proj"},
    in_mlp={"wi_0": "gate_proj", "wi_1": "up_proj", "wo": "down_proj"},
)
KERAS = EngineNames(
    "Keras",
    paths=(
        (r"^(layers\.\d+)\.feedforward_gate_dense$", r"\1.mlp.gate_proj"),
        (r"^(layers\.\d+)\.feedforward_intermediate_dense$", r"\1.mlp.up_proj"),
        (r"^(layers\.\d+)\.feedforward_output_dense$", r"\1.mlp.down_proj"),
    ),
    anywhere={
        "self_attention_layernorm": "input_layernorm",
        "self_attention_layer": "self_attn",
        "feedforward_layernorm": "post_attention_layernorm",
        "sequence_output_layernorm": "norm",
    },
    in_attention={"out": "o_proj", "attention_output": "o_proj"},
)
