"""Sides of a comparison for property tests: names in many styles, repeated, reordered, broken."""

from __future__ import annotations

import random

from hypothesis import strategies as st

from layertui.capture.records import Record
from support.synthetic import record

ROLES = ["output", "input_0", "output_1", "input_mask"]
BLOCK = [
    *(f"layers.{i}.{m}" for i in range(3) for m in (
        "input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
        "self_attn.o_proj", "self_attn", "mlp.down_proj", "mlp")),
    "embed_tokens", "norm", "lm_head",
]  # fmt: skip
RENAMES = [("self_attn.", "attn."), ("mlp.down_proj", "ffn.w2"), ("q_proj", "qkv_proj"),
           ("layers.", "h."), ("norm", "stranger"), ("o_proj", "other_thing")]  # fmt: skip
SIZES = [(1, 10, 64), (10, 64), (2, 5, 64), (10, 32), (1, 64), (), (3,), (10, 192)]


@st.composite
def sides(draw: st.DrawFn) -> list[Record]:
    rng = random.Random(draw(st.integers(0, 2**32)))
    drop, rename, broken = (draw(st.sampled_from([0.0, 0.2, 0.7])) for _ in range(3))
    swaps = [pair for pair in RENAMES if rng.random() < rename]
    found: dict[tuple[str, int], Record] = {}
    for module in BLOCK:
        for role in ROLES:
            if rng.random() < drop or (role != "output" and rng.random() < 0.5):
                continue
            name = module
            for old, new in swaps:
                name = name.replace(old, new)
            call = "(2)" if rng.random() < 0.1 else ""
            made = record(
                f"{name}{call}-{role}", rng.choice(SIZES) if rng.random() < 0.3 else (1, 10, 64),
                rng.choice(["float32", "bfloat16", "int64"]) if rng.random() < 0.2 else "float32",
                error="cut short" if rng.random() < broken * 0.3 else None,
            )  # fmt: skip
            made.step = int(rng.random() < 0.1)
            found.setdefault((made.name, made.step), made)
    records = list(found.values())
    if draw(st.booleans()):
        rng.shuffle(records)
    return records
