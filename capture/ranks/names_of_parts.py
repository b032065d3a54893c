"""What names of modules say of tensor parallelism: last components of Megatron, vLLM, SGLang, and
transformers.
"""

from __future__ import annotations

from .groups import Group

# The rows of the weight are split, and with them the last axis of the output.
COLUMN = frozenset({
    "q_proj", "k_proj", "v_proj", "q_b_proj", "kv_b_proj", "linear_q", "linear_kv", "wq", "wk",
    "wv", "gate_proj", "up_proj", "w1", "w3", "fc1", "c_fc", "fc_in",
})  # fmt: skip
# As many neighbours may have the same heads, where there are more ranks than heads.
KEYS_AND_VALUES = frozenset({"k_proj", "v_proj", "wk", "wv", "linear_kv"})
# Each part holds queries, keys and values, one behind the other.
QKV = frozenset({"qkv_proj", "Wqkv", "c_attn"})
# Each part holds whole groups of heads: `q q k v q q k v`. Parts stand side by side as they are.
GROUPED_QKV = frozenset({"linear_qkv"})
# By groups in Megatron and GPT-NeoX, by kind in ChatGLM and in vLLM: the name does not tell.
UNTOLD_QKV = frozenset({"query_key_value"})
GATE_UP = frozenset({"gate_up_proj", "w13", "merged_gate_up_proj"})
# Gate and up, or up alone: the input of the module behind tells.
MAYBE_GATED = frozenset({"linear_fc1", "dense_h_to_4h"})
# The columns of the weight are split: the input is a part, the output is added up.
ROW = frozenset({
    "o_proj", "down_proj", "linear_proj", "linear_fc2", "dense_4h_to_h", "wo", "w2", "fc2",
    "c_proj", "fc_out", "out_proj", "dense",
})  # fmt: skip
HEAD = frozenset({"lm_head", "output_layer", "embed_out"})
# Element by element, or head by head: parts in, parts out.
INSIDE = frozenset({
    "attn", "core_attention", "attention_core", "act_fn", "act", "activation_fn", "activation",
    "rotary_emb", "softmax_core",
})  # fmt: skip
# Of these the ones whose output is never the same on all ranks.
BETWEEN = INSIDE - {"rotary_emb"}
# Norms of the residual stream: what one of them gives is whole on every rank, or none is.
NORMS = frozenset({
    "norm", "final_layernorm", "final_layer_norm", "final_norm", "ln_f", "norm_f",
    "input_layernorm", "post_attention_layernorm", "pre_mlp_layernorm", "pre_feedforward_layernorm",
    "post_feedforward_layernorm", "attention_norm", "ffn_norm", "ln_1", "ln_2",
})  # fmt: skip
POSITIONS = frozenset({"positions", "position_ids"})
TOKEN_IDS = frozenset({"input_ids", "token_ids", "tokens"})

SPLIT = COLUMN | QKV | GROUPED_QKV | UNTOLD_QKV | GATE_UP | MAYBE_GATED


def is_positions(group: Group) -> bool:
    """Whether it says which token of the sequence each row is."""
    names = {group.last, group.slot.removeprefix("input_")}
    return bool(names & POSITIONS)


def is_of_tokens(group: Group) -> bool:
    """Whether it has one number for each token: its id, or its position."""
    slot = group.slot.removeprefix("input_")
    return is_positions(group) or bool({group.last, slot} & TOKEN_IDS)


def takes_parts(group: Group) -> bool:
    """Whether it is what a module whose columns are split is given."""
    return group.last in ROW and group.slot in ("input_0", "input")


def kind_of_module(module: str) -> str:
    """The module's path in any layer."""
    return ".".join("*" if part.isdecimal() else part for part in module.split("."))
