"""TransformerLens: the hook points of its caches, heads on an axis of their own.

`hook_normalized` stands before the norm's weight in models with RMS norm and behind it in others:
where there is a `hook_out`, that is what the norm returns.
"""

from __future__ import annotations

from .names import EngineNames

_B = r"^blocks\.(\d+)\."
_SECOND_NORM = r"layers.\1.post_attention_layernorm"

TRANSFORMER_LENS = EngineNames(
    "TransformerLens",
    signs=((r"(?:^|\.)hook_(?:resid_\w+|embed|attn_out|mlp_out|q|z|normalized|pre|post)$",),),
    quantities=(
        (r"^(?:hook_embed|embed\.hook_out)$", "embed_tokens", "output"),
        (r"^embed\.hook_in$", "embed_tokens", "input_0"),
        (r"^(?:hook_pos_embed|pos_embed\.hook_out)$", "embed_positions", "output"),
        (r"^rotary_emb\.hook_in$", "rotary_emb", "input_0"),
        (r"^rotary_emb\.hook_cos$", "rotary_emb", "output"),
        (r"^rotary_emb\.hook_sin$", "rotary_emb", "output_1"),
        (_B + r"(?:hook_resid_pre|hook_in)$", r"layers.\1", "input_0"),
        (_B + r"(?:hook_resid_post|hook_out)$", r"layers.\1", "output"),
        (_B + r"(?:hook_resid_mid|ln2\.hook_in)$", _SECOND_NORM, "input_0"),
        (_B + r"ln1\.hook_in$", r"layers.\1.input_layernorm", "input_0"),
        (_B + r"ln1\.hook_out$", r"layers.\1.input_layernorm", "output"),
        (_B + r"ln2\.hook_out$", _SECOND_NORM, "output"),
        (_B + r"ln1\.hook_(normalized|scale)$", r"layers.\1.input_layernorm.\2", "output"),
        (_B + r"ln2\.hook_(normalized|scale)$", _SECOND_NORM + r".\2", "output"),
        (_B + r"attn\.hook_([qkv])$", r"layers.\1.self_attn.\2_proj", "output"),
        (_B + r"attn\.([qkv])\.hook_out$", r"layers.\1.self_attn.\2_proj", "output"),
        (_B + r"attn\.([qkv])\.hook_in$", r"layers.\1.self_attn.\2_proj", "input_0"),
        (_B + r"attn\.hook_rot_([qk])$", r"layers.\1.self_attn.\2_rope", "output"),
        (_B + r"attn\.hook_attn_scores$", r"layers.\1.self_attn.scores", "output"),
        (_B + r"attn\.hook_pattern$", r"layers.\1.self_attn.softmax", "output"),
        (_B + r"attn\.(?:hook_z|o\.hook_in)$", r"layers.\1.self_attn.o_proj", "input_0"),
        (_B + r"attn\.o\.hook_out$", r"layers.\1.self_attn.o_proj", "output"),
        (_B + r"(?:hook_attn_out|attn\.hook_out)$", r"layers.\1.self_attn", "output"),
        (_B + r"attn\.hook_in$", r"layers.\1.self_attn", "input_0"),
        (_B + r"mlp\.(?:hook_pre_linear|in\.hook_out)$", r"layers.\1.mlp.up_proj", "output"),
        (_B + r"mlp\.(?:hook_pre|gate\.hook_out)$", r"layers.\1.mlp.gate_proj", "output"),
        (_B + r"mlp\.in\.hook_in$", r"layers.\1.mlp.up_proj", "input_0"),
        (_B + r"mlp\.gate\.hook_in$", r"layers.\1.mlp.gate_proj", "input_0"),
        (_B + r"mlp\.(?:hook_post|out\.hook_in)$", r"layers.\1.mlp.down_proj", "input_0"),
        (_B + r"mlp\.out\.hook_out$", r"layers.\1.mlp.down_proj", "output"),
        (_B + r"(?:hook_mlp_out|mlp\.hook_out)$", r"layers.\1.mlp", "output"),
        (_B + r"mlp\.hook_in$", r"layers.\1.mlp", "input_0"),
        (r"^ln_final\.hook_out$", "norm", "output"),
        (r"^ln_final\.hook_in$", "norm", "input_0"),
        (r"^ln_final\.hook_(normalized|scale)$", r"norm.\1", "output"),
        (r"^unembed\.hook_in$", "lm_head", "input_0"),
        (r"^(?:unembed\.hook_out|hook_unembed|logits)$", "lm_head", "output"),
    ),
)  # fmt: skip
