"""Renamed, thinned out and shuffled captures: fewer pairs, and never a wrong one."""

from __future__ import annotations

import random
import re
import zlib
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.capture.load import load_any
from layertui.capture.names import parse_name
from layertui.capture.open import open_capture
from layertui.capture.records import Capture, Record
from layertui.compare.matching.align import align

SAMPLES = [
    "llama-f32/torch_dump",
    "olmo2-f32/torch_dump",
    "qwen3-f32/torch_dump",
    "llama-f32/max_dump",
]
EXAMPLES = 260  # each of the four captures: more than a thousand together


@lru_cache
def opened(path: str) -> Capture:
    return open_capture(path)


def plain(record: Record) -> str:
    return record.module.removeprefix("model.")


STYLES = (
    lambda name, rng: name,
    lambda name, rng: f"LlamaForCausalLM.{name}",
    lambda name, rng: name.replace(".", "/"),
    lambda name, rng: name.replace(".", "__"),
    lambda name, rng: name.replace(".", "_"),
    lambda name, rng: re.sub(r"layers\.(\d+)", r"layer_\1", name),
    lambda name, rng: re.sub(r"layers\.(\d+)", r"blocks.\1", name),
    lambda name, rng: re.sub(r"[^.]+$", lambda m: f"my_{m[0]}", name),
    lambda name, rng: re.sub(r"[^.]+$", lambda m: f"{m[0]}_{rng.choice('abc')}", name),
    lambda name, rng: re.sub(r"[^.]+$", lambda m: f"{word_for(name)}", name),
    lambda name, rng: f"t{rng.randrange(10**6)}",
)


def word_for(name: str) -> str:
    """A word for a module's last component, the same on both sides and no other's."""
    number = zlib.crc32(name.encode())
    return f"{WORDS[number % len(WORDS)]}_{number}"


ENDINGS = ("-output", "", ".output", "_output", "/0", ".0", "_outputs", "/__call__", ".out")
# None is the name of a module that there is: a name that lies is beyond any table.
WORDS = ("mixer", "alpha", "linear_1", "x", "some_norm", "thing", "beta_gate", "special_attn", "p2")


INPUTS = {
    "-output": "-input_0", "": ".input", ".output": ".input", "_output": "_input",
    "/0": ".inputs.0", ".0": ".in", "_outputs": "_inputs_args_0", "/__call__": "/inputs",
    ".out": ".in",
}  # fmt: skip


def mangled(capture: Capture, rng: random.Random, drop: float, shuffle: bool) -> Capture:
    """The records of `capture` under other names, some of them only; `key` keeps who is who."""
    whole = rng.choice(STYLES) if rng.random() < 0.7 else None
    ending = rng.choice(ENDINGS)
    found: dict[str, Record] = {}
    for record in capture.records:
        if rng.random() < drop:
            continue
        name = (whole or rng.choice(STYLES))(plain(record) or "model", rng)
        if record.slot in ("output", "output_0", "input_0"):
            name += ending if record.slot != "input_0" else INPUTS[ending]
            parsed = parse_name(name)
            module, slot = parsed.module, parsed.slot
        else:
            module, slot = name, record.slot
            name = f"{name}-{slot}"
        one = replace(record, name=name, module=module, slot=slot, key=record.name)
        found.setdefault(name, one)
    records = list(found.values())
    if shuffle:
        rng.shuffle(records)
    known = not shuffle and rng.random() < 0.5
    return replace(capture, records=records, root="", order_known=known)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_pair_holds_one_quantity(real: Path, name: str) -> None:
    capture = opened(str(real / name))
    values = {
        record.name: load_any(record.locator).tobytes()
        for record in capture.records
        if record.locator is not None
    }
    counted = 0

    @settings(max_examples=EXAMPLES, deadline=None, database=None)
    @given(st.integers(0, 1 << 30), st.sampled_from([0.0, 0.1, 0.5]), st.booleans())
    def check(seed: int, drop: float, shuffle: bool) -> None:
        nonlocal counted
        rng = random.Random(seed)
        left = mangled(capture, rng, drop, shuffle) if rng.random() < 0.5 else capture
        right = mangled(capture, rng, drop, shuffle)
        for row in align(left, right).rows:
            if row.reference is None or row.candidate is None:
                continue
            ours = row.reference.name if left is capture else row.reference.key
            counted += 1
            assert values[ours] == values[row.candidate.key], (
                row.reference.name, row.candidate.name, row.how
            )  # fmt: skip

    check()
    assert counted > 10 * EXAMPLES
