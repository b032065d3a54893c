"""One name for the same module in every framework, by the tables of the engines (`engines`).

After the user's own renames: names of quantities become a module and a slot, parts of paths are
rewritten, components that only wrap are dropped and repeated ones folded, and synonyms rename
single components by where they stand.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from ..engines.names import EngineNames
from ..engines.tables import ALONE, IN_LAYER, Tables, known_names
from .operators import split_operator
from .paths import dotted, in_snake_case

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

# Components that no table renames, and that have a meaning.
_OWN_WORDS = frozenset(
    {
        "self_attn", "mlp", "q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj", "gate_proj",
        "up_proj", "down_proj", "gate_up_proj", "act_fn", "q_norm", "k_norm", "q_rope", "k_rope",
        "input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm",
        "post_feedforward_layernorm", "embed_tokens", "lm_head", "norm", "rotary_emb", "router",
        "experts", "block_sparse_moe", "layers",
    }
)  # fmt: skip

_LAYER_LISTS = frozenset({"h", "block", "blocks", "blk", "layer", "layers"})

LAYER = re.compile(r"(?:^|\.)layers\.([0-9]{1,9})(?=[./]|$)")


@dataclass(frozen=True, slots=True)
class NameRules:
    """Renames of one side: `(pattern, replacement)` in order, and component synonyms. `engine` is
    the one whose names the side has; None: by what its names look like.
    """

    renames: tuple[tuple[re.Pattern[str], str], ...] = ()
    synonyms: tuple[tuple[str, str], ...] = ()
    engine: str | None = None


# Parameters and buffers of checkpoints, by their own names.
PARAMETER = re.compile(
    r"(?:.*_)?(?:weight|bias|weight_scale|weight_packed|scales|zeros|qweight|qzeros|gamma|beta|kernel"
    r"|inv_freq|running_mean|running_var|layer_scale|A_log)"
)


@dataclass(frozen=True, slots=True)
class Canonical:
    """A module's common name, and the slot where the dump's name was that of a quantity."""

    module: str
    slot: str | None = None


def canonical_name(
    module: str, root: str, rules: NameRules, engine: EngineNames | None = None,
    whole: frozenset[str] = frozenset(),
) -> Canonical:  # fmt: skip
    """The common name of `module`, a path as dumped; `root` is what the dump calls the model, and
    `engine` the one whose names the dump has, where that was recognised. Components that are in
    `whole` stay as they are.
    """
    tables = known_names(engine)
    numbered = _NUMBERED.fullmatch(module)
    if numbered is not None and not rules.renames and _SHARD.search(module) is None:
        before, number, behind = numbered.groups()
        found = _canonical(f"{before}{_ANY_LAYER}{behind}", root, rules, tables, whole)
        parts = found.module.split(f"layers.{_ANY_LAYER}")
        if len(parts) == 2 and parts[1][:1] in ("", ".", "/") and _ANY_LAYER not in "".join(parts):
            return Canonical(f"layers.{number}".join(parts), found.slot)
    return _canonical(module, root, rules, tables, whole)


# A name with one number, that of its layer: all layers' names are read alike.
_NUMBERED = re.compile(r"(\D*[./])(0|[1-9]\d{0,8})((?:[./]\D*)?)")
_ANY_LAYER = "77"


@lru_cache(maxsize=1 << 16)  # checks and the matching by values ask for the same names again
def _canonical(
    module: str, root: str, rules: NameRules, tables: Tables, whole: frozenset[str]
) -> Canonical:  # fmt: skip
    path = _renamed(module, root, rules)
    owner, dot, parameter = path.rpartition(".")
    if dot and PARAMETER.fullmatch(parameter):
        found = _canonical(owner, "", NameRules(synonyms=rules.synonyms), tables, whole)
        return Canonical(f"{found.module}.{parameter}")
    quantity = _quantity(path, tables) or _quantity(in_snake_case(path), tables)
    if quantity is not None:
        return quantity
    # Only shard 0 stands for its module; the others keep their names.
    path = _SHARD.sub(lambda m: "" if (m[1] or m[2]) == "0" else m[0], path)
    path, operator = split_operator(path)
    path = dotted(path, lambda part: part in tables.words or part in _OWN_WORDS or part in whole)
    if tables.any_path.search(path):
        for pattern, replacement in tables.paths:
            path = pattern.sub(replacement, path)
    parts = [part for part in path.split(".") if part and part not in _WRAPPERS]
    parts = _fold(parts)
    if not parts:
        return Canonical(ROOT + operator)
    synonyms = dict(rules.synonyms)
    parts = [synonyms.get(part, part) for part in parts]
    standard = ".".join(_standard(parts, tables))
    in_layer = _quantity(standard, tables) if standard.startswith("layers.") else None
    return in_layer or Canonical(standard + operator)


def is_quantity(
    module: str, root: str, rules: NameRules, engine: EngineNames | None = None
) -> bool:
    """True for a name that a table has as a whole, as that of a quantity."""
    tables = known_names(engine)
    path = _renamed(module, root, rules)
    return (
        _quantity(path, tables) is not None
        or canonical_name(path, "", NameRules(synonyms=rules.synonyms), engine).slot is not None
    )


def _renamed(module: str, root: str, rules: NameRules) -> str:
    path = module
    if root and path == root:
        path = ""
    elif root:
        path = path.removeprefix(root + ".")
    for pattern, replacement in rules.renames:
        path = pattern.sub(replacement, path)
    return path


def _quantity(path: str, tables: Tables) -> Canonical | None:
    if tables.any_quantity.match(path):
        for pattern, target, slot in tables.quantities:
            match = pattern.match(path)
            if match:
                return Canonical(match.expand(target), slot)
    return None


def _fold(parts: list[str]) -> list[str]:
    """Drop containers in front and repeated components (`layers.layers.0`)."""
    while len(parts) > 1 and parts[0] in _CONTAINERS:
        parts = parts[1:]
    if len(parts) == 1 and parts[0] in _CONTAINERS:
        return [ROOT, ROOT]  # the decoder inside the root
    # Numbers may repeat: `blocks.0.0` is a module inside `blocks.0`.
    return [p for i, p in enumerate(parts) if i == 0 or p != parts[i - 1] or p.isdecimal()]


def _standard(parts: Sequence[str], tables: Tables) -> list[str]:
    standard: list[str] = []
    for index, part in enumerate(parts):
        parent = standard[-1] if standard else ""
        numbered = index + 1 < len(parts) and parts[index + 1].isdecimal()
        if part in _LAYER_LISTS and numbered:
            part = "layers"
        else:
            inside = ALONE if len(parts) == 1 else parent
            if parent.isdecimal() and standard[-2:-1] == ["layers"] and index + 1 == len(parts):
                inside = IN_LAYER
            part = tables.by_parent.get(inside, tables.anywhere).get(part, part)
        standard.extend(part.split("."))
    return standard


def is_first_shard(path: str, whole: str) -> bool:
    """True when `path` is the module `whole`, called by its first shard."""
    return (
        path != whole and _SHARD.sub(lambda m: "" if (m[1] or m[2]) == "0" else m[0], path) == whole
    )


@lru_cache(maxsize=1 << 16)
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
