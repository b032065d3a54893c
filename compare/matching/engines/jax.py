"""Models in JAX (MaxText and T5X) and Keras."""

from __future__ import annotations

from .names import EngineNames

JAX = EngineNames(
    "JAX",
    paths=(
        (r"^decoder\.(?=layers\.\d+\.(?:self_attention|mlp|pre_|post_))", ""),
        (r"^decoder\.decoder_norm$", "norm"),
        (r"^decoder\.logits_dense$", "lm_head"),
        (r"^(?:decoder\.)?token_embedder$", "embed_tokens"),
        (r"^(layers\.\d+)\.feedforward_gate_dense$", r"\1.mlp.gate_proj"),
        (r"^(layers\.\d+)\.feedforward_intermediate_dense$", r"\1.mlp.up_proj"),
        (r"^(layers\.\d+)\.feedforward_output_dense$", r"\1.mlp.down_proj"),
    ),
    anywhere={
        "pre_self_attention_layer_norm": "input_layernorm",
        "pre_self_attention_norm": "input_layernorm",
        "post_self_attention_layer_norm": "post_attention_layernorm",
        "self_attention_layernorm": "input_layernorm",
        "feedforward_layernorm": "post_attention_layernorm",
        "sequence_output_layernorm": "norm",
    },
    in_attention={"out": "o_proj", "attention_output": "o_proj"},
    in_mlp={"wi_0": "gate_proj", "wi_1": "up_proj", "wo": "down_proj"},
)
