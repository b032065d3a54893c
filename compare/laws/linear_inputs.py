"""What a projection was given, where a dump does not record it: outputs of the modules before."""

from __future__ import annotations

from collections.abc import Iterator

from ..canonical import parent_of
from .law import Scene, Source
from .quantities import Key


def input_sources(scene: Scene, key: Key) -> Iterator[Source]:
    """The recorded input of a projection, else the likeliest outputs that stand in for it."""
    own = scene.reference.main_input(key.module, key.step, key.call)
    if own is not None and own.key in scene.candidate.known:
        yield (own.key,)
        return
    role, parent = scene.reference.role(key.module), parent_of(key.module)
    around = scene.reference.main_input(parent, key.step, key.call)
    if role in ("query", "key", "value", "query_key_value", "gate", "up", "gate_up", "router"):
        if around is not None and around.key in scene.candidate.known:
            yield (around.key,)
        names = ("input_layernorm",) if "attn" in parent else (
            "pre_feedforward_layernorm", "post_attention_layernorm")  # fmt: skip
        layer = parent_of(parent)
        for name in names:
            before = Key(f"{layer}.{name}", "output", key.step)
            if before in scene.reference.known and before in scene.candidate.known:
                yield (before,)
    if role == "head":
        for name in ("norm", "final_layernorm"):
            before = Key(name, "output", key.step)
            if before in scene.reference.known and before in scene.candidate.known:
                yield (before,)
