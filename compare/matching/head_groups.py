"""Queries, keys and values that an engine fuses group by group: `q q k v | q q k v`.

Megatron's `linear_qkv` has for each group of heads its queries, its key and its value; GPT-NeoX and
Falcon fuse head by head, which is the same with one query a group. How many groups there are needs
the size of a head, which shapes elsewhere in the captures tell.
"""

from __future__ import annotations

from ..recipes.recipe import Recipe
from ..recipes.steps import Reshape, Slice
from ..rules.rules import BUILT_IN_FUSED, FusedRule
from .named_records import Item, Side
from .names.roles import last_name, role_of

# What may have heads on an axis of their own.
_APART = ("q_rope", "k_rope", "q_norm", "k_norm", "q_proj", "k_proj", "v_proj")
_GROUPED = ("linear_qkv", "query_key_value")


def is_grouped(side: Side, fused: Item, rule: FusedRule) -> bool:
    """Whether a rule joins what this side's engine fuses by groups."""
    engine = side.naming.engine
    qkv = rule in BUILT_IN_FUSED and len(rule.parts) == 3
    grouped = engine is not None and engine.grouped_attention
    return grouped and qkv and last_name(fused.plain) in _GROUPED


def head_size(side: Side) -> int | None:
    """Elements of a head, where a record has the heads apart; None where none has, or where they
    do not agree.
    """
    found: set[int] = set()
    tables: set[int] = set()
    for item in side.items:
        last = item.module.rpartition(".")[2]
        if item.kind != "float" or item.role == "input":
            continue
        if last in _APART and len(item.shape) == 4:
            found.add(item.shape[-1])
        elif role_of(item.module) == "rotary" and 2 <= len(item.shape) <= 4:
            tables.add(item.shape[-1])
    sizes = found or tables
    return next(iter(sizes)) if len(sizes) == 1 else None


def group_cuts(fused: Item, parts: list[Item | None], head: int | None) -> list[Recipe] | None:
    """The recipes that take queries, keys and values out of a record fused by groups; None where
    the groups are not known.
    """
    if head is None or not fused.shape or len(parts) != 3:
        return None
    width = fused.shape[-1]
    known = [None if part is None or not part.shape else _width(part, head) for part in parts]
    keys = next((n for n in known[1:] if n), None)
    if keys is None and known[0]:
        keys = (width - known[0]) // 2
    if not keys or keys % head or (width - 2 * keys) % keys or width <= 2 * keys:
        return None
    if any(
        n not in (None, wanted)
        for n, wanted in zip(known, (width - 2 * keys, keys, keys), strict=True)
    ):
        return None
    groups, queries = keys // head, (width - 2 * keys) // keys
    lead = fused.shape[:-1]
    apart = Reshape((*lead, groups, queries + 2, head))
    everything = (None, None, None)
    spans = ((0, queries), (queries, queries + 1), (queries + 1, queries + 2))
    return [
        Recipe(
            (
                apart,
                Slice((*(everything for _ in lead), everything, (start, stop, None))),
                Reshape((*lead, groups * (stop - start) * head)),
            )
        )
        for start, stop in spans
    ]


def _width(part: Item, head: int) -> int:
    """Features of a part, whether its heads are apart or not."""
    if len(part.shape) == 4 and part.shape[-1] == head:
        return part.shape[-2] * head
    return part.shape[-1]
