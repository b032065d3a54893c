"""What people call tensors that they dump from hooks and prints of their own: the layer, and a word
for what it is (`l3.resid_post`, `layer_0.q`, `block3/ffn_down`).

Words that people use for two things are left out: `pre_attn` and `post_attn` may be before or
behind a norm, `hidden_states` what a layer is given or what it returns.
"""

from __future__ import annotations

from .names import EngineNames

_L = r"^((?:\w+\.)*layers\.\d+)\."
_QUERIES_AND_SO_ON = {
    form.format(letter): f"self_attn.{letter}_proj"
    for letter in "qkv"
    for form in ("{}", "w{}", "W{}", "to_{}", "{}_proj", "{}_lin", "{}_linear", "linear_{}",
                 "proj_{}")
}  # fmt: skip

HOME_MADE = EngineNames(
    "home-made",
    quantities=(
        (_L + r"(?:resid|residual|res)_(?:pre|in)$", r"\1", "input_0"),
        (_L + r"(?:resid|residual|res)_(?:post|out)$", r"\1", "output"),
        (_L + r"(?:resid|residual)_mid$", r"\1.post_attention_layernorm", "input_0"),
    ),
    in_mlp={"wi_0": "gate_proj", "wi_1": "up_proj", "wo": "down_proj"},
    in_layer={
        **_QUERIES_AND_SO_ON,
        "query": "self_attn.q_proj",
        "o": "self_attn.o_proj", "wo": "self_attn.o_proj", "o_proj": "self_attn.o_proj",
        "attn_o": "self_attn.o_proj", "attn_proj": "self_attn.o_proj",
        "attn_o_proj": "self_attn.o_proj", "attn_out_proj": "self_attn.o_proj",
        "qkv": "self_attn.qkv_proj", "qkv_proj": "self_attn.qkv_proj",
        "c_attn": "self_attn.qkv_proj", "wqkv": "self_attn.qkv_proj",
        "Wqkv": "self_attn.qkv_proj", "query_key_value": "self_attn.qkv_proj",
        "gate": "mlp.gate_proj", "up": "mlp.up_proj", "down": "mlp.down_proj",
        "gate_proj": "mlp.gate_proj", "up_proj": "mlp.up_proj", "down_proj": "mlp.down_proj",
        "w1": "mlp.gate_proj", "w3": "mlp.up_proj", "w2": "mlp.down_proj",
        "gate_up": "mlp.gate_up_proj", "gate_up_proj": "mlp.gate_up_proj",
        "w13": "mlp.gate_up_proj",
        "ln1": "input_layernorm", "ln_1": "input_layernorm", "norm1": "input_layernorm",
        "norm_1": "input_layernorm", "ln2": "post_attention_layernorm",
        "ln_2": "post_attention_layernorm", "norm2": "post_attention_layernorm",
        "norm_2": "post_attention_layernorm",
        "pre_attn_norm": "input_layernorm", "pre_attention_norm": "input_layernorm",
        "pre_attn_layernorm": "input_layernorm", "pre_attn_ln": "input_layernorm",
        "pre_mlp_norm": "post_attention_layernorm", "pre_ffn_norm": "post_attention_layernorm",
        "pre_mlp_ln": "post_attention_layernorm", "pre_ffn_ln": "post_attention_layernorm",
        "attn_ln": "input_layernorm", "ln_attn": "input_layernorm",
        "norm_attn": "input_layernorm", "attn_layernorm": "input_layernorm",
        "mlp_ln": "post_attention_layernorm", "ln_mlp": "post_attention_layernorm",
        "norm_mlp": "post_attention_layernorm", "ffn_ln": "post_attention_layernorm",
        "ln_ffn": "post_attention_layernorm", "norm_ffn": "post_attention_layernorm",
        "mlp_layernorm": "post_attention_layernorm",
    },
)  # fmt: skip
