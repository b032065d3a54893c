"""Meta's own code of Llama, and engines that took over its names."""

from __future__ import annotations

from .names import EngineNames

META_LLAMA = EngineNames(
    "meta-llama",
    anywhere={
        "tok_embeddings": "embed_tokens",
        "attention_norm": "input_layernorm", "attn_norm": "input_layernorm",
        "input_norm": "input_layernorm",
        "ffn_norm": "post_attention_layernorm", "mlp_norm": "post_attention_layernorm",
        "post_attention_norm": "post_attention_layernorm",
        "feed_forward": "mlp", "ffn": "mlp",
        "wqkv": "qkv_proj", "kv": "kv_proj", "wkv": "kv_proj",
        "gate_up": "gate_up_proj", "w13": "gate_up_proj",
    },
    in_attention={
        "wq": "q_proj", "q": "q_proj", "wk": "k_proj", "k": "k_proj", "wv": "v_proj",
        "v": "v_proj", "wo": "o_proj", "o": "o_proj",
        **{form.format(letter): f"{letter}_proj" for letter in "qkv"
           for form in ("linear_{}", "{}_linear", "{}_lin", "to_{}", "W{}", "W_{}", "proj_{}")},
        "linear_out": "o_proj", "out_lin": "o_proj", "out_linear": "o_proj", "Wo": "o_proj",
        "W_o": "o_proj", "query_proj": "q_proj", "key_proj": "k_proj", "value_proj": "v_proj",
    },
    in_mlp={
        "w1": "gate_proj", "gate": "gate_proj", "w3": "up_proj", "up": "up_proj",
        "w2": "down_proj", "down": "down_proj",
    },
    at_top={"final_norm": "norm", "output": "lm_head"},
)  # fmt: skip
