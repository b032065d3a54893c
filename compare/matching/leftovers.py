"""Records that no name or table brought together, paired by what their names have in common.

Shapes alone make no pair: they are much too alike. Two names must say the same, but for words that
mean nothing, in the same layer, of no two different roles, and no other record of either side may
do as well; what is doubtful stays a gap.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from .canonical import STANDARD, layer_number
from .named_records import Item, Key, Side, primary
from .roles import precedes_layers, role_of

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SAME = {
    "attention": "attn", "layernorm": "norm", "rmsnorm": "norm", "ln": "norm", "ffn": "mlp",
    "feedforward": "mlp", "query": "q", "key": "k", "value": "v", "projection": "proj",
    "embedding": "embed", "embeddings": "embed", "embd": "embed", "position": "pos",
    "positions": "pos", "rotary": "rope", "activation": "act", "gating": "gate",
}  # fmt: skip
# Words that say nothing about which module it is.
_EMPTY = frozenset(
    {
        "proj", "linear", "layer", "layers", "module", "dense", "fc", "weight", "fn", "op", "my",
        "the", "new", "old", "custom", "fused", "block", "model", "tensor", "self", "value", "x",
        "y", "z", "t", "w", "m", "n", "var", "node", "out", "output",
    }
)  # fmt: skip


def leftover_pairs(ref: Side, cand: Side) -> Iterator[tuple[Key, Key]]:
    """Calls of both sides whose names say the same; each takes part in one pair at most."""
    ours, theirs = _by_place(ref), _by_place(cand)
    for place, lefts in ours.items():
        rights = theirs.get(place)
        if not rights:
            continue
        partners = _partners(lefts, rights)
        counts: dict[Key, int] = defaultdict(int)
        for others in partners.values():
            for other in others:
                counts[other] += 1
        for key, others in partners.items():
            if len(others) == 1 and counts[others[0]] == 1:
                yield key, others[0]


Place = tuple[int, int | None, bool, int]  # step, layer, in front of the layers, call


def _by_place(side: Side) -> dict[Place, list[tuple[Key, Item]]]:
    """Calls without a partner, by where they stand."""
    places: dict[Place, list[tuple[Key, Item]]] = defaultdict(list)
    for key, items in side.groups.items():
        main = primary(items)
        if main is None or main.unreadable or not main.kind or any(i.matches for i in items):
            continue
        step, module, call = key
        places[step, side.region_of(module), precedes_layers(module), call].append((key, main))
    return places


def _partners(
    lefts: list[tuple[Key, Item]], rights: list[tuple[Key, Item]]
) -> dict[Key, list[Key]]:
    """For each call of the left, those of the right that may be it."""
    by_word: dict[str, list[tuple[Key, Item]]] = defaultdict(list)
    for key, item in rights:
        for word in _words(key[1]) - _EMPTY:
            by_word[word].append((key, item))
    found: dict[Key, list[Key]] = {}
    for key, item in lefts:
        others = {
            other: their
            for word in _words(key[1]) - _EMPTY
            if len(word) >= _LONG
            for other, their in by_word.get(word, ())
        }
        fitting = [
            other for other, their in others.items()
            if item.kind == their.kind and may_be_one(key[1], other[1])
        ]  # fmt: skip
        if fitting:
            found[key] = fitting
    return found


def may_be_one(left: str, right: str) -> bool:
    """Whether two canonical names, that are not equal, can be those of one module."""
    a, b = left.rpartition(".")[2], right.rpartition(".")[2]
    if contradict(left, right):
        return False
    ours, theirs = _words(a), _words(b)
    telling, other = ours - _EMPTY, theirs - _EMPTY
    if not any(len(word) >= _LONG and word.isalpha() for word in telling & other):
        return False
    return telling == other


_LONG = 3  # letters of a word that is not shared by chance


def contradict(left: str, right: str) -> bool:
    """True for names that hold different layers, or two known roles that differ."""
    a, b = layer_number(left), layer_number(right)
    if a is not None and b is not None and a != b:
        return True
    last_a, last_b = left.rpartition(".")[2], right.rpartition(".")[2]
    if last_a != last_b and last_a in STANDARD and last_b in STANDARD:
        return True
    return _differ(left, right) or _differ(left.rpartition(".")[0], right.rpartition(".")[0])


def _differ(left: str, right: str) -> bool:
    first, second = role_of(left), role_of(right)
    return first != second and "other" not in (first, second)


def _words(name: str) -> set[str]:
    found: list[str] = [word.lower() for word in _WORD.findall(name.rpartition(".")[2])]
    return {_SAME.get(word, word) for word in found}
