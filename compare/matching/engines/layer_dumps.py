"""Text dumps of hand-written engines: `layer_3_attn_q_proj_raw`, `final_norm_output`."""

from __future__ import annotations

from .names import EngineNames

LAYER_DUMPS = EngineNames(
    "layer dumps",
    quantities=(
        (r"^input_embeddings$", "embed_tokens", "output"),
        (r"^layer_(\d+)_input_hidden_states$", r"layers.\1", "input_0"),
        (r"^layer_(\d+)_attn_norm_output$", r"layers.\1.input_layernorm", "output"),
        (r"^layer_(\d+)_attn_([qkv])_proj_raw$", r"layers.\1.self_attn.\2_proj", "output"),
        (r"^layer_(\d+)_attn_([qkv])_normed$", r"layers.\1.self_attn.\2_norm", "output"),
        (r"^layer_(\d+)_attn_([qkv])_rope$", r"layers.\1.self_attn.\2_rope", "output"),
        (r"^layer_(\d+)_attn_scores$", r"layers.\1.self_attn.scores", "output"),
        (r"^layer_(\d+)_attn_(?:softmax|probs|weights)$", r"layers.\1.self_attn.softmax", "output"),
        (r"^layer_(\d+)_attn_(?:sdpa_output|context)$", r"layers.\1.self_attn.o_proj", "input_0"),
        (r"^layer_(\d+)_attn_o_proj$", r"layers.\1.self_attn.o_proj", "output"),
        (r"^layer_(\d+)_attn_residual_output$", r"layers.\1.post_attention_layernorm", "input_0"),
        (r"^layer_(\d+)_mlp_norm_output$", r"layers.\1.post_attention_layernorm", "output"),
        (r"^layer_(\d+)_mlp_(gate|up)_proj$", r"layers.\1.mlp.\2_proj", "output"),
        (r"^layer_(\d+)_mlp_intermediate$", r"layers.\1.mlp.down_proj", "input_0"),
        (r"^layer_(\d+)_(?:mlp_down_proj|mlp_output)$", r"layers.\1.mlp.down_proj", "output"),
        (r"^layer_(\d+)_(?:layer_)?output$", r"layers.\1", "output"),
        (r"^layer_(\d+)_resid_pre$", r"layers.\1", "input_0"),
        (r"^layer_(\d+)_resid_post$", r"layers.\1", "output"),
        (r"^resid_pre[_.-](\d+)$", r"layers.\1", "input_0"),
        (r"^resid_post[_.-](\d+)$", r"layers.\1", "output"),
        (r"^final_norm_output$", "norm", "output"),
        (r"^(?:model[._])?last_hidden_state$", "norm", "output"),
        (r"^(?:logits|lm_head_output)$", "lm_head", "output"),
    ),
    at_top={
        "emb": "embed_tokens", "embed": "embed_tokens", "embedding": "embed_tokens",
        "token_embeds": "embed_tokens",
        "inputs_embeds": "embed_tokens",
        "tok_emb": "embed_tokens", "token_embeddings": "embed_tokens", "unembed": "lm_head",
        "ln_final": "norm", "final_ln": "norm", "final_rmsnorm": "norm", "norm_final": "norm",
    },
)  # fmt: skip
