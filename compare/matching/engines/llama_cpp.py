"""llama.cpp: tensors of GGUF files, and the names in its graph (`eval-callback`)."""

from __future__ import annotations

from .names import EngineNames, Quantity

# What a norm makes before its weight: no module returns that.
PLAIN_NORMS: tuple[Quantity, ...] = (
    (r"^norm$", "norm.normalised", "value"),
    (r"^norm-(\d+)$", r"layers.\1.normalised", "value"),
)
# A product, and the bias added to it, go by one name, and so do views of both, turned or not.
RESULTS = ("MUL_MAT", "MUL_MAT_ID", "ADD", "ADD_ID")

LLAMA_CPP = EngineNames(
    "llama.cpp",
    quantities=(
        (r"^inp_tokens$", "embed_tokens", "input_0"),
        (r"^(?:token_embd|inp_embd|embd)$", "embed_tokens", "output"),
        (r"^blk\.(\d+)\.attn_norm$", r"layers.\1.input_layernorm", None),
        (r"^blk\.(\d+)\.attn_([qkv])$", r"layers.\1.self_attn.\2_proj", None),
        (r"^blk\.(\d+)\.attn_output$", r"layers.\1.self_attn.o_proj", None),
        (r"^blk\.(\d+)\.ffn_norm$", r"layers.\1.post_attention_layernorm", None),
        (r"^blk\.(\d+)\.ffn_(gate|up|down)$", r"layers.\1.mlp.\2_proj", None),
        (r"^output_norm$", "norm", None),
        (r"^attn_norm-(\d+)$", r"layers.\1.input_layernorm", "output"),
        (r"^Qcur-(\d+)$", r"layers.\1.self_attn.q_proj", "output"),
        (r"^Kcur-(\d+)$", r"layers.\1.self_attn.k_proj", "output"),
        (r"^Vcur-(\d+)$", r"layers.\1.self_attn.v_proj", "output"),
        (r"^kqv_out-(\d+)$", r"layers.\1.self_attn.o_proj", "input_0"),
        (r"^attn_out-(\d+)$", r"layers.\1.self_attn.o_proj", "output"),
        (r"^ffn_inp-(\d+)$", r"layers.\1.post_attention_layernorm", "input_0"),
        (r"^ffn_norm-(\d+)$", r"layers.\1.post_attention_layernorm", "output"),
        (r"^ffn_(gate|up)-(\d+)$", r"layers.\2.mlp.\1_proj", "output"),
        (r"^ffn_(?:silu|gelu)-(\d+)$", r"layers.\1.mlp.act_fn", "output"),
        (r"^ffn_(?:swiglu|geglu|gate_par)-(\d+)$", r"layers.\1.mlp.down_proj", "input_0"),
        (r"^ffn_out-(\d+)$", r"layers.\1.mlp.down_proj", "output"),
        (r"^ffn_moe_logits-(\d+)$", r"layers.\1.mlp.router", "output"),
        (r"^ffn_moe_out-(\d+)$", r"layers.\1.mlp", "output"),
        (r"^Qcur_normed-(\d+)$", r"layers.\1.self_attn.q_norm", "output"),
        (r"^Kcur_normed-(\d+)$", r"layers.\1.self_attn.k_norm", "output"),
        (r"^l_out-(\d+)$", r"layers.\1", "output"),
        (r"^result_norm$", "norm", "output"),
        (r"^result_output$", "lm_head", "output"),
    ),
)

# A whole graph. Elsewhere `norm` is the norm of the model, as it is in most programs.
LLAMA_CPP_GRAPH = EngineNames(
    "llama.cpp (graph)",
    signs=((r"^l_out-\d+$", r"^attn_norm-\d+$"), (r"^result_norm$", r"^(?:inp_)?embd$")),
    quantities=PLAIN_NORMS,
    results=RESULTS,
    ends_early=True,
)
