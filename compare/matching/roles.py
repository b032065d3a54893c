"""What a module is: its role in a model, from its canonical name and, where recorded, its class.

One table for all engines. Names are those of `canonical`, so that `layers.3.self_attn.q_proj` has
the same role under every name. Where class and name disagree, the class wins: a
module called `norm` of the class `Identity` normalises nothing.
"""

from __future__ import annotations

import re
from typing import Literal

Role = Literal[
    "root", "layer", "attention", "mlp", "experts", "embedding", "positions", "norm",
    "query", "key", "value", "query_key_value", "attention_output",
    "gate", "up", "gate_up", "down", "router", "head", "projection",
    "activation", "rotary", "dropout", "identity", "convolution", "pool", "other",
]  # fmt: skip

# Last component of a canonical name -> role.
_BY_NAME: dict[str, Role] = {
    "self_attn": "attention", "cross_attn": "attention", "encoder_attn": "attention",
    "mlp": "mlp", "block_sparse_moe": "mlp", "experts": "experts", "shared_expert": "mlp",
    "shared_experts": "mlp",
    "embed_tokens": "embedding", "embed_positions": "positions",
    "token_type_embeddings": "positions", "position_embeddings": "positions",
    "q_proj": "query", "k_proj": "key", "v_proj": "value", "qkv_proj": "query_key_value",
    "o_proj": "attention_output",
    "gate_proj": "gate", "up_proj": "up", "gate_up_proj": "gate_up", "down_proj": "down",
    "router": "router", "lm_head": "head", "act_fn": "activation", "act": "activation",
    "rotary_emb": "rotary", "dropout": "dropout", "drop": "dropout",
    "attn_dropout": "dropout", "resid_dropout": "dropout",
}  # fmt: skip

# Part of a class name in lower case -> role; the first that fits wins.
_BY_CLASS: tuple[tuple[str, Role], ...] = (
    ("identity", "identity"), ("dropout", "dropout"), ("droppath", "dropout"),
    ("rotaryembedding", "rotary"), ("rmsnorm", "norm"), ("layernorm", "norm"),
    ("conv2d", "convolution"), ("conv3d", "convolution"),
    ("maxpool", "pool"), ("avgpool", "pool"), ("adaptive", "pool"),
    ("router", "router"), ("experts", "experts"),
)  # fmt: skip
_ACTIVATIONS = re.compile(r"(activation|silu|gelu|relu|sigmoid|tanh|swish|mish)\d*$")
_LAYER = re.compile(r"(?:^|\.)layers\.\d+$")
_NORM = re.compile(r"(?:^|_)(?:layer_?norm|norm|ln)\d*$|layernorm$")
_PROJECTIONS: frozenset[Role] = frozenset(
    {
        "query", "key", "value", "query_key_value", "attention_output", "gate", "up", "gate_up",
        "down", "router", "head", "projection",
    }
)  # fmt: skip


def role_of(module: str, module_class: str | None = None) -> Role:
    """The role of the module with the canonical name `module`."""
    last = module.rpartition(".")[2]
    kind = (module_class or "").lower()
    for part, role in _BY_CLASS:
        if part in kind:
            return role
    if kind and _ACTIVATIONS.search(kind):
        return "activation"
    if module in ("model", "model.model"):
        return "root"
    if _LAYER.search(module):
        return "layer"
    if last in _BY_NAME:
        return _BY_NAME[last]
    if _NORM.search(last):
        return "norm"
    if last == "gate" and module.rpartition(".")[0].endswith(("mlp", "block_sparse_moe", "moe")):
        return "router"
    if last.endswith(("_proj", "dense", "fc")) or kind in ("linear", "conv1d"):
        return "projection"
    return "other"


def is_projection(role: Role) -> bool:
    """True for modules that multiply their input by a matrix."""
    return role in _PROJECTIONS


def is_residual_branch(role: Role) -> bool:
    """True for modules whose output a decoder layer adds to its residual stream."""
    return role in ("attention", "mlp", "experts")
