"""Records that no name or table brought together, paired by what their names have in common.

Shapes alone make no pair: they are much too alike. Two names must say the same, but for words that
mean nothing, in the same layer, of no two different roles, and no other record of either side may
do as well; what is doubtful stays a gap.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator

from .named_records import Item, Key, Side, primary
from .names.canonical import STANDARD, layer_number
from .names.roles import precedes_layers, role_of

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SAME: dict[str, str] = {
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
        if rights and len(lefts) * len(rights) <= _MOST:
            yield from _partners(lefts, rights)


# step, layer, in front of the layers, call, and the words that mean something
Place = tuple[int, int | None, bool, int, tuple[str, ...]]
_MOST = 1000  # pairs of one place that are worth a look: many of one name cannot be told apart


def _by_place(side: Side) -> dict[Place, list[tuple[Key, Item]]]:
    """Calls without a partner, by where they stand and what their names say."""
    places: dict[Place, list[tuple[Key, Item]]] = defaultdict(list)
    for key, items in side.groups.items():
        main = primary(items)
        if main is None or main.unreadable or not main.kind or any(i.matches for i in items):
            continue
        step, module, call = key
        place = (step, side.region_of(module), precedes_layers(module), call, _telling(module))
        places[place].append((key, main))
    return places


def _partners(
    lefts: list[tuple[Key, Item]], rights: list[tuple[Key, Item]]
) -> Iterator[tuple[Key, Key]]:
    """Those that may be one and have no other choice."""
    fitting = [
        (key, other) for key, item in lefts for other, their in rights
        if item.kind == their.kind and may_be_one(key[1], other[1])
    ]  # fmt: skip
    ours, theirs = Counter(key for key, _ in fitting), Counter(key for _, key in fitting)
    yield from ((a, b) for a, b in fitting if ours[a] == theirs[b] == 1)


def may_be_one(left: str, right: str) -> bool:
    """Whether two canonical names, that are not equal, can be those of one module."""
    telling = _telling(left)
    if telling != _telling(right) or contradict(left, right):
        return False
    return any(len(word) >= _LONG and word.isalpha() and word not in _OF_SLOTS for word in telling)


# Words that tell what goes in from what comes out, and nothing of the module.
_OF_SLOTS = frozenset({"input", "inputs", "outputs", "arg", "args", "kwargs", "result", "results"})
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


def _telling(name: str) -> tuple[str, ...]:
    """The words of a name's last component that mean something, as often as they are there."""
    words: list[str] = [word.lower() for word in _WORD.findall(name.rpartition(".")[2])]
    return tuple(sorted(_SAME.get(word, word) for word in words if word not in _EMPTY))
