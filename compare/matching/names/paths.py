"""Names as paths: `a/b`, `a__b`, `layer_0_attn_q_proj` and `L03` written with dots.

Nothing is looked up but single components: what is no known component stays one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

# In front of everything: hooks that name their kind, exporters, a model's class.
_PREFIX = re.compile(
    r"^(?:non_intrusive__|__module\.|self\.(?=\w)|Module\.(?=\w))|^(?:py|cpp)_(?=layer_)"
)
_CLASS = re.compile(
    r"^[A-Z]\w*?(?:For[A-Z]\w*|Model|LMHead\w*|Transformer|LM|Net)(?P<rest>[./:]|$)"
)
_BRACKETS = re.compile(r"\[(-?\d+)\]")
_LIST = (
    r"(?:decoder_|encoder_|transformer_|model_)?(?:layers?|blocks?|blk)|[Ll]|"
    r"transformer_?(?:layer|block)|decoder_?(?:layer|block)"
)
# What people print: `layer 3 mlp down_proj`, `Layer 3`.
_SPOKEN = re.compile(r"^[Ll]ayer\s+\d{1,9}(?:\s+[\w\s]*)?$")
# One component that is a layer: `layer_00`, `L03`, `block12`, `layers_-1`.
_LAYER = re.compile(rf"^(?:{_LIST})[_-]?(?P<number>-?\d{{1,9}})$")
# One component with a layer in front: `layer0_mlp`, `L03_attn`, `layer_3-mlp-norm`.
_LAYER_AND_MORE = re.compile(rf"^(?:{_LIST}|h)[_-]?(?P<number>-?\d{{1,9}})[_-](?P<rest>\D.*)$")
# A layer in the middle of a component: `model_layers_0_self_attn_q_proj`, `decoder-layer-3`.
_LAYER_INSIDE = re.compile(
    r"^(?P<before>(?:[A-Za-z]+[_-])*?)(?:layers?|blocks?|blk|h)[_-](?P<number>\d{1,9})"
    r"(?:[_-](?P<rest>\D.*))?$"
)
# A layer behind what it has: `q_proj_3`, `self_attn-11`. Norms and plain linear layers are numbered
# for other reasons (`norm1`, `fc2`).
_LAYER_BEHIND = re.compile(r"^(?P<what>[A-Za-z]\w*?)[_-](?P<number>\d{1,9})$")
_NUMBERED = re.compile(
    r"^(?:self_attn|self_attention|attn|attention|mlp|ffn|feed_forward|[qkvo]_proj|qkv_proj|"
    r"gate_proj|up_proj|down_proj|gate_up_proj|input_layernorm|post_attention_layernorm|attn_norm|"
    r"mlp_norm|ffn_norm)(?:_|$)"
)
# The same with a slot between: `mlp_out_3`.
_SLOT_AND_LAYER = re.compile(
    r"^(?P<what>[A-Za-z]\w*?)[_-](?P<slot>out|output|outputs|in|input|inputs)[_-](?P<number>\d{1,9})$"
)
_CLASS_BEHIND = re.compile(r"\s?[\[(][A-Z]\w*[\])]$")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
# What dumpers put in front of a model's own names.
_FRONT = frozenset(
    {
        "activations", "activation", "acts", "outputs", "hooks", "hook", "captured", "capture",
        "trace", "traces", "tensors", "net", "network", "llm", "student", "teacher", "actor",
        "policy",
    }
)  # fmt: skip
# Folders for what belongs to no layer.
_ASIDE = frozenset({"top", "toplevel", "other", "others", "misc", "rest", "common", "global"})
_CONTAINERS = ("model", "transformer", "decoder", "encoder", "language_model", "backbone")

# `Final norm`, `Logits`, `embedding`.
_WORDS = re.compile(r"^[A-Z][A-Za-z]*(?: [A-Za-z]+){0,4}$|^[a-z]+(?: [A-Za-z]+){1,4}$")

KnownComponent = Callable[[str], bool]


def in_snake_case(name: str) -> str:
    """`final_norm` for `Final norm`; names that are no plain words as they are."""
    return name.lower().replace(" ", "_") if _WORDS.match(name) else name


def layer_in_front(name: str, words: frozenset[str] = frozenset()) -> str:
    """`layer_3_mlp_out` for `mlp_out_3`, `layer_3_q` for `q_3` where `q` is one of the `words`;
    other names as they are.
    """
    found = _LAYER_BEHIND.match(name)
    if found is not None and found["what"] in words:
        return f"layer_{found['number']}_{found['what']}"
    found = _SLOT_AND_LAYER.match(name)
    if found is None or not _NUMBERED.match(found["what"]):
        return name
    return f"layer_{found['number']}_{found['what']}_{found['slot']}"


_SAY_LAYERS = 3  # words with a number behind that show that it is a layer's


def numbered_words(names: Iterable[str], in_layer: KnownComponent) -> frozenset[str]:
    """The words of `q_0`, `k_0`, `down_1` that `in_layer` knows as parts of a layer; none where
    there are few, since `up_0` by itself may as well be a block of its own.
    """
    found = {match["what"] for name in names if (match := _LAYER_BEHIND.match(name))}
    attention = any(_NUMBERED.match(word) or word in ("q", "k", "v") for word in found)
    known = frozenset(word for word in found if in_layer(word))
    return known if attention and len(known) >= _SAY_LAYERS else frozenset()


def dotted(path: str, known: KnownComponent) -> str:
    """`path` with dots between its components, and with each layer as `layers.N`."""
    if _SPOKEN.match(path):
        path = re.sub(r"\s+", "_", path.strip().lower())
    elif known(in_snake_case(path)):
        path = in_snake_case(path)
    path = _CLASS.sub("", _PREFIX.sub("", path), count=1)
    path = _CLASS_BEHIND.sub("", path)
    path = _BRACKETS.sub(r".\1", path)
    if "/" in path:
        path = path.strip("/").replace("/", ".")
    path = re.sub(r"(?<=\w):(?=[\w-])", ".", path)
    if "." not in path and re.search(r"[A-Za-z0-9]__[A-Za-z0-9]", path):
        path = re.sub(r"(?<=[A-Za-z0-9])__(?=[A-Za-z0-9])", ".", path)
    parts = path.split(".")
    while len(parts) > 2 and parts[0] in _FRONT:
        parts = parts[1:]
    if len(parts) > 1 and parts[0] in _ASIDE:
        parts = parts[1:]
    found: list[str] = []
    for index, part in enumerate(parts):
        follows = parts[index + 1] if index + 1 < len(parts) else ""
        words = _components(part, follows, alone=len(parts) == 1, known=known)
        if words == [part] and found[-2:-1] == ["layers"]:
            words = words_of(part, known)  # `layers.0.mlp_down_proj`
        found += words
    return ".".join(found)


def _components(part: str, follows: str, *, alone: bool, known: KnownComponent) -> list[str]:
    """What one component stands for."""
    if known(part):
        return [part]
    snake = _HUMP.sub("_", part).lower() if part[:1].islower() else part
    if snake != part and (known(snake) or _LAYER.match(snake)):
        part = snake
        if known(part):
            return [part]
    found = _LAYER.match(part)
    if found:
        if follows.isdecimal():
            return [part]  # a stage, with blocks of its own
        return ["layers", _plain_number(found["number"])]
    found = _LAYER_AND_MORE.match(part)
    if found:
        return ["layers", _plain_number(found["number"]), *words_of(found["rest"], known)]
    found = _LAYER_INSIDE.match(part)
    if found:
        before = [word for word in re.split(r"[_-]", found["before"]) if word]
        if all(word in _CONTAINERS for word in before):
            rest = words_of(found["rest"], known) if found["rest"] else []
            return [*before, "layers", _plain_number(found["number"]), *rest]
    if alone:
        found = _LAYER_BEHIND.match(part)
        if found and _NUMBERED.match(found["what"]):
            words = words_of(found["what"], known)
            if all(map(known, words)):
                return ["layers", _plain_number(found["number"]), *words]
        head, _, rest = part.replace("-", "_").partition("_")
        if head in _CONTAINERS and rest and known(rest):
            return [head, rest]
    return [part]


def _plain_number(text: str) -> str:
    return str(int(text))


def words_of(text: str, known: KnownComponent) -> list[str]:
    """`self_attn_q_proj` as `self_attn`, `q_proj`: the fewest known components that make it up, or
    the text as it is.
    """
    pieces = re.split(r"[_-]", text)
    if len(pieces) > 12:
        return [text]
    best: list[list[str] | None] = [[]] + [None] * len(pieces)
    for end in range(1, len(pieces) + 1):
        for start in range(end):
            before, word = best[start], "_".join(pieces[start:end])
            if before is None or not (known(word) or (start and word.isdecimal())):
                continue
            if best[end] is None or len(before) + 1 < len(best[end] or ()):
                best[end] = [*before, word]
    return best[-1] or [text]
