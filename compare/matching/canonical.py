"""One name for the same module in every framework, by tables of rules.

Three tables, applied in this order after the user's own renames: components that only wrap are
dropped and repeated ones folded, whole-path patterns rewrite the names of engines that have no
module tree, and synonyms rename single components by where they stand.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

ROOT = "model"  # how the outermost module is shown

_WRAPPERS = frozenset(
    {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "base_model"}
)
# Containers of the whole decoder, dropped when something follows them.
_CONTAINERS = frozenset(
    {"model", "transformer", "language_model", "text_model", "gpt_neox", "backbone"}
)
# Tensor-parallel pieces: shard 0 stands for the module.
_SHARD = re.compile(r"_shards\.(\d+)(?=\.|$)|\.distributed_linear_layers\.(\d+)(?=\.|$)")

# Engines that name quantities, not modules: whole name -> (module, slot or None to keep it).
_QUANTITIES: tuple[tuple[re.Pattern[str], str, str | None], ...] = tuple(
    (re.compile(pattern), module, slot)
    for pattern, module, slot in (
        (r"^(?:input_embeddings|token_embd|inp_embd)$", "embed_tokens", "output"),
        (r"^layer_(\d+)_input_hidden_states$", r"layers.\1", "input_0"),
        (r"^layer_(\d+)_attn_norm_output$", r"layers.\1.input_layernorm", "output"),
        (r"^layer_(\d+)_attn_([qkv])_proj_raw$", r"layers.\1.self_attn.\2_proj", "output"),
        (r"^layer_(\d+)_attn_([qkv])_normed$", r"layers.\1.self_attn.\2_norm", "output"),
        (r"^layer_(\d+)_attn_([qkv])_rope$", r"layers.\1.self_attn.\2_rope", "output"),
        (r"^layer_(\d+)_attn_o_proj$", r"layers.\1.self_attn.o_proj", "output"),
        (r"^layer_(\d+)_attn_residual_output$", r"layers.\1.post_attention_layernorm", "input_0"),
        (r"^layer_(\d+)_mlp_norm_output$", r"layers.\1.post_attention_layernorm", "output"),
        (r"^layer_(\d+)_mlp_(gate|up)_proj$", r"layers.\1.mlp.\2_proj", "output"),
        (r"^layer_(\d+)_mlp_intermediate$", r"layers.\1.mlp.down_proj", "input_0"),
        (r"^layer_(\d+)_(?:mlp_down_proj|mlp_output)$", r"layers.\1.mlp.down_proj", "output"),
        (r"^layer_(\d+)_output$", r"layers.\1", "output"),
        (r"^final_norm_output$", "norm", "output"),
        (r"^(?:logits|lm_head_output)$", "lm_head", "output"),
        (r"^blk\.(\d+)\.attn_norm$", r"layers.\1.input_layernorm", None),
        (r"^blk\.(\d+)\.attn_([qkv])$", r"layers.\1.self_attn.\2_proj", None),
        (r"^blk\.(\d+)\.attn_output$", r"layers.\1.self_attn.o_proj", None),
        (r"^blk\.(\d+)\.ffn_norm$", r"layers.\1.post_attention_layernorm", None),
        (r"^blk\.(\d+)\.ffn_(gate|up|down)$", r"layers.\1.mlp.\2_proj", None),
        (r"^output_norm$", "norm", None),
        # llama.cpp's names in its graph
        (r"^attn_norm-(\d+)$", r"layers.\1.input_layernorm", "output"),
        (r"^Qcur-(\d+)$", r"layers.\1.self_attn.q_proj", "output"),
        (r"^Kcur-(\d+)$", r"layers.\1.self_attn.k_proj", "output"),
        (r"^Vcur-(\d+)$", r"layers.\1.self_attn.v_proj", "output"),
        (r"^kqv_out-(\d+)$", r"layers.\1.self_attn.o_proj", "input_0"),
        (r"^attn_out-(\d+)$", r"layers.\1.self_attn.o_proj", "output"),
        (r"^ffn_inp-(\d+)$", r"layers.\1.post_attention_layernorm", "input_0"),
        (r"^ffn_norm-(\d+)$", r"layers.\1.post_attention_layernorm", "output"),
        (r"^ffn_(gate|up)-(\d+)$", r"layers.\2.mlp.\1_proj", "output"),
        (r"^ffn_out-(\d+)$", r"layers.\1.mlp.down_proj", "output"),
        (r"^l_out-(\d+)$", r"layers.\1", "output"),
        (r"^result_norm$", "norm", "output"),
        (r"^result_output$", "lm_head", "output"),
    )
)
# Parts of paths that are more than components: BERT and its kin nest quantities in containers.
_PATHS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^(?:\w+\.){0,3}encoder\.layer\.(?=\d)", "layers."),
        (r"^(?:\w+\.){0,3}embeddings\.word_embeddings$", "embed_tokens"),
        (r"^(layers\.\d+)\.attention\.self\.", r"\1.self_attn."),
        (r"^(layers\.\d+)\.attention\.output\.dense$", r"\1.self_attn.o_proj"),
        (r"^(layers\.\d+)\.intermediate\.dense$", r"\1.mlp.up_proj"),
        (r"^(layers\.\d+)\.output\.dense$", r"\1.mlp.down_proj"),
    )
)

# One look for the tables above, for most names have nothing to do with them.
_ANY_QUANTITY = re.compile("|".join(f"(?:{row[0].pattern})" for row in _QUANTITIES))
_ANY_PATH = re.compile("|".join(f"(?:{row[0].pattern})" for row in _PATHS))

# component -> its standard name, anywhere in the path
_ANYWHERE: dict[str, str] = {
    "wte": "embed_tokens", "tok_embeddings": "embed_tokens", "word_embeddings": "embed_tokens",
    "embed_in": "embed_tokens", "token_embedding": "embed_tokens", "wpe": "embed_positions",
    "ln_1": "input_layernorm", "attention_norm": "input_layernorm", "attn_norm": "input_layernorm",
    "input_norm": "input_layernorm",
    "ln_2": "post_attention_layernorm", "ffn_norm": "post_attention_layernorm",
    "mlp_norm": "post_attention_layernorm", "post_attention_norm": "post_attention_layernorm",
    "attn": "self_attn", "attention": "self_attn", "self_attention": "self_attn",
    "feed_forward": "mlp", "ffn": "mlp",
    "c_attn": "qkv_proj", "query_key_value": "qkv_proj", "Wqkv": "qkv_proj", "qkv": "qkv_proj",
    "wqkv": "qkv_proj", "kv": "kv_proj", "wkv": "kv_proj",
    "gate_up": "gate_up_proj", "w13": "gate_up_proj",
}  # fmt: skip
_IN_ATTENTION: dict[str, str] = {
    "wq": "q_proj", "query": "q_proj", "q": "q_proj", "wk": "k_proj", "key": "k_proj",
    "k": "k_proj", "wv": "v_proj", "value": "v_proj", "v": "v_proj", "wo": "o_proj",
    "c_proj": "o_proj", "dense": "o_proj", "out_proj": "o_proj", "o": "o_proj",
}  # fmt: skip
_IN_MLP: dict[str, str] = {
    "w1": "gate_proj", "gate": "gate_proj", "w3": "up_proj", "up": "up_proj", "c_fc": "up_proj",
    "fc1": "up_proj", "fc_in": "up_proj", "dense_h_to_4h": "up_proj",
    "w2": "down_proj", "down": "down_proj", "c_proj": "down_proj", "fc2": "down_proj",
    "fc_out": "down_proj", "dense_4h_to_h": "down_proj", "act": "act_fn",
}  # fmt: skip
_AT_TOP: dict[str, str] = {
    "ln_f": "norm", "final_layernorm": "norm", "final_layer_norm": "norm", "norm_f": "norm",
    "final_norm": "norm", "embed_out": "lm_head", "output": "lm_head",
}  # fmt: skip
_LAYER_LISTS = frozenset({"h", "block", "blocks", "blk", "layer", "layers"})

LAYER = re.compile(r"(?:^|\.)layers\.([0-9]{1,9})(?=\.|$)")


@dataclass(frozen=True, slots=True)
class NameRules:
    """Renames of one side: `(pattern, replacement)` in order, and component synonyms."""

    renames: tuple[tuple[re.Pattern[str], str], ...] = ()
    synonyms: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Canonical:
    """A module's common name, and the slot where the dump's name was that of a quantity."""

    module: str
    slot: str | None = None


def canonical_name(module: str, root: str, rules: NameRules) -> Canonical:
    """The common name of `module`, a path as dumped; `root` is what the dump calls the model."""
    path = module
    if root and path == root:
        path = ""
    elif root:
        path = path.removeprefix(root + ".")
    for pattern, replacement in rules.renames:
        path = pattern.sub(replacement, path)
    if _ANY_QUANTITY.match(path):
        for pattern, target, slot in _QUANTITIES:
            match = pattern.match(path)
            if match:
                return Canonical(match.expand(target), slot)
    # Only shard 0 stands for its module; the others keep their names.
    path = _SHARD.sub(lambda m: "" if (m[1] or m[2]) == "0" else m[0], path)
    if _ANY_PATH.search(path):
        for pattern, replacement in _PATHS:
            path = pattern.sub(replacement, path)
    parts = [part for part in path.split(".") if part and part not in _WRAPPERS]
    parts = _fold(parts)
    if not parts:
        return Canonical(ROOT)
    synonyms = dict(rules.synonyms)
    parts = [synonyms.get(part, part) for part in parts]
    return Canonical(".".join(_standard(parts)))


def _fold(parts: list[str]) -> list[str]:
    """Drop containers in front and repeated components (`layers.layers.0`)."""
    while len(parts) > 1 and parts[0] in _CONTAINERS:
        parts = parts[1:]
    if len(parts) == 1 and parts[0] in _CONTAINERS:
        return [ROOT, ROOT]  # the decoder inside the root
    # Numbers may repeat: `blocks.0.0` is a module inside `blocks.0`.
    return [p for i, p in enumerate(parts) if i == 0 or p != parts[i - 1] or p.isdecimal()]


def _standard(parts: Sequence[str]) -> list[str]:
    standard: list[str] = []
    for index, part in enumerate(parts):
        parent = standard[-1] if standard else ""
        numbered = index + 1 < len(parts) and parts[index + 1].isdecimal()
        if part in _LAYER_LISTS and numbered:
            part = "layers"
        elif len(parts) == 1:
            part = _AT_TOP.get(part, _ANYWHERE.get(part, part))
        elif parent == "self_attn":
            part = _IN_ATTENTION.get(part, _ANYWHERE.get(part, part))
        elif parent == "mlp":
            part = _IN_MLP.get(part, _ANYWHERE.get(part, part))
        else:
            part = _ANYWHERE.get(part, part)
        standard.append(part)
    return standard


def is_first_shard(path: str, whole: str) -> bool:
    """True when `path` is the module `whole`, called by its first shard."""
    return (
        path != whole and _SHARD.sub(lambda m: "" if (m[1] or m[2]) == "0" else m[0], path) == whole
    )


def layer_number(module: str) -> int | None:
    """3 for `layers.3.mlp`, None outside the layers."""
    match = LAYER.search(module)
    return int(match[1]) if match else None


def parent_of(module: str) -> str:
    """`layers.0.self_attn` for `layers.0.self_attn.q_proj`; the root for a top-level module."""
    head, _, _ = module.rpartition(".")
    if head == "layers" or head.endswith(".layers"):  # the list is no module that runs
        head = head[: -len(".layers")]
    return head or ROOT


# Where modules usually stand in a run, for dumps that do not tell their order.
_USUAL = {
    name: rank
    for rank, name in enumerate(
        (
            "embed_tokens", "embed_positions", "rotary_emb", "layers", "input_layernorm",
            "qkv_proj", "q_proj", "k_proj", "v_proj", "q_norm", "k_norm", "q_rope", "k_rope",
            "o_proj", "self_attn", "post_attention_layernorm", "pre_feedforward_layernorm",
            "gate_up_proj", "gate_proj", "act_fn", "up_proj", "down_proj", "mlp",
            "post_feedforward_layernorm", "norm", ROOT, "lm_head",
        )
    )
}  # fmt: skip
_PARENT_LAST = 1 << 20
# Components whose meaning is known: two different ones never are the same module.
STANDARD = frozenset(_USUAL) - {"layers", ROOT}


def has_usual_place(module: str) -> bool:
    """Whether `usual_order` knows where the module's outermost container stands in a run."""
    return module.partition(".")[0] in _USUAL


def usual_order(module: str) -> tuple[tuple[int, str], ...]:
    """Sort key: the order in which calls usually return, children before parents, root last."""
    if module == ROOT:
        return ((_PARENT_LAST + 1, ""),)
    key: list[tuple[int, str]] = []
    for part in module.split("."):
        if part.isdecimal() and len(part) < 10:
            key.append((int(part), ""))
        else:
            key.append((_USUAL.get(part, len(_USUAL)), part))
    key.append((_PARENT_LAST, ""))
    return tuple(key)
