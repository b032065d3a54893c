"""vLLM and SGLang: one tree of modules, fused projections, and a residual that travels beside.

Norms that are given a residual return `(normed, residual)`, layers `(mlp's output, residual)`;
linear layers return `(output, bias or None)`. (vllm/model_executor/models/llama.py,
sglang/srt/models/llama.py.)
"""

from __future__ import annotations

from .names import EngineNames

_NORM_PAIR = r"(?:layernorm|(?:^|\.)norm)(?:[/.]|-output_)1$"
# A layer is given positions, the hidden states and the residual, a norm the latter two.
_RESIDUAL_INPUTS = (
    ("input_0", "input_1"), ("input_1", "input_2"), ("input_hidden_states", "input_residual"),
    ("input_x", "input_residual"),
)  # fmt: skip

VLLM = EngineNames(
    "vLLM, SGLang",
    signs=(
        (_NORM_PAIR,),
        (r"(?:qkv_proj|gate_up_proj)(?:/0|\.0)?(?:-output.*)?$", r"self_attn\.attn(?:$|[-/.])"),
        (r"(?:^|\.)logits_processor(?:$|[-/.])",),
    ),
    in_attention={"attn": "attn"},
    meanings=(
        (r"^(.*layers\.\d+)\.self_attn\.attn-output$", r"\1.self_attn.o_proj", "input_0"),
        (r"^(.*layers\.\d+)\.mlp\.act_fn-output$", r"\1.mlp.down_proj", "input_0"),
        (r"^(.*layers\.\d+)\.self_attn\.rotary_emb-output$", r"\1.self_attn.q_rope", "output"),
        (r"^(.*layers\.\d+)\.self_attn\.rotary_emb-output_1$", r"\1.self_attn.k_rope", "output"),
        (r"^(.*layers\.\d+\.input_layernorm)-output_1$", r"\1", "input_0"),
        (r"^(.*layers\.\d+\.post_attention_layernorm)-output_1$", r"\1", "input_0"),
        (r"^norm-output_1$", "norm", "input_0"),
        (r"^logits_processor-output$", "lm_head", "output"),
    ),
    sums=(
        (r"^layers\.\d+$", "output", "output_1"),
        *(
            (module, first, second)
            for module in (r"^layers\.\d+$", r"^layers\.\d+\.\w*(?:layernorm|norm)$", r"^norm$")
            for first, second in _RESIDUAL_INPUTS
        ),
    ),
)
