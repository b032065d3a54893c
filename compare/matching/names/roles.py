"""What a module is: its role in a model, from its canonical name and, where recorded, its class.

One table for all engines. Names are those of `canonical`, so that `layers.3.self_attn.q_proj` has
the same role under every name. Where class and name disagree, the class wins: a
module called `norm` of the class `Identity` normalises nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from .canonical import PARAMETER, NameRules, canonical_name

if TYPE_CHECKING:
    from ....capture.records import Capture, Record

Role = Literal[
    "root", "layer", "attention", "mlp", "experts", "embedding", "positions", "norm",
    "query", "key", "value", "query_key_value", "attention_output",
    "gate", "up", "gate_up", "down", "router", "head", "projection",
    "activation", "rotary", "dropout", "identity", "convolution", "pool", "other",
]  # fmt: skip

# Last component of a canonical name -> role.
BY_NAME: dict[str, Role] = {
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


# Outputs that are queries, heads beside one another; and what else of a module that is given its
# heads so: all others in attention are given the residual stream.
GIVE_QUERIES = ("q_proj", "q_norm", "q_rope")
GIVEN_HEADS = ("o_proj", "q_norm", "k_norm")


def standard_name(role: Role) -> str:
    """The name that modules of a role have in canonical names."""
    return next(name for name, known in BY_NAME.items() if known == role)


# Part of a class name in lower case -> role; the first that fits wins.
_BY_CLASS: tuple[tuple[str, Role], ...] = (
    ("identity", "identity"), ("dropout", "dropout"), ("droppath", "dropout"),
    ("rotaryembedding", "rotary"), ("rmsnorm", "norm"), ("layernorm", "norm"),
    ("conv2d", "convolution"), ("conv3d", "convolution"),
    ("maxpool", "pool"), ("avgpool", "pool"), ("adaptive", "pool"),
    ("router", "router"), ("experts", "experts"),
)  # fmt: skip
_ACTIVATIONS = re.compile(r"(activation|silu|gelu|relu|sigmoid|tanh|swish|mish)\d*$")
_LINEAR = ("linear", "conv1d")  # classes, in lower case
_LAYER = re.compile(r"(?:^|\.)layers\.\d+$")
_NORM = re.compile(r"(?:^|_)(?:layer_?norm|norm|ln)\d*$|norm$")
_PROJECTIONS: frozenset[Role] = frozenset(
    {
        "query", "key", "value", "query_key_value", "attention_output", "gate", "up", "gate_up",
        "down", "router", "head", "projection",
    }
)  # fmt: skip


@lru_cache(maxsize=1 << 10)  # models have few classes
def _role_by_class(module_class: str) -> Role | None:
    kind = module_class.lower()
    for part, role in _BY_CLASS:
        if part in kind:
            return role
    return "activation" if _ACTIVATIONS.search(kind) else None


@lru_cache(maxsize=1 << 17)  # each of many modules is asked for several times
def role_of(module: str, module_class: str | None = None) -> Role:
    """The role of the module with the canonical name `module`."""
    last = module.rpartition(".")[2]
    by_class = _role_by_class(module_class) if module_class else None
    if by_class is not None:
        return by_class
    if module in ("model", "model.model"):
        return "root"
    if _LAYER.search(module):
        return "layer"
    if last in BY_NAME:
        return BY_NAME[last]
    if _NORM.search(last):
        return "norm"
    if last == "gate" and module.rpartition(".")[0].endswith(("mlp", "block_sparse_moe", "moe")):
        return "router"
    if last.endswith(("_proj", "dense", "fc")) or (module_class or "").lower() in _LINEAR:
        return "projection"
    return "other"


# Names, beside those of the table, of what may give a mixture's logits of experts: whether a module
# does is seen by its values.
_MAY_ROUTE = frozenset({"gate", "gate_score"})
# Buffers and tables that layers share; they do not depend on the layer.
_SHARED = re.compile(
    r"rotary|rope|(?<![a-z])(?:cos|sin)(?![a-z])|mask|position|inv_freq|alibi|freqs|relative"
)
# Modules that take in what this one does, and nothing that it returns, by last components.
_ATTENTION = ("q_proj", "k_proj", "v_proj", "q_norm", "k_norm")
_BESIDE: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(_ATTENTION[:3], _ATTENTION),
    "q_norm": ("k_proj", "v_proj", "k_norm"),
    "k_norm": ("q_proj", "v_proj", "q_norm"),
    "up_proj": ("gate_proj", "act_fn"),
}
# What returns queries with their heads on an axis of their own: the axis of the heads, of four.
_HEADS_AXIS: Mapping[str, int] = {"q_norm": 2, "q_rope": 1}


def last_name(module: str) -> str:
    """The last component of a canonical name."""
    return module.rpartition(".")[2]


def is_parameter(module: str) -> bool:
    """True for a parameter or buffer of a checkpoint, by its own name."""
    return bool(PARAMETER.fullmatch(last_name(module)))


def is_embedding(module: str, module_class: str | None = None) -> bool:
    """True for what takes token ids in: the table of embeddings, or the module around it."""
    return role_of(module, module_class) == "embedding" or last_name(module) == "embeddings"


def is_embedded(capture: Capture, record: Record) -> bool:
    """True for inputs of the embedding, by the engine's names: token ids."""
    module = canonical_name(record.module, capture.root, NameRules()).module
    return record.slot.startswith("input") and is_embedding(module)


def begins_a_run(module: str) -> bool:
    """True for embeddings of any kind, which are made of nothing that is recorded."""
    return role_of(module) in ("embedding", "positions") or last_name(module).startswith("embed")


def precedes_layers(module: str) -> bool:
    """True for what, outside the layers, is computed before them for all tokens."""
    parts = module.split(".")
    return "embed" in module or "rotary" in module or any(
        role_of(part) in ("embedding", "positions", "rotary") for part in parts
    )  # fmt: skip


def is_shared(module: str) -> bool:
    """True for what does not depend on the layer: tables of positions, masks."""
    last = last_name(module).lower()
    return bool(_SHARED.search(last)) or role_of(last) in ("positions", "rotary")


def family_of(module: str, module_class: str | None = None) -> str:
    """`norm` or `linear` for modules whose errors grow alike, else empty. Routers are no family:
    their outputs are few.
    """
    role = role_of(module, module_class)
    if role == "norm":
        return "norm"
    return "linear" if is_projection(role) and role != "router" else ""


def may_be_router(module: str) -> bool:
    """True for what may give the logits of experts."""
    last = last_name(module)
    if last in _MAY_ROUTE:
        return True
    roles = ("router", "gate")  # what is called otherwise has none of them
    return BY_NAME.get(last) in roles and role_of(module) in roles


def is_in_attention(module: str) -> bool:
    """True for an attention module and what is inside it."""
    return any(role_of(part) == "attention" for part in module.split("."))


def is_scores(module: str) -> bool:
    """True for attention scores as the softmax takes them in: a mask was added to them."""
    return module.endswith(".self_attn.scores")


def beside(module: str) -> tuple[str, ...]:
    """Last components of modules that are given what `module` is given, and nothing it returns."""
    return _BESIDE.get(last_name(module), ())


def query_heads_axis(module: str) -> int | None:
    """Which of four axes of the output are the heads of queries; None where that is not known."""
    return _HEADS_AXIS.get(last_name(module))


def is_projection(role: Role) -> bool:
    """True for modules that multiply their input by a matrix."""
    return role in _PROJECTIONS


def is_residual_branch(role: Role) -> bool:
    """True for modules whose output a decoder layer adds to its residual stream."""
    return role in ("attention", "mlp", "experts")
